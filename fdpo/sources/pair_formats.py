"""A row of a preference dataset, in any of the formats that people have, as one pair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fdpo.config.sources import PairColumns
from fdpo.sources.dataset_rows import NUL, DatasetRow, matches, surplus, value_at

Turns = str | tuple[tuple[str, str], ...]  # a text, or (role, content) per message
# What somebody says beside a message's content; no template gets it here.
SAID = ("tool_calls", "function_call", "tools", "reasoning_content", "reasoning", "thinking")
ASSISTANT = "\n\nAssistant:"  # begins an answer in dialogues that are one text


class BadRow(ValueError):
    """Why a row is no pair."""


@dataclass(frozen=True)
class GivenPair:
    """A prompt, text or the messages so far, and two completions, the next turn where of a chat."""

    prompt: Turns
    chosen: str
    rejected: str


def as_pair(row: DatasetRow, columns: PairColumns) -> GivenPair:
    """The pair of a row.

    The columns hold texts, lists of {role, content}, or whole dialogues with a common beginning.
    Raises `BadRow` where they don't, or where the two completions are empty or the same.
    """
    if problem := surplus(row):
        raise BadRow(problem)
    if row.get("tools"):
        raise BadRow("it has tools, which no template is given here")
    chosen, rejected = _value(row, columns.chosen), _value(row, columns.rejected)
    if choice := columns.choice:
        if _value(row, choice.column) is None:
            raise BadRow(f"no {choice.column}")
        if not matches(row, {choice.column: choice.value}):
            chosen, rejected = rejected, chosen
    prompt = None if columns.prompt is None else _value(row, columns.prompt)
    if isinstance(chosen, list) and isinstance(rejected, list):
        pair = _of_messages(prompt, chosen, rejected)
    elif columns.prompt is None:
        pair = _of_dialogues(_text(chosen, columns.chosen), _text(rejected, columns.rejected))
    else:
        texts = _text(chosen, columns.chosen), _text(rejected, columns.rejected)
        messages = _messages(prompt) if isinstance(prompt, list) else None
        pair = GivenPair(messages or _text(prompt, columns.prompt or "prompt"), *texts)
    if pair.chosen == pair.rejected:
        raise BadRow("chosen and rejected are the same")
    return pair


def _value(row: DatasetRow, column: str) -> Any:
    try:
        return value_at(row, column)
    except KeyError:
        raise BadRow(f"no {column}") from None


def _text(value: Any, column: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadRow(f"{column} = {value!r:.80}: must be text, and not empty")
    if NUL in value:
        raise BadRow(f"{column} holds a NUL character")
    return value


def _messages(value: Sequence[Any]) -> tuple[tuple[str, str], ...]:
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


def unread_fields(rows: Iterable[DatasetRow], columns: PairColumns) -> set[str]:
    """The fields of messages, in these columns, that hold something and that nothing reads."""
    names = [name for name in (columns.prompt, columns.chosen, columns.rejected) if name]
    lists = (row[name] for row in rows for name in names if isinstance(row.get(name), list))
    messages = (message for turns in lists for message in turns if isinstance(message, dict))
    found = {name for message in messages for name in filter(message.get, message)}
    return found - {"role", "content"}


def _of_messages(prompt: Any, chosen: Sequence[Any], rejected: Sequence[Any]) -> GivenPair:
    """The prompt is the column, where there is one, and else what both lists begin with."""
    from trl.data_utils import extract_prompt  # not above: it takes seconds

    first, second = _messages(chosen), _messages(rejected)
    if not first or not second or first == second:
        raise BadRow("chosen and rejected are empty or the same")
    if isinstance(prompt, list):
        turns = _messages(prompt)
    elif isinstance(prompt, str) and len(first) == len(second) == 1:
        turns = (("user", _text(prompt, "prompt")),)
    else:
        turns = tuple(extract_prompt({"chosen": first, "rejected": second})["prompt"])
    last = [side[len(turns) :] if side[: len(turns)] == turns else side for side in (first, second)]
    for side in last:
        if len(side) != 1 or side[0][0] != "assistant":
            raise BadRow("chosen and rejected must each be one answer of the assistant's")
    if not turns or turns[-1][0] == "assistant":
        raise BadRow("the prompt must end with a message that is not the assistant's")
    answers = [_text(side[0][1], "content") for side in last]
    return GivenPair(turns, *answers)


def _of_dialogues(chosen: str, rejected: str) -> GivenPair:
    """The prompt ends at the last beginning of an answer up to which both are the same."""
    end = 0
    while (found := chosen.find(ASSISTANT, end)) >= 0:
        following = found + len(ASSISTANT)
        if chosen[:following] != rejected[:following]:
            break
        end = following
    if not end:
        raise BadRow(f"chosen and rejected have no common beginning up to {ASSISTANT!r}")
    return GivenPair(chosen[:end], _text(chosen[end:], "chosen"), _text(rejected[end:], "rejected"))
