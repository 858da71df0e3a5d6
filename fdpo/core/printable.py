"""Text of models and data, made safe to show."""


def printable(text: str) -> str:
    r"""`text` with every character that is not to be seen escaped, as `\x1b`; spaces stay.

    A terminal obeys such characters: they change its title, write to the clipboard, clear the
    screen, or reverse the direction of what follows.
    """
    return "".join(
        letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text
    )
