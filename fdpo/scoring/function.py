"""A scorer that is a user's Python function, kept as a copy of its file."""

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal

import numpy as np

from fdpo.config.sources import PythonFunction
from fdpo.core.errors import UserError
from fdpo.core.files import replacing, write_json
from fdpo.core.local_files import local_file
from fdpo.core.validation import Strict
from fdpo.run.progress import progress_of
from fdpo.scoring.scorer import REMEDY, SCORER_FILE, PromptedText, Scorer, read_settings

COPY_FILE = "function.py"  # beside scorer.json, so that what was recorded is what runs
CALL_SIZE = 16  # completions; a slow function then shows that it gets on


class FunctionSettings(Strict):
    """scorer.json of a Python function."""

    kind: Literal["python"] = "python"
    function: str  # as params.yaml names it: module:name


@dataclass(frozen=True)
class FunctionScorer(Scorer):
    """Calls `function(prompts, completions)`, two lists of str; it returns a number for each.

    A number must depend on its own prompt and completion alone: a call has a few of them.
    """

    function: Callable[[list[str], list[str]], Any]
    name: str  # of the function
    file: str  # of the user's, in messages
    line: int  # where the function begins

    def score(self, texts: list[str]) -> np.ndarray:
        """The scores of texts that have no prompt."""
        return self.score_prompted([PromptedText("", text) for text in texts])

    def score_prompted(self, items: Sequence[PromptedText]) -> np.ndarray:
        """The function's number for each item, [items] float64.

        Raises `UserError`, with the place in the user's file, where it raises or returns others.
        """
        scores: list[float] = []
        with closing(progress_of(self.name, len(items), "completions", leave=False)) as progress:
            for start in range(0, len(items), CALL_SIZE):
                batch = items[start : start + CALL_SIZE]
                scores += self._call(batch)
                progress.update(len(batch))
        _require_alone(self.file)
        return np.array(scores, dtype=np.float64)

    def _call(self, batch: Sequence[PromptedText]) -> list[float]:
        try:
            returned = self.function([i.prompt for i in batch], [i.completion for i in batch])
            # Iterating these gives no number for each: keys, rows, or values in another order.
            unordered = isinstance(returned, Mapping | Set | str | bytes)
            wrong = unordered or getattr(returned, "ndim", 1) != 1
            values = [] if wrong else list(returned)
            if len(values) == len(batch) and not any(isinstance(v, str | bytes) for v in values):
                return [float(value) for value in values]
        except (Exception, SystemExit) as error:
            raise _raised(error, self.name, self.file, self.line) from None
        what = f"a {type(returned).__name__}" if wrong else f"{values!r:.40}"
        raise UserError(
            f"{self.file}:{self.line}: {self.name} returned {what} for {len(batch)} completions;"
            " return a list with one number for each"
        )


def write(folder: Path, section: PythonFunction) -> list[str]:
    """Make `folder` a scorer of the function that a section names.

    Raises `UserError` where its file can't be run, or has no such function.
    """
    with replacing(folder) as scratch:
        scratch.mkdir()
        shutil.copyfile(local_file(section.path), scratch / COPY_FILE)
        write_json(scratch / SCORER_FILE, FunctionSettings(function=section.python).model_dump())
        load(scratch)
    return []


def load(folder: str | Path) -> FunctionScorer:
    """Load what `write` wrote. Raises `UserError` as it does, and when a file is missing."""
    settings = read_settings(folder, FunctionSettings)
    module_name, _, name = settings.function.partition(":")
    file = module_name.replace(".", "/") + ".py"
    module = _run(Path(folder) / COPY_FILE, module_name, file)
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{file}: has no function {name}; correct the name in params.yaml, or here")
    code = getattr(function, "__code__", None)
    line = code.co_firstlineno if isinstance(code, CodeType) else 1
    return FunctionScorer(function, name, file, line)


def _run(copy: Path, module_name: str, file: str) -> ModuleType:
    """The module that the copy of a user's file makes; its errors tell of that file."""
    try:
        source = copy.read_bytes()
    except OSError:
        raise UserError(f"{copy}: missing; {REMEDY}") from None
    module = ModuleType(module_name)
    module.__file__ = str(copy)
    sys.modules[module_name] = module  # as dataclasses and the like look there
    try:
        exec(compile(source, file, "exec"), module.__dict__)  # noqa: S102 - the user names it
    except SyntaxError as error:
        raise UserError(f"{file}:{error.lineno}: {error.msg}; correct it") from None
    except (Exception, SystemExit) as error:
        raise _raised(error, "the module", file, 1) from None
    _require_alone(file)
    return module


def _raised(error: BaseException, name: str, file: str, line: int) -> UserError:
    """What the user's code raised, and at which line of it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    problem = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return UserError(f"{file}:{lines[-1] if lines else line}: {name} raised {problem}; correct it")


def _require_alone(file: str) -> None:
    """Raise `UserError` where the user's file has imported another of its folder.

    DVC tracks this file alone: a change in the other would go unseen.
    """
    folder = os.path.abspath(Path(file).parts[0]) + os.sep
    for module in list(sys.modules.values()):
        origin = getattr(module, "__file__", None)
        if origin and os.path.abspath(origin).startswith(folder):
            raise UserError(
                f"{file}: imports {os.path.relpath(origin)}, whose changes would go unseen; put all"
                " into one file, or install the other as a package"
            )
