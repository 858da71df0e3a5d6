"""Sample the policy on held-out prompts and measure it against the reference."""

import shutil
from collections.abc import Sequence

from fdpo.config.params import load_params
from fdpo.core import records
from fdpo.core.files import replacing, write_json
from fdpo.core.randomness import streams_of
from fdpo.core.records import HeldoutSamples, ScoredGeneration
from fdpo.evaluation import metric_groups, outputs
from fdpo.evaluation.evaluate_policy import PolicyEvaluation, evaluate_policy
from fdpo.evaluation.inputs import load_inputs
from fdpo.evaluation.metrics.preferences import reliability_curve
from fdpo.evaluation.policy import load_policy, require_trained_with, trained_objective
from fdpo.run import processes, resume, tracking
from fdpo.scoring.scorer import report_cut_texts
from stages import paths


def main() -> None:
    """Read, measure and write."""
    settings = load_params()
    if processes.is_main():
        require_trained_with(paths.POLICY, settings.trained_with)
    processes.wait()
    heldout, evaluate = settings.active.generate.heldout, settings.active.evaluate
    inputs = load_inputs(
        paths.REFERENCE_MODEL,
        paths.REWARD_MODEL,
        paths.JUDGE_MODEL,
        paths.SCORES,
        paths.TEST_PAIRS,
        heldout.max_new_tokens,
    )
    knobs = (settings.loss, settings.beta, settings.alpha, settings.seed)
    with resume.folder("evaluate", *knobs, heldout, evaluate) as work:
        evaluation = evaluate_policy(
            load_policy(inputs.reference, paths.POLICY, longest=inputs.longest),
            inputs,
            trained_objective(paths.POLICY),
            heldout,
            evaluate,
            streams_of(settings.seed),
            work,
        )
        if processes.is_main():
            write_results(evaluation, inputs.baseline)
            with tracking.logbook(settings) as book:
                book.results(
                    metric_groups.headline(evaluation.metrics)
                    | {"all": metric_groups.as_json(evaluation.metrics)},
                    records.read(paths.SAMPLES, HeldoutSamples),
                )
            report_cut_texts(inputs.reward, paths.REWARD_MODEL)
            report_cut_texts(inputs.judge, paths.JUDGE_MODEL)
            print(f"evaluate: {metric_groups.summary(evaluation.metrics)}")


def write_results(evaluation: PolicyEvaluation, baseline: Sequence[ScoredGeneration]) -> None:
    """Write metrics, what they are of, samples and the data behind the plots."""
    rewards, pairs = evaluation.rewards, evaluation.pairs
    with replacing(paths.EVALUATION_RESULTS) as folder:
        write_json(
            folder / paths.METRICS_WITH_INTERVALS.name, metric_groups.as_json(evaluation.metrics)
        )
        shutil.copyfile(paths.POLICY / "objective.json", folder / paths.OBJECTIVE_OF_RESULTS.name)
        records.write(
            folder / paths.SAMPLES.name,
            outputs.samples_of_prompts(
                baseline, evaluation.texts, rewards, evaluation.judgements, evaluation.divergences
            ),
        )
        write_json(folder / paths.REWARD_VALUES.name, outputs.reward_values(rewards))
        write_json(
            folder / paths.REWARDS_BY_PROMPT.name, outputs.rewards_by_prompt(baseline, rewards)
        )
        write_json(
            folder / paths.CALIBRATION.name,
            reliability_curve(pairs.chosen_reward, pairs.rejected_reward),
        )
    write_json(paths.HEADLINE_NUMBERS, metric_groups.headline(evaluation.metrics))


if __name__ == "__main__":
    processes.run("evaluate", main)
