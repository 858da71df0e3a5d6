"""Sample the policy on held-out prompts and measure it against the reference."""

from collections.abc import Sequence

from fdpo.config.params import Params
from fdpo.core import records
from fdpo.core.files import replacing, write_json
from fdpo.core.records import Pair, SamplesOfPrompt, ScoredGeneration
from fdpo.decoding.decoder_probe import probe_model
from fdpo.evaluation import metric_groups, outputs
from fdpo.evaluation.baseline import heldout
from fdpo.evaluation.policy import load_policy, require_trained_with
from fdpo.evaluation.policy_evaluation import Comparison, compare
from fdpo.models import causal_lm
from fdpo.run import processes, resume, tracking
from fdpo.run.settings import load_params
from fdpo.scoring.loading import load_scorer
from stages import paths


def main() -> None:
    settings = load_params()
    require_trained_with(paths.POLICY, settings.trained_with)
    scores = list(records.read_prompt_unique(paths.SCORES, ScoredGeneration))
    pairs = list(records.read(paths.TEST_PAIRS, Pair))
    baseline = heldout(paths.SCORES, scores)
    reference = causal_lm.load_causal_lm(paths.REFERENCE)
    longest_prompt = causal_lm.check_token_ids(reference, paths.SCORES, scores)
    longest_pair = causal_lm.check_token_ids(reference, paths.TEST_PAIRS, pairs)
    new_tokens = settings.active.generate.heldout.max_new_tokens
    probe_model(reference, max(longest_prompt + new_tokens, longest_pair))
    knobs = (settings.loss, settings.beta, settings.alpha, settings.seed)
    active = settings.active
    with resume.folder("evaluate", *knobs, active.generate.heldout, active.evaluate) as work:
        found = compare(
            policy=load_policy(paths.REFERENCE, paths.POLICY),
            reference=reference,
            tokenizer=causal_lm.load_tokenizer(paths.REFERENCE),
            reward=load_scorer(paths.REWARD_MODEL),
            judge=load_scorer(paths.JUDGE),
            baseline=baseline,
            pairs=pairs,
            settings=settings,
            work=work,
        )
        if processes.is_main():
            report(found, baseline, settings)


def report(found: Comparison, baseline: Sequence[ScoredGeneration], settings: Params) -> None:
    """Write, log and print what was measured."""
    with replacing(paths.EVALUATION_RESULTS) as folder:
        write_json(folder / "metrics.json", metric_groups.as_json(found.table))
        outputs.write_samples(
            folder / "samples.jsonl", baseline, found.texts, found.rewards, found.judgements
        )
        outputs.write_plots(folder, baseline, found.rewards, found.implicit)
    headline = metric_groups.headline(found.table)
    write_json(paths.HEADLINE_NUMBERS, headline)
    with tracking.logbook(settings) as book:
        samples = records.read(paths.EVALUATION_RESULTS / "samples.jsonl", SamplesOfPrompt)
        book.results(headline | {"all": metric_groups.as_json(found.table)}, samples)
    print(f"evaluate: {metric_groups.summary(found.table)}")


if __name__ == "__main__":
    processes.run("evaluate", main)
