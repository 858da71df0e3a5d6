"""The contents of results/evaluate that people look at: samples, and the data behind the plots."""

from collections.abc import Iterator, Sequence
from typing import Any

from fdpo.core.records import HeldoutSamples, PolicySample, ScoredGeneration, ScoredSample
from fdpo.evaluation.metric_groups import SampleDivergences, Scores

DECIMALS = 4  # plots show no more, and Git holds their data


def samples_of_prompts(
    baseline: Sequence[ScoredGeneration],
    texts: Sequence[Sequence[str]],
    rewards: Scores,
    judgements: Scores | None,
    divergences: SampleDivergences,
) -> Iterator[HeldoutSamples]:
    """Each held-out prompt with the reference's and the policy's completions side by side.

    Args:
        baseline: the reference's scored samples.
        texts: the policy's completions of each prompt, without the prompt.
        rewards: of both models.
        judgements: of both models, by the judge where there is one.
        divergences: of the policy's samples.
    """
    columns = {
        "reward": rewards.policy,
        **({"judge": judgements.policy} if judgements else {}),
        "kl": divergences.kl,
        "entropy": divergences.entropy,
    }
    for generation, row, *measured in zip(baseline, texts, *columns.values(), strict=True):
        yield HeldoutSamples(
            id=generation.id,
            prompt=generation.prompt,
            reference=[
                ScoredSample(
                    text=completion.text,
                    reward=completion.reward,
                    judge=completion.judge if judgements else None,
                )
                for completion in generation.completions
            ],
            policy=[
                PolicySample(text=text, **dict(zip(columns, values, strict=True)))
                for text, *values in zip(
                    row, *(values.tolist() for values in measured), strict=True
                )
            ],
        )


def reward_values(rewards: Scores) -> list[dict[str, Any]]:
    """The reward of every sample of either model, for a histogram."""
    models = {"policy": rewards.policy, "reference": rewards.reference}
    return [
        {"model": name, "reward": round(float(value), DECIMALS)}
        for name, values in models.items()
        for value in values.flat
    ]


def rewards_by_prompt(
    baseline: Sequence[ScoredGeneration], rewards: Scores
) -> list[dict[str, Any]]:
    """Each prompt's mean reward under either model, for a scatter plot."""
    return [
        {
            "prompt": generation.prompt,
            "reference": round(float(reference), DECIMALS),
            "policy": round(float(policy), DECIMALS),
        }
        for generation, reference, policy in zip(
            baseline, rewards.reference.mean(axis=1), rewards.policy.mean(axis=1), strict=True
        )
    ]
