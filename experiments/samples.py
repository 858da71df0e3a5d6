"""Print a few held-out prompts with the reference's and the policy's completions side by side."""

import argparse
import shutil
from itertools import islice, zip_longest
from textwrap import wrap

from fdpo.core import errors, records
from fdpo.core.printable import printable
from fdpo.core.records import HeldoutSamples, ScoredSample
from stages import paths

SHOWN_PROMPTS, SHOWN_COMPLETIONS = 4, 2


def main() -> None:
    """Print the first held-out prompts with samples of both models."""
    width = column_width()
    for row in islice(records.read(paths.SAMPLES, HeldoutSamples), SHOWN_PROMPTS):
        print(f"\n{printable(row.prompt)}")
        print_beside("reference", "policy", width)
        for reference, policy in islice(
            zip(row.reference, row.policy, strict=True), SHOWN_COMPLETIONS
        ):
            print_beside(shown(reference), shown(policy), width)


def shown(sample: ScoredSample) -> str:
    """A sample on one line, behind its reward."""
    return f"[{sample.reward:+.2f}] {on_one_line(sample.text)}"


def on_one_line(text: str) -> str:
    """`text` with its white space as single spaces, and nothing that a terminal would obey."""
    return printable(" ".join(text.split()))


def column_width() -> int:
    """Characters of each of two columns, as the terminal allows."""
    return min(shutil.get_terminal_size().columns, 120) // 2 - 2


def print_beside(left: str, right: str, width: int) -> None:
    """Print two texts in columns of `width` characters."""
    for pair in zip_longest(wrap(left, width), wrap(right, width), fillvalue=""):
        print("  " + "  ".join(column.ljust(width) for column in pair).rstrip())


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    errors.run(main)
