"""The files of results/evaluate that people read: samples, and the data behind the plots."""

from collections.abc import Sequence
from pathlib import Path

from fdpo.core.files import write_json
from fdpo.core.records import SamplesOfPrompt, ScoredGeneration, ScoredSample, write
from fdpo.evaluation.metric_groups import ImplicitRewards, Scores
from fdpo.evaluation.metrics.preferences import reliability_curve

DECIMALS = 4  # plots show no more, and Git holds their data


def write_samples(
    path: Path,
    baseline: Sequence[ScoredGeneration],
    texts: Sequence[Sequence[str]],
    rewards: Scores,
    judgements: Scores,
) -> None:
    """Each held-out prompt with the reference's and the policy's completions side by side."""
    write(
        path,
        (
            SamplesOfPrompt(
                id=generation.id,
                prompt=generation.prompt,
                reference=[
                    ScoredSample(text=c.text, reward=c.reward, judge=c.judge)
                    for c in generation.completions
                ],
                policy=[
                    ScoredSample(text=text, reward=float(reward), judge=float(judge))
                    for text, reward, judge in zip(row, values, judged, strict=True)
                ],
            )
            for generation, row, values, judged in zip(
                baseline, texts, rewards.policy, judgements.policy, strict=True
            )
        ),
    )


def write_plots(
    folder: Path,
    baseline: Sequence[ScoredGeneration],
    rewards: Scores,
    implicit: ImplicitRewards,
) -> None:
    """JSON lists that `dvc plots` draws: rewards of both models, by prompt, and calibration."""
    models = {"policy": rewards.policy, "reference": rewards.reference}
    histogram = [
        {"model": name, "reward": round(float(value), DECIMALS)}
        for name, values in models.items()
        for value in values.flat
    ]
    by_prompt = [
        {
            "prompt": generation.prompt,
            "reference": round(float(reference), DECIMALS),
            "policy": round(float(policy), DECIMALS),
        }
        for generation, reference, policy in zip(
            baseline, rewards.reference.mean(axis=1), rewards.policy.mean(axis=1), strict=True
        )
    ]
    write_json(folder / "rewards.json", histogram)
    write_json(folder / "prompts.json", by_prompt)
    write_json(folder / "calibration.json", reliability_curve(implicit.chosen, implicit.rejected))
