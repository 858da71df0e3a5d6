"""The JSON Lines records that stages hand on: read strictly, written whole."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from fdpo.core.validation import Strict, Text, problems

Id = Annotated[int, Field(ge=0)]
TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
LogProbability = Annotated[float, Field(le=1e-3)]  # a sum of rounded terms may end just above 0
Rank = Annotated[int, Field(ge=1)]
Place = Annotated[int, Field(ge=0)]
Role = Literal["train", "test", "heldout"]  # `test` prompts come with a given split alone


class Sparse(Strict):
    """A record whose absent fields are left out of its line."""

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class ChatMessage(Strict):
    """A turn of a chat."""

    role: Text
    content: str


# What `prompt` renders, where the study puts prompts into a chat template.
Messages = Annotated[list[ChatMessage], Field(min_length=1)]


class TextPair(Strict):
    """Two completions of a prompt, as text; one begins where the prompt ends."""

    chosen: Text
    rejected: Text


class GivenCompletion(Sparse):
    """A completion that came with its prompt, as text that begins where that ends, or token ids."""

    text: Text | None = None
    ids: TokenIds | None = None
    score: float | None = None
    # Of its tokens by the engine that sampled it, in nats; or their sum.
    logps: Annotated[list[LogProbability], Field(min_length=1)] | None = None
    logp: LogProbability | None = None


class Prompt(Sparse):
    """A line of data/prompts.jsonl."""

    id: Id
    prompt: Text
    role: Role
    # Where somebody else chose its pairs, or sampled its completions.
    given: Annotated[list[TextPair], Field(min_length=1)] | None = None
    completions: Annotated[list[GivenCompletion], Field(min_length=2)] | None = None
    messages: Messages | None = None


class Completion(Strict):
    """One sampled completion.

    `ids` holds the end-of-text id only when the model emitted it, and then `finished` is true.
    `ref_logp` is log π_ref(ids | prompt_ids) in nats, summed over exactly these ids.
    """

    text: str
    ids: TokenIds
    finished: bool
    ref_logp: LogProbability


class TemperedCompletion(Completion):
    """A completion sampled from p_T = softmax(logits / T), the reference's at a temperature T.

    `kl` is the sum over its tokens' places of KL(p_T‖p_1) and `entropy` that of p_T's entropy, in
    nats. `ref_logp` is that of the reference itself, p_1.
    """

    kl: Annotated[float, Field(ge=0)]
    entropy: Annotated[float, Field(ge=0)]


class TemperedSamples(Strict):
    """A held-out prompt's samples at one temperature."""

    temperature: float
    completions: Annotated[list[TemperedCompletion], Field(min_length=1)]


class BaselineSamples(Strict):
    """What the baselines without training need of a held-out prompt.

    `plain` are samples at temperature 1 beyond the generation's own, `tempered` the others.
    """

    plain: list[Completion]
    tempered: list[TemperedSamples]


class Generation(Sparse):
    """A line of data/generations.jsonl: a prompt and the reference's completions of it.

    `given` are [chosen, rejected] places among the completions. `published` is one more sample of a
    held-out prompt, for evaluation, decoded as the study's published figures were. `scores` came
    along with completions, one for each. `mismatch` is how far the log-probabilities that came
    along are from the reference's, in nats: of each token, or per token where only sums came.
    """

    id: Id
    prompt: str
    role: Role
    prompt_ids: TokenIds
    completions: Annotated[list[Completion], Field(min_length=1)]
    given: list[Annotated[list[Place], Field(min_length=2, max_length=2)]] | None = None
    published: Completion | None = None
    baselines: BaselineSamples | None = None
    messages: Messages | None = None
    scores: list[float] | None = None
    mismatch: list[float] | None = None


class ScoredCompletion(Completion, Sparse):
    """A completion with its reward; the judge scores only what evaluation compares."""

    reward: float
    judge: float | None = None


class ScoredGeneration(Generation):
    """A line of data/scores.jsonl."""

    # Records are frozen, so a list of the narrower kind is safe where mypy fears it.
    completions: Annotated[list[ScoredCompletion], Field(min_length=1)]  # type: ignore[assignment]


class Pair(Strict):
    """A line of data/pairs.jsonl, data/train.jsonl and data/test.jsonl."""

    id: Id
    prompt_ids: TokenIds
    chosen_ids: TokenIds
    rejected_ids: TokenIds
    ref_chosen_logp: LogProbability
    ref_rejected_logp: LogProbability
    chosen_reward: float
    rejected_reward: float
    chosen_rank: Rank
    rejected_rank: Rank


class ScoredSample(Sparse):
    """A completion of a held-out prompt with its scores."""

    text: str
    reward: float
    judge: float | None = None  # where the study has a judge


class SamplesOfPrompt(Strict):
    """A held-out prompt's completions by both models, to be read side by side."""

    id: Id
    prompt: str
    reference: list[ScoredSample]
    policy: list[ScoredSample]


class PolicySample(ScoredSample):
    """A completion by the policy.

    `kl` is the exact next-token KL(π‖π_ref) summed over its tokens, in nats; `entropy` the mean
    entropy of π's next-token distribution at them, in nats per token.
    """

    kl: float
    entropy: float


class HeldoutSamples(SamplesOfPrompt):
    """A line of results/evaluate/samples.jsonl."""

    policy: list[PolicySample]  # type: ignore[assignment]  # as in ScoredGeneration


Record = TypeVar("Record", bound=Strict)
PromptRecord = TypeVar("PromptRecord", bound=Prompt | Generation)


def read(path: str | Path, kind: type[Record]) -> Iterator[Record]:
    """Yield the records of type `kind` of a file, in order.

    Raises `UserError`, naming line and field, when the file is missing, empty or cut short, or a
    line is not a record of this kind.
    """
    number, rebuild = 0, "run `dvc repro` to rebuild it"
    try:
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    raise UserError(f"{path}:{number}: cut short; {rebuild}")
                yield kind.model_validate_json(line)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; {rebuild}") from None
    except ValidationError as error:
        raise UserError(f"{path}:{number}: {problems(error)[0]}; {rebuild}") from None
    if number == 0:
        raise UserError(f"{path}: empty; {rebuild}")


def read_prompt_unique(path: str | Path, kind: type[PromptRecord]) -> Iterator[PromptRecord]:
    """Like `read`, for files with one record per prompt: a second record of an `id` is refused."""
    seen: dict[int, int] = {}
    for number, record in enumerate(read(path, kind), start=1):
        if record.id in seen:
            raise UserError(
                f"{path}:{number}: id = {record.id} stands in line {seen[record.id]} already;"
                " remove one of them, or rebuild the file with `dvc repro`"
            )
        seen[record.id] = number
        yield record


def dump(record: Strict) -> str:
    """A record as one JSON line, keys in the order of its fields, floats in shortest exact form."""
    return record.model_dump_json() + "\n"


def write(path: str | Path, records: Iterable[Strict]) -> int:
    """Write records as JSON Lines, whole or not at all; return how many there were."""
    count = 0
    with replacing(path) as scratch, open(scratch, "w", encoding="utf-8") as lines:
        for record in records:
            lines.write(dump(record))
            count += 1
    return count


def copy(path: str | Path, source: str | Path, wanted: Iterable[bool]) -> int:
    """Copy lines of `source`, a file that `read` has accepted, byte for byte; return how many.

    `wanted` has one value per line of `source`.
    """
    count = 0
    with replacing(path) as scratch, open(source, "rb") as lines, open(scratch, "wb") as kept:
        for line, keep in zip(lines, wanted, strict=True):
            if keep:
                kept.write(line)
                count += 1
    return count
