"""The one error a user sees, and how a script ends on it."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend: names the file or key, its value, what is allowed, what to do.

    The message is one line; a line break in a quoted value is shown escaped.
    """

    def __init__(self, message: str):
        super().__init__(message.replace("\n", "\\n"))


def run(main: Callable[[], None]) -> None:
    """Call `main`; a `UserError` ends the process with its one line on stderr and exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
