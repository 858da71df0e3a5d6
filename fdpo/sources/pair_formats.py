"""A row of a preference dataset, in any of the formats that people have, as one pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from fdpo.config.sources import PairColumns
from fdpo.sources.dataset_rows import NUL, BadRow, DatasetRow, same, text_of, value_at

Turns = str | tuple[tuple[str, str], ...]  # a text, or (role, content) per message
# What somebody says beside a message's content; no template gets it here.
SAID = ("tool_calls", "function_call", "tools", "reasoning_content", "reasoning", "thinking")
ASSISTANT = "\n\nAssistant:"  # begins an answer in dialogues that are one text


@dataclass(frozen=True)
class GivenPair:
    """A prompt, text or the messages so far, and two completions, the next turn where of a chat."""

    prompt: Turns
    chosen: str
    rejected: str


def as_pair(row: DatasetRow, columns: PairColumns) -> GivenPair:
    """The pair of a row: texts, lists of {role, content}, or dialogues with a common beginning.

    Raises `BadRow` where it has none, or where the two completions are empty or the same.
    """
    if row.get("tools"):
        raise BadRow("it has tools, which no template is given here")
    chosen, rejected = value_at(row, columns.chosen), value_at(row, columns.rejected)
    if choice := columns.choice:
        choosing = value_at(row, choice.column)
        if choosing is None:
            raise BadRow(f"no {choice.column}")
        if not same(choosing, choice.value):
            chosen, rejected = rejected, chosen
    prompt = None if columns.prompt is None else value_at(row, columns.prompt)
    if isinstance(chosen, list) and isinstance(rejected, list):
        pair = _of_messages(prompt, chosen, rejected)
    else:
        texts = text_of(chosen, columns.chosen), text_of(rejected, columns.rejected)
        if columns.prompt is None:
            pair = _of_dialogues(*texts)
        else:
            pair = GivenPair(turns_of(prompt, columns.prompt), *texts)
    if pair.chosen == pair.rejected:
        raise BadRow("chosen and rejected are the same")
    return pair


def turns_of(prompt: Any, column: str) -> Turns:
    """A prompt of a row: text, or messages. Raises `BadRow` where it is neither, or empty."""
    if isinstance(prompt, list) and prompt:
        return messages_of(prompt)
    return text_of(prompt, column)


def messages_of(value: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    """(role, content) of each message of a row. Raises `BadRow` where one lacks either."""
    messages = []
    for message in value:
        parts = message if isinstance(message, dict) else {}
        for name in filter(parts.get, SAID):
            raise BadRow(f"a message has {name}, which is not rendered; put it into its content")
        role, content = parts.get("role"), parts.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            raise BadRow(f"{message!r:.80}: must be a message with the texts role and content")
        if NUL in role + content:
            raise BadRow("a message holds a NUL character")
        messages.append((role, content))
    return tuple(messages)


def _of_messages(prompt: Any, chosen: Sequence[Any], rejected: Sequence[Any]) -> GivenPair:
    """The prompt is the column, where there is one, and else what both lists begin with."""
    from trl.data_utils import extract_prompt  # not above: it takes seconds

    first, second = messages_of(chosen), messages_of(rejected)
    if not first or not second or first == second:
        raise BadRow("chosen and rejected are empty or the same")
    if isinstance(prompt, list):
        turns = messages_of(prompt)
    elif isinstance(prompt, str) and len(first) == len(second) == 1:
        turns = (("user", text_of(prompt, "prompt")),)
    else:
        turns = tuple(extract_prompt({"chosen": first, "rejected": second})["prompt"])
    last = [side[len(turns) :] if side[: len(turns)] == turns else side for side in (first, second)]
    answers = [answer_of(side, "chosen and rejected must each be") for side in last]
    if not turns or turns[-1][0] == "assistant":
        raise BadRow("the prompt must end with a message that is not the assistant's")
    return GivenPair(turns, *answers)


def answer_of(turns: Sequence[tuple[str, str]], must_be: str) -> str:
    """The text of one answer. Raises `BadRow` where the turns are others."""
    if len(turns) != 1 or turns[0][0] != "assistant":
        raise BadRow(f"{must_be} one answer of the assistant's")
    return text_of(turns[0][1], "content")


def _of_dialogues(chosen: str, rejected: str) -> GivenPair:
    """The prompt ends at the last beginning of an answer up to which both are the same."""
    same_beginning = commonprefix([chosen, rejected])  # noqa: RUF071 - of any texts
    common, mark, _ = same_beginning.rpartition(ASSISTANT)
    if not mark:
        raise BadRow(f"chosen and rejected have no common beginning up to {ASSISTANT!r}")
    prompt = common + mark
    answers = (side.removeprefix(prompt) for side in (chosen, rejected))
    return GivenPair(prompt, *map(text_of, answers, ("chosen", "rejected")))
