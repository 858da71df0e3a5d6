"""The one error a user sees, and how a script ends on it."""

import errno
import sys
from collections.abc import Callable

from tqdm import tqdm


class UserError(Exception):
    """Something that the user can correct.

    Each of `lines` names the file or key, its value, what is allowed and what to do. A line break
    within a quoted value is shown escaped.
    """

    def __init__(self, *lines: str):
        self.lines = [line.replace("\n", "\\n") for line in lines]
        super().__init__("\n".join(self.lines))


# Errors of the disk, which are not a bug here, and what to do about each.
DISK = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "mount it for writing, or work in a clone elsewhere",
    errno.EACCES: "give yourself the right to write there",
    errno.EPERM: "give yourself the right to write there",
}


def run(main: Callable[[], None]) -> None:
    """Call `main`; an error that the user can correct ends the process with exit code 2.

    Such an error is a `UserError`, or a disk that is full or not writable; its lines go to stderr.
    Ctrl-C ends the process with exit code 130, as shells expect.
    """
    try:
        main()
    except UserError as error:
        _end("\n".join(f"error: {line}" for line in error.lines), 2)
    except OSError as error:
        if error.errno not in DISK:
            raise
        place = f"{error.filename}: " if error.filename else ""
        todo = f"{DISK[error.errno]} and run again; nothing that was finished is lost"
        _end(f"error: {place}{error.strerror}; {todo}", 2)
    except KeyboardInterrupt:
        _end("interrupted; run again to go on from the last checkpoint", 130)


def _end(line: str, code: int) -> None:
    tqdm.write(line, file=sys.stderr)  # on a line of its own, though a progress bar is unfinished
    sys.exit(code)
