"""A policy beside its reference: its held-out samples, their scores and their divergence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.config.params import Params
from fdpo.core.device import autocast, device
from fdpo.core.errors import UserError
from fdpo.core.records import Pair, ScoredGeneration
from fdpo.decoding.sampling import Sampled
from fdpo.decoding.strategies import decode_heldout, decode_published
from fdpo.evaluation import metric_groups
from fdpo.evaluation.cached_samples import Measured, Sample
from fdpo.evaluation.metric_groups import ImplicitRewards, Scores, Table
from fdpo.evaluation.metrics.divergence import TokenDivergences, token_divergences
from fdpo.losses import Objective
from fdpo.models import causal_lm
from fdpo.models.lm_head import lm_head
from fdpo.models.logprobs import completion_hidden, pair_logps
from fdpo.models.micro_batches import MicroBatch, micro_batches, rows
from fdpo.models.packing import pack
from fdpo.run import partial_records
from fdpo.run.processes import share_out
from fdpo.scoring.scorer import Scorer


@dataclass(frozen=True)
class Comparison:
    """All that was measured, `table`, and the single values that figures show."""

    texts: list[list[str]]  # the policy's completions, a list a held-out prompt
    rewards: Scores
    judgements: Scores
    implicit: ImplicitRewards
    table: Table


def compare(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    reward: Scorer,
    judge: Scorer,
    baseline: Sequence[ScoredGeneration],
    pairs: Sequence[Pair],
    settings: Params,
    work: Path | None = None,
) -> Comparison:
    """Sample the policy on the prompts of `baseline`, the reference's scored samples, and measure.

    `pairs` are the test pairs. `settings` give the loss with its β and α, the seed, and how the
    active study samples. What was sampled is kept in the folder `work`, if there is one, and is not
    sampled again when it is there already; nothing else is written. Of several processes each runs
    a share of the batches, and all return the whole.
    """
    implicit = implicit_rewards(policy, pairs, settings)
    samples, divergences = sample_and_diverge(policy, reference, baseline, settings, work)
    texts = [[tokenizer.decode(c.ids, skip_special_tokens=True) for c in row] for row in samples]
    whole = [g.prompt + text for g, row in zip(baseline, texts, strict=True) for text in row]
    rewards = Scores(by_prompt(reward.score(whole), baseline), recorded(baseline, "reward"))
    judgements = Scores(by_prompt(judge.score(whole), baseline), recorded(baseline, "judge"))

    seed, budget = settings.seed, settings.active.evaluate.distinct_budget
    if settings.active.generate.heldout.published:
        unigrams, published = as_published(policy, tokenizer, reward, baseline, settings, work)
    else:
        unigrams, published = own_unigrams(baseline, samples), {}
    table = {
        **metric_groups.scored("reward", rewards, seed),
        **metric_groups.scored("judge", judgements, seed),
        **metric_groups.diverged(samples, divergences, seed),
        **metric_groups.varied(samples, texts, unigrams, budget, seed),
        **metric_groups.preferred(implicit, seed),
        **published,
    }
    return Comparison(texts, rewards, judgements, implicit, table)


def implicit_rewards(
    policy: PreTrainedModel, pairs: Sequence[Pair], settings: Params
) -> ImplicitRewards:
    """β·g(ρ) of the test pairs under the policy."""
    objective = Objective(settings.loss, settings.beta, settings.alpha)
    batches = micro_batches(rows(pairs), settings.active.evaluate.tokens_per_forward)
    order = [index for batch in batches for index in batch.indices.tolist()]

    def of_batch(batch: MicroBatch) -> list[list[float]]:
        batch = batch.to(device())
        references = (batch.ref_chosen_logps, batch.ref_rejected_logps)
        with torch.inference_mode(), autocast():
            return [
                objective.implicit_reward(own, ref).tolist()
                for own, ref in zip(pair_logps(policy, batch), references, strict=True)
            ]

    chosen, rejected = zip(*share_out(of_batch, batches, "test pairs"), strict=True)
    prompts = np.array([pairs[index].id for index in order])
    return ImplicitRewards(np.concatenate(chosen), np.concatenate(rejected), prompts)


def batched(
    baseline: Sequence[ScoredGeneration], settings: Params
) -> list[Sequence[ScoredGeneration]]:
    size = settings.active.evaluate.prompts_per_batch
    return [baseline[start : start + size] for start in range(0, len(baseline), size)]


def sample_and_diverge(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    baseline: Sequence[ScoredGeneration],
    settings: Params,
    work: Path | None = None,
) -> tuple[list[list[Sampled]], list[TokenDivergences]]:
    """The policy's samples of each held-out prompt and their tokens' divergences, in order."""

    def measure(batch: Sequence[ScoredGeneration]) -> list[Measured]:
        ids, prompts = [g.id for g in batch], [g.prompt_ids for g in batch]
        heldout = settings.active.generate.heldout
        with causal_lm.cached_attention(policy):
            sampled = decode_heldout(
                policy, ids, prompts, heldout, settings.seed, "policy", keep_hidden=True
            )
        return list(map(Measured.of, sampled, diverge(policy, reference, prompts, sampled)))

    path = work and work / "samples.jsonl"
    batches = batched(baseline, settings)
    measured = partial_records.batch_by_batch(path, Measured, batches, measure, "held-out prompts")
    samples = [[one.sampled() for one in row.samples] for row in measured]
    return samples, [row.token_divergences() for row in measured]


def diverge(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sampled: Sequence[Sequence[Sampled]],
) -> Iterator[TokenDivergences]:
    """Next-token divergences of each prompt's samples.

    The policy's hidden states are those it sampled from; the reference's take one forward pass.
    """
    completions = [[completion.ids for completion in row] for row in sampled]
    branches = pack(list(zip(prompts, completions, strict=True))).to(device())
    with torch.inference_mode(), autocast():
        columns = token_divergences(
            torch.cat([completion.hidden for row in sampled for completion in row]),
            completion_hidden(reference, branches),
            lm_head(policy),
            lm_head(reference),
            branches.targets,
        )
    lengths = [sum(map(len, row)) for row in completions]
    split = [column.split(lengths) for column in vars(columns).values()]
    return (TokenDivergences(*row) for row in zip(*split, strict=True))


Unigrams = list[list[list[int]]]  # token ids of each text of each prompt


def own_unigrams(
    baseline: Sequence[ScoredGeneration], samples: Sequence[Sequence[Sampled]]
) -> Unigrams:
    return [
        [[*generation.prompt_ids, *completion.ids] for completion in row]
        for generation, row in zip(baseline, samples, strict=True)
    ]


def as_published(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    reward: Scorer,
    baseline: Sequence[ScoredGeneration],
    settings: Params,
    work: Path | None = None,
) -> tuple[Unigrams, Table]:
    """One sample a prompt, decoded as the published figures were: its unigrams, and the rest.

    The reward model scores whole texts, prompt included, and the unigrams are its own tokens.
    """

    def decode(batch: Sequence[ScoredGeneration]) -> list[Sample]:
        ids, prompts = [g.id for g in batch], [g.prompt_ids for g in batch]
        published = settings.active.generate.heldout.published
        with causal_lm.cached_attention(policy):
            decoded = decode_published(policy, ids, prompts, published, settings.seed, "policy")
        return list(map(Sample.of, decoded))

    path = work and work / "published.jsonl"
    batches = batched(baseline, settings)
    sampled = partial_records.batch_by_batch(path, Sample, batches, decode, "published decoding")
    if any(generation.published is None for generation in baseline):
        raise UserError(
            "generate.heldout.published is set, but the baseline was sampled without it; run"
            " `dvc repro score`"
        )
    completions = [tokenizer.decode(one.ids, skip_special_tokens=True) for one in sampled]
    texts = [g.prompt + text for g, text in zip(baseline, completions, strict=True)]
    reference_texts = [g.prompt + g.published.text for g in baseline]
    scores = Scores(reward.score(texts)[:, None], reward.score(reference_texts)[:, None])
    unigrams, reference_unigrams = (
        [[ids] for ids in reward.token_ids(side)] for side in (texts, reference_texts)
    )
    return unigrams, metric_groups.as_published(scores, reference_unigrams, settings.seed)


def by_prompt(values: np.ndarray, baseline: Sequence[ScoredGeneration]) -> np.ndarray:
    return values.reshape(len(baseline), -1)


def recorded(baseline: Sequence[ScoredGeneration], scorer: str) -> np.ndarray:
    return np.array([[getattr(c, scorer) for c in g.completions] for g in baseline])
