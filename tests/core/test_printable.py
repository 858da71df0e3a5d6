"""Text of models and data is shown as it is, but for what a terminal or a page obeys."""

import pytest

from fdpo.core.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\tc", r"a\rb\tc"),
        ("\x9b2J", r"\x9b2J"),  # the eight-bit form of an escape sequence
        ("\u202eevil\u2066", r"\u202eevil\u2066"),  # text turned round
        ("\u2028\x00\x7f", r"\u2028\x00\x7f"),
    ],
)
def test_what_is_obeyed_is_escaped(text, shown):
    assert printable(text) == shown
