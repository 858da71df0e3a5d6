"""Add a study to params.yaml: a section to fill in, or one of the ready ones in examples/.

make new-study NAME=mine                               # to fill in where it says TODO
make new-study NAME=mine FROM=examples/own-pairs.yaml
"""

import argparse
import re
import textwrap
from itertools import takewhile
from pathlib import Path
from typing import Any

from fdpo.config.params import placeholders
from fdpo.config.yaml_files import read_yaml
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from fdpo.core.validation import among
from fdpo.run.settings import check_params

SETTINGS_FILE = Path("params.yaml")
EXAMPLES = Path("examples")
TO_FILL_IN = EXAMPLES / "study.yaml"


def main(arguments: list[str] | None = None) -> None:
    """Add the study that the command line names."""
    parser = argparse.ArgumentParser(
        prog="experiments.new_study", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("name", help="of the new study")
    parser.add_argument(
        "--from",
        dest="file",
        type=Path,
        default=TO_FILL_IN,
        help=f"a file with the study's section (default: {TO_FILL_IN})",
    )
    options = parser.parse_args(arguments)
    unfilled = add_study(options.name, options.file)
    print(f"{SETTINGS_FILE}: added the study {options.name}, as in {options.file}")
    if unfilled:
        print("fill in where it says TODO:", ", ".join(unfilled))
    print(f"then run: dvc exp run -S study={options.name}")


def add_study(name: str, file: Path) -> list[str]:
    """Write the section in `file` to params.yaml as the study `name`, comments included.

    The text goes to the end of params.yaml as it is, so that nothing else there changes. Returns
    the section's keys that are to be filled in.

    Raises:
        UserError: there is such a study, the section is none, or params.yaml has no room for it;
            params.yaml is then as it was.
    """
    before = read_yaml(SETTINGS_FILE)
    studies = before.get("studies", {})
    if name in studies:
        raise UserError(
            f"{SETTINGS_FILE}: has a study {name!r} already; choose another name, or edit it"
        )
    if not file.is_file():
        ready = sorted(str(path) for path in EXAMPLES.glob("*.yaml"))
        raise UserError(f"{file}: no such file; {among(ready)}, or one of your own")
    section = read_yaml(file)
    after = before | {"studies": studies | {name: section}}
    try:
        check_params(after)
    except UserError as error:
        raise UserError(*(f"{file} as {name!r}: {line}" for line in error.lines)) from None
    text = SETTINGS_FILE.read_text(encoding="utf-8").rstrip("\n") + "\n" + as_study(name, file)
    with replacing(SETTINGS_FILE) as scratch:
        scratch.write_text(text, encoding="utf-8")
        if not reads_as(scratch, after):
            raise UserError(
                f"{SETTINGS_FILE}: a section can be added only where `studies` comes last and its"
                f" studies are indented by two spaces; move it there, or copy {file} by hand"
            )
    return list(placeholders(section))


def as_study(name: str, file: Path) -> str:
    """The text of a section under its name, with the comment that its file begins with above.

    Raises `UserError` for a line that ends a document or says how to read one: params.yaml goes on.
    """
    lines = file.read_text(encoding="utf-8-sig").split("\n")  # Windows may begin it with a mark
    for number, line in enumerate(lines, start=1):
        if re.match(r"(---|\.\.\.)(\s|$)|%", line):
            raise UserError(f"{file}:{number}: {line!r}: no line of a section; remove it")
    lines = "\n".join(lines).strip("\n").split("\n")
    comment = list(takewhile(lambda line: line.startswith("#"), lines))
    body = lines[len(comment) :]
    section = [*comment, f"{name}:", *(textwrap.indent(line, "  ") for line in body)]
    return "\n" + textwrap.indent("\n".join(section), "  ") + "\n"


def reads_as(path: Path, values: dict[Any, Any]) -> bool:
    """Whether a YAML file holds `values`."""
    try:
        return read_yaml(path) == values
    except UserError:
        return False


if __name__ == "__main__":
    errors.run(main)
