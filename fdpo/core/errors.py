"""The one error a user sees, and how a script ends on it."""

import errno
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from fdpo.core.printable import printable


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
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`)",
    errno.EROFS: "mount it for writing, or work in a clone elsewhere",
    errno.EACCES: "give yourself the right to write there",
    errno.EPERM: "give yourself the right to write there",
    errno.EIO: "check the disk",
    errno.ESTALE: "mount the network disk anew",
}
# The same of a path, where it is the error itself: as a cause, libraries have met and handled some.
PATHS = {
    errno.EISDIR: "a file is needed there: name another, or move it,",
    errno.ENOTDIR: "a folder is needed there: name another, or move it,",
    errno.EEXIST: "a folder is needed there: name another, or move it,",
    errno.ELOOP: "correct the link",
    errno.ENAMETOOLONG: "choose a shorter name",
}
# What libraries make of the same errors: pip, SQLite, PyTorch, safetensors, and DVC's own.
_FULL = re.compile(r"No space left on device|os error 28\b|database or disk is full|Errno 28\b")
_LEFT = 2**20  # bytes below which a disk counts as full


def run(main: Callable[[], None]) -> None:
    """Call `main`; what the user can correct ends the process with its lines on stderr and code 2.

    That is a `UserError`, a disk that is full, broken or not writable, whichever library met it, or
    a folder in a file's place. Ctrl-C ends it with 130, as the shell has it, and a reader that has
    gone, such as `head`, quietly with 141.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the locale has no letters for
    try:
        _require_readable_folder()
        main()
        sys.stdout.flush()
    except UserError as error:
        _end("\n".join(f"error: {printable(line)}" for line in error.lines), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        sys.exit(141)
    except KeyboardInterrupt:
        _end("interrupted; run again to go on from the last checkpoint", 130)
    except Exception as error:
        problem = _disk_problem(error)
        if problem is None:
            raise
        _end(f"error: {printable(problem)}; nothing that was finished is lost", 2)


def _disk_problem(error: BaseException) -> str | None:
    """What a failure of the disk is, with the path and what to do, or None for other errors."""
    if isinstance(error, OSError) and error.errno in PATHS and error.filename:
        problem = f"{os.fsdecode(error.filename)}: {os.strerror(error.errno)}"
        return f"{problem}; {PATHS[error.errno]} and run again"
    for cause in _causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        if _FULL.search(str(cause)):
            number = errno.ENOSPC
        if "No usable temporary directory" in str(cause):
            return "no folder for temporary files; free some space, or set TMPDIR, and run again"
        if number in DISK:
            place = cause.filename if isinstance(cause, OSError) else None
            if place is None and number == errno.ENOSPC:
                place = _full_folder()
            todo = DISK[number]
            if number == errno.ENOSPC and place and _has_no_inodes(Path(place)):
                todo = "remove some files, as the disk can hold no more of them,"
            named = f"{os.fsdecode(place)}: " if place else ""
            return f"{named}{os.strerror(number)}; {todo} and run again"
    return None


def _has_no_inodes(path: Path) -> bool:
    """Whether the disk has room, but for no more files."""
    for folder in (path, *path.absolute().parents):
        if folder.is_dir():
            disk = os.statvfs(folder)
            return bool(disk.f_files) and not disk.f_favail
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _full_folder() -> str | None:
    """The working folder, the one for temporary files or the user's own, where it is full."""
    for folder in (Path.cwd(), Path(tempfile.gettempdir()), Path.home()):
        try:
            disk = os.statvfs(folder)
        except OSError:
            continue
        if disk.f_bavail * disk.f_frsize < _LEFT or _has_no_inodes(folder):
            return str(folder)
    return None


def _require_readable_folder() -> None:
    """Raise `UserError` where Python cannot write the working folder's name down."""
    try:
        os.getcwd().encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{os.fsencode(os.getcwd())!r}: a folder whose name Python cannot read under this"
            " locale; set PYTHONUTF8=1, or a UTF-8 locale such as LC_ALL=C.UTF-8"
        ) from None


def _end(line: str, code: int) -> None:
    tqdm.write(line, file=sys.stderr)  # on a line of its own, though a progress bar is unfinished
    sys.exit(code)
