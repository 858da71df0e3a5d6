"""What the user can correct ends a script in one line."""

import pytest

from fdpo.core import errors
from fdpo.core.errors import UserError


def ended(error: BaseException, capsys) -> tuple[int, str]:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        errors.run(main)
    return end.value.code, capsys.readouterr().err


def test_a_user_error_is_its_lines_and_code_2(capsys):
    code, said = ended(UserError("a: 1\n2", "b \x1b[2J"), capsys)
    assert (code, said) == (2, "error: a: 1\\n2\nerror: b \\x1b[2J\n")


def test_an_interrupt_ends_as_the_shell_has_it(capsys):
    assert ended(KeyboardInterrupt(), capsys)[0] == 130


def test_another_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        errors.run(lambda: 1 / 0)
