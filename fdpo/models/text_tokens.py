"""Texts to token ids and back, such that nothing is added, doubled or lost between the two."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

# Set before a completion so that a tokenizer doesn't take its beginning for that of a text.
ANCHOR = "\n"


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a prompt: those of its text, behind what the tokenizer begins a text with.

    What the tokenizer would end it with is left out, for a completion follows; and a begin-of-text
    that the prompt spells itself is not doubled.
    """
    ids = _ids(tokenizer, text)
    whole = list(tokenizer(text)["input_ids"])
    for start in range(len(whole) - len(ids) + 1):
        if whole[start : start + len(ids)] == ids:
            beginning = whole[:start]
            spelled = beginning and ids[:start] == beginning
            return ids if spelled else beginning + ids
    return whole


def completion_tokens(
    tokenizer: PreTrainedTokenizerBase, prompt_ids: Sequence[int], text: str
) -> list[int]:
    """The ids of a completion that follows a prompt, tokenised apart from it.

    No token reaches across the boundary. A tokenizer may begin a text with a space of its own; then
    the ids are those of `text` in the middle of a text, if those give back `text` behind the prompt
    and the plain ones don't.
    """
    ids = _ids(tokenizer, text)
    if _text_behind(tokenizer, prompt_ids, ids) == text:
        return ids
    anchor = _ids(tokenizer, ANCHOR)
    anchored = _ids(tokenizer, ANCHOR + text)
    within = anchored[len(anchor) :]
    apart = anchored[: len(anchor)] == anchor
    return within if apart and _text_behind(tokenizer, prompt_ids, within) == text else ids


def completion_text(
    tokenizer: PreTrainedTokenizerBase, prompt_ids: Sequence[int], ids: Sequence[int]
) -> str:
    """The text that a completion adds to its prompt, without special tokens.

    Decoded alone a completion may lose the space that it begins with.
    """
    return _text_behind(tokenizer, prompt_ids, ids, skip_special_tokens=True)


def prompt_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of a prompt's ids, without special tokens."""
    return _decode(tokenizer, ids, skip_special_tokens=True)


def _text_behind(
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[int],
    ids: Sequence[int],
    skip_special_tokens: bool = False,
) -> str:
    before = _decode(tokenizer, prompt_ids, skip_special_tokens)
    whole = _decode(tokenizer, [*prompt_ids, *ids], skip_special_tokens)
    if whole.startswith(before):
        return whole.removeprefix(before)
    return _decode(tokenizer, ids, skip_special_tokens)


def _decode(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], skip_special_tokens: bool
) -> str:
    return str(
        tokenizer.decode(
            list(ids),
            skip_special_tokens=skip_special_tokens,
            clean_up_tokenization_spaces=False,  # it takes away what was generated
        )
    )


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
