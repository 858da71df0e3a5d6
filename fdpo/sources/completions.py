"""Completions that somebody else sampled, with scores and log-probabilities where there are any."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from fdpo.config.sources import CompletionColumns, Completions
from fdpo.core.origin import Origin
from fdpo.core.records import GivenCompletion
from fdpo.core.validation import problems
from fdpo.sources.dataset_rows import BadRow, DatasetRow, read, text_of, value_at
from fdpo.sources.given import parsed
from fdpo.sources.pair_formats import Turns, answer_of, messages_of, turns_of

FEW = "a prompt with one completion"


def read_completions(
    source: Completions,
) -> tuple[dict[Turns, list[GivenCompletion]], Counter[str], Origin]:
    """The completions of each prompt, in the order of the source.

    A prompt's rows may stand anywhere; one with a single completion is counted as skipped.

    Returns: the completions, how many rows were skipped for which reason, and where they come from.

    Raises `UserError` where the data can't be read, or a row lacks completions, scores or
    log-probabilities and `bad_rows` is `refuse`.
    """
    columns = source.columns
    needed = [columns.prompt, columns.completion, columns.score, columns.logprobs]
    splits, origin = read(source, filter(None, needed), [source.split])
    skipped: Counter[str] = Counter()
    rows = parsed(
        splits.get(source.split, []),
        lambda row: of_row(row, columns),
        f"{origin['repo']}, split {source.split}",
        source.bad_rows,
        skipped,
    )
    gathered: dict[Turns, list[GivenCompletion]] = {}
    for prompt, completions in rows:
        gathered.setdefault(prompt, []).extend(completions)
    several = {prompt: found for prompt, found in gathered.items() if len(found) > 1}
    skipped[FEW] += len(gathered) - len(several)
    return several, +skipped, origin


def of_row(row: DatasetRow, columns: CompletionColumns) -> tuple[Turns, list[GivenCompletion]]:
    """A row's prompt and completions; text is an answer as given, without an end-of-text.

    Raises `BadRow` where there is none, or not a score or log-probabilities for each.
    """
    value = value_at(row, columns.completion)
    several = isinstance(value, list) and bool(value) and isinstance(value[0], str | list)
    each = value if several else [value]
    scores = _beside(row, columns.score, len(each), several)
    logprobs = _beside(row, columns.logprobs, len(each), several)
    completions = []
    for item, score, logprob in zip(each, scores, logprobs, strict=True):
        fields = _answer(item, columns.completion)
        if columns.score:
            fields["score"] = _number(score, columns.score)
        if columns.logprobs and isinstance(logprob, list):
            fields["logps"] = [_number(one, columns.logprobs) for one in logprob]
        elif columns.logprobs:
            fields["logp"] = _number(logprob, columns.logprobs)
        try:
            completions.append(GivenCompletion.model_validate(fields))
        except ValidationError as error:
            raise BadRow(problems(error)[0]) from None
    return turns_of(value_at(row, columns.prompt), columns.prompt), completions


def _answer(value: Any, column: str) -> dict[str, Any]:
    if not isinstance(value, list) or not value:
        return {"text": text_of(value, column)}
    if isinstance(value[0], int):
        return {"ids": value}
    return {"text": answer_of(messages_of(value), f"{column} must be")}


def _beside(row: DatasetRow, column: str | None, count: int, several: bool) -> Sequence[Any]:
    if column is None:
        return [None] * count
    value = value_at(row, column)
    if not several:
        return [value]
    if not isinstance(value, list) or len(value) != count:
        raise BadRow(f"{column} = {value!r:.80}: must be a list of {count}, as of completions")
    return value


def _number(value: Any, column: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not abs(number) < float("inf"):
        raise BadRow(f"{column} = {value!r:.80}: must be a finite number")
    return number
