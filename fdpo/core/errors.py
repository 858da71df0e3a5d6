"""The one error a user sees, and how a script ends on it."""

import os
import sys
from collections.abc import Callable

from tqdm import tqdm

from fdpo.core.printable import printable


class UserError(Exception):
    """Something that the user can correct: each of `lines` names the key or file and what to do."""

    def __init__(self, *lines: str):
        self.lines = [line.replace("\n", "\\n") for line in lines]
        super().__init__("\n".join(self.lines))


def run(main: Callable[[], None]) -> None:
    """Call `main`. A `UserError` ends the process with its lines on stderr and code 2.

    Ctrl-C ends it with 130, as in the shell, and a reader that has gone, such as `head`, with 141.
    """
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        _end("\n".join(f"error: {printable(line)}" for line in error.lines), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        sys.exit(141)
    except KeyboardInterrupt:
        _end("interrupted; the same command goes on from the last checkpoint", 130)


def _end(line: str, code: int) -> None:
    tqdm.write(line, file=sys.stderr)  # on a line of its own, though a progress bar is unfinished
    sys.exit(code)
