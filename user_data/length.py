"""A reward of one's own: answers of 8 to 20 words are best, and each word off that costs 1."""

SHORTEST, LONGEST = 8, 20


def reward(prompts: list[str], completions: list[str]) -> list[float]:
    """The rewards of completions; the prompts play no part in this one."""
    lengths = [len(completion.split()) for completion in completions]
    return [-float(max(SHORTEST - length, 0, length - LONGEST)) for length in lengths]
