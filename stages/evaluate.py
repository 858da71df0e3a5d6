"""Sample the policy on held-out prompts and measure it against the reference."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from fdpo import errors, evaluation, figures, models, params, records
from fdpo.decoding import decode_heldout
from fdpo.device import autocast, device
from fdpo.evaluation import ImplicitRewards, Scores
from fdpo.files import replacing, write_json
from fdpo.grouping import micro_batches, rows
from fdpo.logprobs import completion_hidden, pair_logps
from fdpo.losses import implicit_reward
from fdpo.metrics.divergence import TokenDivergences, token_divergences
from fdpo.packing import pack
from fdpo.params import Params
from fdpo.policy import load_policy
from fdpo.records import Pair, ScoredGeneration
from fdpo.sampling import Sampled
from fdpo.scorers import load_scorer

SCORES = "data/scores.jsonl"
TEST = "data/test.jsonl"
REFERENCE = "models/reference"
POLICY = "models/policy"
REWARD = "models/reward"
JUDGE = "models/judge"
RESULTS = Path("results/evaluate")
METRICS = "results/metrics.json"


def main() -> None:
    settings = params.load()
    scores = records.read_prompt_unique(SCORES, ScoredGeneration)
    baseline = [generation for generation in scores if generation.role == "heldout"]
    pairs = list(records.read(TEST, Pair))
    reward, judge = load_scorer(REWARD), load_scorer(JUDGE)
    tokenizer = models.load_tokenizer(REFERENCE)
    policy, reference = load_policy(REFERENCE, POLICY), models.load_causal_lm(REFERENCE)

    implicit = implicit_rewards(policy, pairs, settings)
    samples, divergences = sample_and_compare(policy, reference, baseline, settings)
    texts = [[tokenizer.decode(c.ids, skip_special_tokens=True) for c in row] for row in samples]
    whole = [g.prompt + text for g, row in zip(baseline, texts, strict=True) for text in row]
    rewards = Scores(by_prompt(reward.score(whole), baseline), recorded(baseline, "reward"))
    judgements = Scores(by_prompt(judge.score(whole), baseline), recorded(baseline, "judge"))
    unigrams = [
        [[*generation.prompt_ids, *completion.ids] for completion in row]
        for generation, row in zip(baseline, samples, strict=True)
    ]

    seed, budget = settings.seed, settings.active.evaluate.distinct_budget
    table = {
        **evaluation.scored("reward", rewards, seed),
        **evaluation.scored("judge", judgements, seed),
        **evaluation.diverged(samples, divergences, seed),
        **evaluation.varied(samples, texts, unigrams, budget, seed),
        **evaluation.preferred(implicit, seed),
    }
    with replacing(RESULTS) as folder:
        write_json(folder / "metrics.json", evaluation.as_json(table))
        figures.write_samples(folder / "samples.jsonl", baseline, texts, rewards, judgements)
        figures.write_plots(folder, baseline, rewards, implicit)
    write_json(METRICS, evaluation.headline(table))
    print(f"evaluate: {summary(table)}")


def implicit_rewards(
    policy: PreTrainedModel, pairs: Sequence[Pair], settings: Params
) -> ImplicitRewards:
    """β·g(ρ) of the test pairs under the policy."""
    batches = micro_batches(rows(pairs), settings.active.evaluate.tokens_per_forward)
    order = [index for batch in batches for index in batch.indices.tolist()]
    sides: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode(), autocast():
        for batch in tqdm(batches, "test pairs"):
            batch = batch.to(device())
            references = (batch.ref_chosen_logps, batch.ref_rejected_logps)
            for side, logps, ref in zip(sides, pair_logps(policy, batch), references, strict=True):
                values = implicit_reward(settings.loss, logps, ref, settings.beta, settings.alpha)
                side += values.tolist()
    prompts = np.array([pairs[index].id for index in order])
    return ImplicitRewards(np.array(sides[0]), np.array(sides[1]), prompts)


def sample_and_compare(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    baseline: Sequence[ScoredGeneration],
    settings: Params,
) -> tuple[list[list[Sampled]], list[TokenDivergences]]:
    """The policy's samples of each held-out prompt and their tokens' divergences, in order."""
    heldout = settings.active.generate.heldout
    size = settings.active.evaluate.prompts_per_batch
    samples: list[list[Sampled]] = []
    divergences: list[TokenDivergences] = []
    for start in tqdm(range(0, len(baseline), size), "held-out prompts"):
        batch = baseline[start : start + size]
        prompts = [generation.prompt_ids for generation in batch]
        ids = [generation.id for generation in batch]
        with models.decoding(policy):
            sampled = decode_heldout(policy, ids, prompts, heldout, settings.seed, "policy")
        samples += sampled
        divergences += compare(policy, reference, prompts, sampled)
    return samples, divergences


def compare(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sampled: Sequence[Sequence[Sampled]],
) -> Iterator[TokenDivergences]:
    """Next-token divergences of each prompt's samples, from one forward pass of each model."""
    completions = [[completion.ids for completion in row] for row in sampled]
    branches = pack(list(zip(prompts, completions, strict=True))).to(device())
    with torch.inference_mode(), autocast():
        columns = token_divergences(
            completion_hidden(policy, branches),
            completion_hidden(reference, branches),
            models.head_weight(policy),
            models.head_weight(reference),
            branches.targets,
        )
    lengths = [sum(map(len, row)) for row in completions]
    split = [column.split(lengths) for column in vars(columns).values()]
    return (TokenDivergences(*row) for row in zip(*split, strict=True))


def by_prompt(values: np.ndarray, baseline: Sequence[ScoredGeneration]) -> np.ndarray:
    return values.reshape(len(baseline), -1)


def recorded(baseline: Sequence[ScoredGeneration], scorer: str) -> np.ndarray:
    return np.array([[getattr(c, scorer) for c in g.completions] for g in baseline])


def summary(table: evaluation.Table) -> str:
    gain = table["reward_difference"]
    return (
        f"reward {table['reward'].value:.3f}, {gain.value:+.3f} to the reference "
        f"[{gain.low:+.3f}, {gain.high:+.3f}]; judge {table['judge_difference'].value:+.3f}; "
        f"KL {table['kl'].value:.2f} nats"
    )


if __name__ == "__main__":
    errors.run(main)
