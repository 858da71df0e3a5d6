"""Measure a policy beside its reference: held-out samples, their scores and their divergence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.config.study import Evaluate, Heldout, Published
from fdpo.core.device import autocast, device
from fdpo.core.errors import UserError
from fdpo.core.randomness import RandomStreams
from fdpo.core.records import Pair, ScoredGeneration
from fdpo.decoding.sampling import Sampled
from fdpo.decoding.strategies import decode_heldout, decode_published
from fdpo.evaluation import metric_groups
from fdpo.evaluation.cached_samples import CachedPrompt, CachedSample
from fdpo.evaluation.inputs import EvaluationInputs
from fdpo.evaluation.metric_groups import MetricTable, PairMeasures, SampleDivergences, Scores
from fdpo.evaluation.metrics.divergence import TokenDivergences, token_divergences
from fdpo.evaluation.metrics.diversity import good_distances
from fdpo.losses import Objective, capped, f_dpo_loss
from fdpo.models import causal_lm
from fdpo.models.lm_head import lm_head
from fdpo.models.logprobs import completion_hidden, pair_logps, sequence_logps
from fdpo.models.micro_batches import MicroBatch, micro_batches, to_trl_columns
from fdpo.models.packing import pack
from fdpo.models.text_tokens import completion_text
from fdpo.run import partial_records
from fdpo.run.processes import share_out
from fdpo.scoring.scorer import (
    EmbeddingScorer,
    PromptedText,
    Scorer,
    TokenizingScorer,
    scores_of,
)

Unigrams = list[list[list[int]]]  # token ids of each text of each prompt


@dataclass(frozen=True)
class PolicyEvaluation:
    """All that was measured of a policy, and the single values that plots and samples show."""

    metrics: MetricTable
    texts: list[list[str]]
    """The policy's completions of each held-out prompt."""
    rewards: Scores
    judgements: Scores | None
    """None where the study has no judge."""
    divergences: SampleDivergences
    pairs: PairMeasures


def evaluate_policy(
    policy: PreTrainedModel,
    inputs: EvaluationInputs,
    objective: Objective,
    heldout: Heldout,
    evaluate: Evaluate,
    streams: RandomStreams,
    work: Path | None = None,
) -> PolicyEvaluation:
    """Sample the policy on the held-out prompts, score its samples and measure.

    Of several processes each runs a share of the batches, and all return the whole.

    Args:
        policy: a causal language model with the reference's vocabulary.
        inputs: what it is compared with.
        objective: what it was trained for, which gives its implicit rewards.
        heldout: the study's section generate.heldout: how held-out prompts are sampled.
        evaluate: the study's section evaluate.
        streams: the run's random streams.
        work: the folder that keeps what was sampled. What is there already is not sampled again.
            Without a folder nothing is written.

    Raises:
        UserError: the study has published figures, but the baseline was sampled without them.
    """
    pairs = measure_test_pairs(policy, inputs.test_pairs, objective, evaluate.tokens_per_forward)
    size = evaluate.prompts_per_batch
    batches = [inputs.baseline[at : at + size] for at in range(0, len(inputs.baseline), size)]
    samples, divergences = sample_and_diverge(
        policy, inputs.reference, batches, heldout, streams, token_values(policy, inputs), work
    )
    of_samples = metric_groups.sample_divergences(samples, divergences)
    texts = [
        [completion_text(inputs.tokenizer, generation.prompt_ids, sample.ids) for sample in row]
        for generation, row in zip(inputs.baseline, samples, strict=True)
    ]
    items = [
        PromptedText.of(generation, text)
        for generation, row in zip(inputs.baseline, texts, strict=True)
        for text in row
    ]

    def scored(scorer: Scorer, name: str) -> Scores:
        of_policy = scores_of(scorer, items).reshape(len(inputs.baseline), -1)
        of_reference = [[getattr(c, name) for c in row.completions] for row in inputs.baseline]
        return Scores(of_policy, np.array(of_reference))

    rewards = scored(inputs.reward, "reward")
    judgements = scored(inputs.judge, "judge") if inputs.judge else None
    unigrams = [
        [[*generation.prompt_ids, *sample.ids] for sample in row]
        for generation, row in zip(inputs.baseline, samples, strict=True)
    ]
    published: MetricTable = {}
    if heldout.published:
        unigrams, published = evaluate_as_published(
            policy, inputs, batches, heldout.published, streams, work
        )
    metrics = {
        **metric_groups.score_metrics("reward", rewards, of_samples.control),
        **(
            metric_groups.score_metrics("judge", judgements, of_samples.control)
            if judgements
            else {}
        ),
        **metric_groups.divergence_metrics(
            samples, divergences, measure_reference_samples(policy, batches)
        ),
        **metric_groups.diversity_metrics(
            samples,
            texts,
            unigrams,
            evaluate.distinct_budget,
            streams,
            distances_of_good(texts, rewards, inputs.judge),
        ),
        **metric_groups.preference_metrics(pairs, streams),
        **published,
    }
    return PolicyEvaluation(
        metrics,
        texts,
        rewards,
        judgements,
        of_samples,
        pairs,
    )


def token_values(policy: PreTrainedModel, inputs: EvaluationInputs) -> Tensor | None:
    """What each token of the vocabulary is worth to the reward by itself, [V] float32.

    None where the reward model doesn't add up what parts of a text are worth: what its tokens say
    alone then explains little of what it says of texts.
    """
    if not inputs.reward.additive:
        return None
    size = len(lm_head(policy).weight)
    known = range(min(size, len(inputs.tokenizer)))
    texts = inputs.tokenizer.batch_decode([[token] for token in known])
    values = torch.zeros(size)
    values[: len(texts)] = torch.from_numpy(inputs.reward.score(texts)).float()
    return values


def distances_of_good(
    texts: Sequence[Sequence[str]], rewards: Scores, judge: Scorer | None
) -> np.ndarray | None:
    """`good_distances` of the policy's completions by the judge's embeddings, [prompts].

    Good is more reward than half of the reference's samples have. None where the judge has no
    embeddings.
    """
    if not isinstance(judge, EmbeddingScorer):
        return None
    embeddings = judge.embeddings([text for row in texts for text in row])
    good = rewards.policy > np.median(rewards.reference)
    return good_distances(embeddings.reshape(*good.shape, -1), good)


def measure_test_pairs(
    policy: PreTrainedModel,
    pairs: Sequence[Pair],
    objective: Objective,
    tokens_per_forward: int,
) -> PairMeasures:
    """The pairs' implicit rewards and losses, and how far their log-probabilities have moved.

    The policy reads them in micro-batches of about `tokens_per_forward` tokens; the reference's
    log-probabilities are the recorded ones.
    """
    batches = micro_batches(to_trl_columns(pairs), tokens_per_forward)
    order = [index for batch in batches for index in batch.indices.tolist()]

    def measure(batch: MicroBatch) -> list[list[float]]:
        batch = batch.to(device())
        references = (batch.ref_chosen_logps, batch.ref_rejected_logps)
        with torch.inference_mode(), autocast():
            logps = pair_logps(policy, batch)
            loss, *rewards = f_dpo_loss(objective, *logps, *references, *batch.lengths)
            untrained, *_ = f_dpo_loss(objective, *references, *references, *batch.lengths)
            changes = [after - before for after, before in zip(logps, references, strict=True)]
        columns = [*rewards, *changes, capped(loss, untrained), untrained]
        return [column.tolist() for column in columns]

    def pairs_of(batch: MicroBatch) -> int:
        return len(batch.indices)

    measured = zip(*share_out(measure, batches, "test pairs", pairs_of, "pairs"), strict=True)
    columns = [np.concatenate(parts) for parts in measured]
    columns.append(np.array([pairs[index].id for index in order]))
    return PairMeasures(*columns)


def measure_reference_samples(
    policy: PreTrainedModel, batches: Sequence[Sequence[ScoredGeneration]]
) -> np.ndarray:
    """log π − log π_ref of the reference's recorded samples, [prompts, samples] in nats."""

    def measure(batch: Sequence[ScoredGeneration]) -> np.ndarray:
        rows = [(row.prompt_ids, [c.ids for c in row.completions]) for row in batch]
        with torch.inference_mode(), autocast():
            logps = sequence_logps(policy, pack(rows).to(device())).cpu()
        recorded = [c.ref_logp for row in batch for c in row.completions]
        return (logps.numpy() - recorded).reshape(len(batch), -1)

    measured = share_out(measure, batches, "reference's samples", len, "prompts")
    return np.concatenate(list(measured))


def sample_and_diverge(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    batches: Sequence[Sequence[ScoredGeneration]],
    heldout: Heldout,
    streams: RandomStreams,
    values: Tensor | None = None,
    work: Path | None = None,
) -> tuple[list[list[Sampled]], list[TokenDivergences]]:
    """The policy's samples of each held-out prompt and their tokens' divergences, in order.

    Args are as for `evaluate_policy`; `batches` are those of the baseline, `values` those of
    `token_values`.
    """

    def measure(batch: Sequence[ScoredGeneration]) -> list[CachedPrompt]:
        numbers = [generation.id for generation in batch]
        prompts = [generation.prompt_ids for generation in batch]
        with causal_lm.cached_attention(policy):
            samples = decode_heldout(
                policy, numbers, prompts, heldout, streams, purpose="policy", keep_hidden=True
            )
        divergences = diverge(policy, reference, prompts, samples, values)
        return list(map(CachedPrompt.of, samples, divergences))

    def samples_of(batch: Sequence[ScoredGeneration]) -> int:
        return len(batch) * heldout.samples

    path = work / "samples.jsonl" if work else None
    cached = partial_records.batch_by_batch(
        path, CachedPrompt, batches, measure, "held-out prompts", samples_of
    )
    samples = [[sample.sampled() for sample in prompt.samples] for prompt in cached]
    return samples, [prompt.token_divergences() for prompt in cached]


def diverge(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    samples: Sequence[Sequence[Sampled]],
    values: Tensor | None = None,
) -> Iterator[TokenDivergences]:
    """Next-token divergences of each prompt's samples, one sample after another.

    The policy's hidden states are those it sampled from; the reference's take one forward pass.
    """
    completions = [[sample.ids for sample in row] for row in samples]
    branches = pack(list(zip(prompts, completions, strict=True))).to(device())
    policy_hidden = [
        sample.hidden for row in samples for sample in row if sample.hidden is not None
    ]
    with torch.inference_mode(), autocast():
        columns = token_divergences(
            torch.cat(policy_hidden),
            completion_hidden(reference, branches),
            lm_head(policy),
            lm_head(reference),
            branches.targets,
            values,
        )
    lengths = [sum(map(len, row)) for row in completions]
    by_prompt = [column.split(lengths) for column in vars(columns).values()]
    return (TokenDivergences(*row) for row in zip(*by_prompt, strict=True))


def evaluate_as_published(
    policy: PreTrainedModel,
    inputs: EvaluationInputs,
    batches: Sequence[Sequence[ScoredGeneration]],
    published: Published,
    streams: RandomStreams,
    work: Path | None = None,
) -> tuple[Unigrams, MetricTable]:
    """One sample per prompt, decoded as the published figures were: its unigrams and metrics.

    The reward model scores whole texts, prompt included, and the unigrams are its own tokens. Args
    are as for `evaluate_policy`.

    Raises:
        UserError: the baseline was sampled without it, or the reward model has no tokens.
    """
    reward = inputs.reward
    if not isinstance(reward, TokenizingScorer):
        raise UserError(
            "generate.heldout.published needs a reward model with tokens; remove it, or take a"
            " classifier as the reward model"
        )

    def decode(batch: Sequence[ScoredGeneration]) -> list[CachedSample]:
        numbers = [generation.id for generation in batch]
        prompts = [generation.prompt_ids for generation in batch]
        with causal_lm.cached_attention(policy):
            decoded = decode_published(
                policy, numbers, prompts, published, streams, purpose="policy"
            )
        return list(map(CachedSample.of, decoded))

    path = work / "published.jsonl" if work else None
    samples = partial_records.batch_by_batch(
        path, CachedSample, batches, decode, "published decoding"
    )
    of_policy, of_reference = [], []
    for generation, sample in zip(inputs.baseline, samples, strict=True):
        if generation.published is None:
            raise UserError(
                "generate.heldout.published is set, but the baseline was sampled without it; run"
                " `dvc repro score`"
            )
        text = completion_text(inputs.tokenizer, generation.prompt_ids, sample.ids)
        of_policy.append(PromptedText.of(generation, text))
        of_reference.append(PromptedText.of(generation, generation.published.text))
    scores = Scores(scores_of(reward, of_policy)[:, None], scores_of(reward, of_reference)[:, None])
    unigrams, reference_unigrams = (
        [[ids] for ids in reward.token_ids([item.text for item in side])]
        for side in (of_policy, of_reference)
    )
    return unigrams, metric_groups.published_metrics(scores, reference_unigrams, streams)
