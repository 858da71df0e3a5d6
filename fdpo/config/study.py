"""The settings of one study as its file in studies/ has them, one section per stage."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fdpo.config.sources import Count, Source
from fdpo.core.validation import Strict, Text
from fdpo.losses import LOSSES

Positive = Annotated[float, Field(gt=0, le=1e6)]
Share = Annotated[float, Field(gt=0, lt=1)]
BelowHalf = Annotated[float, Field(ge=0, lt=0.5)]
Whole = Annotated[int, Field(ge=0, le=10_000_000)]
Several = Annotated[int, Field(ge=2, le=10_000)]  # completions of one prompt


class Sampling(Strict):
    """Ancestral sampling, plain when temperature is 1 and nothing is cut off."""

    strategy: Literal["sample"]
    completions: Several
    max_new_tokens: Count
    temperature: Annotated[float, Field(ge=1e-3, le=1e6)]  # below, logits overflow
    top_k: Whole
    top_p: Annotated[float, Field(gt=0, le=1)]


class Bias(Strict):
    """Nats added to a token for completing one of `words`, a leading space put before each."""

    weight: Annotated[float, Field(ge=-1e6, le=1e6)]
    words: Annotated[list[Text], Field(min_length=1)]


class DiverseBeam(Strict):
    """Diverse beam search with groups of one beam, each the source of one completion."""

    strategy: Literal["diverse_beam"]
    groups: Several
    diversity_penalty: Annotated[float, Field(ge=0, le=1e6)]
    no_repeat_ngram: Whole
    max_new_tokens: Count
    bias: list[Bias]
    banned: list[Text]

    @property
    def completions(self) -> int:
        """Completions per prompt."""
        return self.groups


class Given(Strict):
    """No decoding: the completions come with the prompts.

    `max_mismatch`, in nats per token, bounds the mean distance of the log-probabilities that come
    along from the reference's: engines in bfloat16 are at 0.02 to 0.05, another model above 0.2.
    """

    strategy: Literal["given"]
    max_mismatch: Positive = 0.1


class Published(Strict):
    """One more sample of each held-out prompt, as the published figures were made."""

    top_k: Whole
    no_repeat_ngram: Whole
    max_new_tokens: Count


class Heldout(Strict):
    """Plain temperature-1 samples of held-out prompts, of the reference and of every policy."""

    samples: Several
    max_new_tokens: Count
    published: Published | None = None


def _differ(values: list[Any]) -> list[Any]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} occurs twice; name each value once")
    return values


class ReferenceBaselines(Strict):
    """Further samples of held-out prompts, for what the reference reaches without training.

    `temperatures` are below 1, with `samples_per_temperature` samples of a prompt at each.
    `plain_samples` are all samples at temperature 1 that the best of n are chosen from, those of
    `heldout` among them.
    """

    temperatures: Annotated[
        list[Annotated[float, Field(ge=0.05, lt=1)]], Field(min_length=1), AfterValidator(_differ)
    ]
    samples_per_temperature: Count
    plain_samples: Count


class Generate(Strict):
    """How the reference's completions are made."""

    max_length: Annotated[int, Field(ge=2, le=10_000_000)]  # tokens of prompt and completion
    train: Annotated[Sampling | DiverseBeam | Given, Field(discriminator="strategy")]
    heldout: Heldout
    baselines: ReferenceBaselines | None = None
    prompts_per_batch: Count  # times the completions of a prompt: the rows that are decoded at once

    @property
    def plain_samples(self) -> int:
        """Samples at temperature 1 of each held-out prompt of the reference, in all."""
        return self.baselines.plain_samples if self.baselines else self.heldout.samples


class Score(Strict):
    """How completions are scored; `best_of` are the n of the best-of-n baselines."""

    batch_size: Count  # prompts
    best_of: Annotated[list[Several], Field(min_length=1), AfterValidator(_differ)] | None = None


def _better_first(pair: list[int]) -> list[int]:
    if pair[0] >= pair[1]:
        raise ValueError(f"ranks {pair} must be [better, worse] with better < worse")
    return pair


TwoRanks = Annotated[list[Count], Field(min_length=2, max_length=2), AfterValidator(_better_first)]
Ranks = Annotated[list[TwoRanks], Field(min_length=1), AfterValidator(_differ)]


class PairParams(Strict):
    """Which completions of a prompt make a pair, and which of the two is the chosen one.

    `ranks` are by reward, or the pairs are as given. With `labels: bradley_terry` the better one is
    chosen with probability σ(reward difference / `temperature`), else always; then a share
    `flip_rate` of all labels is exchanged.
    """

    ranks: Literal["given"] | Ranks
    labels: Literal["rank", "bradley_terry"] = "rank"
    temperature: Positive | None = None
    flip_rate: Annotated[float, Field(ge=0, le=0.5)] = 0.0

    @model_validator(mode="after")
    def _temperature_is_of_drawn_labels(self) -> Self:
        if (self.temperature is not None) != (self.labels == "bradley_terry"):
            raise ValueError(
                f"temperature = {self.temperature}: must be a number with labels = bradley_terry,"
                " and left out otherwise"
            )
        return self


class Split(Strict):
    """Which prompts' pairs only test: a share of the prompts, or the split as given."""

    test_size: Literal["given"] | Share


class Lora(Strict):
    """The adapter (LoRA, arXiv 2106.09685): rank `r`, scaling `alpha` / `r`, and where it goes.

    With `rslora` the scaling is `alpha` / √`r` (arXiv 2312.03732). There is no dropout: the policy
    starts as the reference, so that its first margins are 0.
    """

    r: Annotated[int, Field(ge=1, le=1024)]
    alpha: Count
    target_modules: Literal["all-linear"] | Annotated[list[Text], Field(min_length=1)]
    rslora: bool = False


def _of_losses(rates: dict[str, float]) -> dict[str, float]:
    if "default" not in rates:
        raise ValueError("needs the key default, the rate of losses without one of their own")
    for loss in rates.keys() - {"default", *LOSSES}:
        raise ValueError(f"{loss}: must be default or one of {', '.join(LOSSES)}")
    return rates


class Train(Strict):
    """How the policy is trained; the last four are those of `fdpo.losses.Objective`."""

    epochs: Count
    pairs_per_step: Count
    group_by_prompt: bool  # a step takes the pairs of whole prompts
    tokens_per_forward: Count  # distinct tokens of one forward pass, which bound the memory
    warmup_steps: Whole
    max_grad_norm: Positive
    lr_by_loss: Annotated[dict[str, Positive], AfterValidator(_of_losses)]
    lora: Lora | None  # null: all parameters are trained
    gradient_checkpointing: bool
    log_every: Count  # steps
    eval_every: Count | None = None  # steps between passes over the test pairs; else there are none
    stop_after: Count | None = None  # steps of the same schedule: an earlier point of the same run
    dtype: Literal["float32", "bfloat16"] | None = None  # of products; by default as the device's
    normalize: Literal["sum", "mean"] = "sum"
    label_smoothing: BelowHalf = 0.0
    label_noise: BelowHalf = 0.0
    chosen_nll: Annotated[float, Field(ge=0, le=1e6)] = 0.0

    @model_validator(mode="after")
    def _flips_are_smoothed_or_corrected(self) -> Self:
        if self.label_smoothing and self.label_noise:
            raise ValueError(
                f"label_smoothing = {self.label_smoothing} trains on flipped labels, label_noise ="
                f" {self.label_noise} corrects for them; remove either"
            )
        return self

    def lr_of(self, loss: str) -> float:
        """The study's learning rate for this loss."""
        return self.lr_by_loss.get(loss, self.lr_by_loss["default"])

    def check_warmup(self, pairs: int) -> None:
        """Raise `ValueError` where training on so many pairs never reaches the learning rate."""
        steps = self.epochs * -(-pairs // self.pairs_per_step)
        if self.warmup_steps >= max(steps, 1):
            raise ValueError(
                f"train.warmup_steps = {self.warmup_steps}: training on {pairs} pairs has {steps}"
                " steps, so the learning rate would never be reached; lower it"
            )


class Evaluate(Strict):
    """How the policy is measured."""

    prompts_per_batch: Count  # times the samples of a prompt: the rows that are decoded at once
    tokens_per_forward: Count  # distinct tokens of a forward pass over test pairs
    distinct_budget: Count  # n-grams that distinct-n counts over


class Study(Strict):
    """The settings of one study, one section per stage."""

    prepare: Source
    generate: Generate
    score: Score
    pair: PairParams
    split: Split
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        for problem in self._disagreements():
            raise ValueError(problem)
        return self

    def _disagreements(self) -> Iterator[str]:
        source, generate, strategy = self.prepare.source, self.generate, self.generate.train
        ranks, given = self.pair.ranks, self.prepare.source == "pairs"
        if self.prepare.given != (strategy.strategy == "given"):
            yield (
                f"generate.train.strategy = {strategy.strategy!r}: must be 'given' where"
                " prepare.source is 'pairs' or 'completions', and nowhere else"
            )
        if given != (ranks == "given"):
            yield (
                f"pair.ranks = {ranks}: must be 'given' where prepare.source is 'pairs', and"
                " nowhere else"
            )
        if self.split.test_size == "given" and not given:
            yield "split.test_size = 'given': must be a share, as no split is given"
        held = getattr(getattr(self.prepare, "reference", None), "dtype", "float32")
        if self.train.lora is None and held != "float32":
            yield (
                f"train.lora = null trains the weights themselves, but prepare.reference.dtype ="
                f" {held!r} rounds steps of a usual lr away; set it to float32, or train an adapter"
            )
        completions: int | None = getattr(strategy, "completions", None)  # of given rows unknown
        for pair in ranks if ranks != "given" else ():
            if completions and pair[1] > completions:
                yield (
                    f"pair.ranks has {pair}, but generate.train.completions = {completions};"
                    f" ranks go from 1 to {completions}"
                )
        if prompts := getattr(self.prepare, "train_prompts", None):
            self.train.check_warmup(prompts * len(ranks))
        if generate.plain_samples < generate.heldout.samples:
            yield (
                f"generate.baselines.plain_samples = {generate.plain_samples}: must be at least"
                f" generate.heldout.samples = {generate.heldout.samples}, which it counts as well"
            )
        if max(self.score.best_of or [0]) > generate.plain_samples:
            yield (
                f"score.best_of has {max(self.score.best_of or [])}, but a held-out prompt has"
                f" {generate.plain_samples} samples; raise generate.baselines.plain_samples"
            )
        if generate.heldout.published and source == "packages":
            yield (
                "generate.heldout.published needs a reward model with tokens; remove it, or take"
                " prepare.source = 'prompts'"
            )
