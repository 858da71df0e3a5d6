"""A known reward of strings of letters: what each is worth, and what two in a row are."""

LETTERS = {"a": 1.0, "b": 0.3, "c": -0.4, "d": -0.9}
IN_A_ROW = {"ab": 0.8, "ba": -0.6, "cd": 1.2, "dc": -0.5, "aa": -0.7, "bd": 0.5}


def reward(prompts: list[str], completions: list[str]) -> list[float]:
    """The rewards of completions; the prompts play no part in this one."""
    return [
        sum(LETTERS.get(letter, 0.0) for letter in text)
        + sum(IN_A_ROW.get(text[i : i + 2], 0.0) for i in range(len(text) - 1))
        for text in completions
    ]
