"""Score every completion with the reward model, and held-out ones with the judge too."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from fdpo.baselines.heldout import select_heldout
from fdpo.baselines.without_training import PromptScores, best_of_row, temperature_row
from fdpo.config.params import Params, load_params
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.core.records import Completion, Generation, ScoredCompletion, ScoredGeneration
from fdpo.run import stage
from fdpo.run.progress import counted
from fdpo.scoring.loading import load_judge, load_scorer
from fdpo.scoring.scorer import PromptedText, Scorer, report_cut_texts, scores_of
from stages import paths


def main() -> None:
    """Score data/generations.jsonl, and measure what its held-out samples give without training."""
    settings = load_params()
    reward, judge = load_scorer(paths.REWARD_MODEL), load_judge(paths.JUDGE_MODEL)
    generations = list(records.read_prompt_unique(paths.GENERATIONS, Generation))
    made = scored(generations, reward, judge, settings.active.score.batch_size)
    records.write(paths.SCORES, counted(made, "score", len(generations), "prompts"))
    baselines = measured_baselines(settings, generations, reward, judge)
    write_json(paths.REFERENCE_BASELINES, baselines)
    for scorer, folder in ((reward, paths.REWARD_MODEL), (judge, paths.JUDGE_MODEL)):
        report_cut_texts(scorer, folder)
    print(f"score: the completions of {len(generations)} prompts")


def scored(
    generations: Iterable[Generation], reward: Scorer, judge: Scorer | None, batch_size: int
) -> Iterator[ScoredGeneration]:
    """Score the completions of `batch_size` prompts at a time, unless their scores came along."""
    generations = iter(generations)
    while batch := list(islice(generations, batch_size)):
        to_score = [generation for generation in batch if generation.scores is None]
        rewards = iter(scores_of(reward, prompted(to_score)) if to_score else ())
        heldout = [g for g in batch if judge and g.role == "heldout"]
        judgements = iter(scores_of(judge, prompted(heldout)) if judge else ())
        for generation in batch:
            judged = judge and generation.role == "heldout"
            given = iter(generation.scores or ())
            yield ScoredGeneration(
                **generation.model_dump(exclude={"completions", "baselines", "scores", "mismatch"}),
                completions=[
                    ScoredCompletion(
                        **completion.model_dump(),
                        reward=float(next(given if generation.scores else rewards)),
                        judge=float(next(judgements)) if judged else None,
                    )
                    for completion in generation.completions
                ],
            )


def measured_baselines(
    settings: Params, generations: Sequence[Generation], reward: Scorer, judge: Scorer | None
) -> list[dict[str, Any]]:
    """The entries of results/baselines.json, none where the study asks for none."""
    study = settings.active
    asked, best_of = study.generate.baselines, study.score.best_of or []
    if asked is None and not best_of:
        return []
    heldout = [generation for generation in generations if generation.role == "heldout"]

    def scores(rows: Sequence[Sequence[Completion]]) -> PromptScores:
        items = [
            PromptedText.of(generation, completion.text)
            for generation, row in zip(heldout, rows, strict=True)
            for completion in row
        ]
        shape = (len(heldout), len(rows[0]))
        return PromptScores(
            scores_of(reward, items).reshape(shape),
            scores_of(judge, items).reshape(shape) if judge else None,
        )

    drawn = [generation.baselines for generation in heldout]
    for generation, samples in zip(heldout, drawn, strict=True):
        if asked and (samples is None or len(samples.tempered) != len(asked.temperatures)):
            raise UserError(
                f"{paths.GENERATIONS}: prompt {generation.id}: without the samples that"
                " generate.baselines asks for; rebuild the file with `dvc repro`"
            )
    plain = recorded_scores(judged=judge is not None)
    if further := [samples.plain for samples in drawn if samples and samples.plain]:
        plain = PromptScores.each(lambda *both: np.hstack(both), plain, scores(further))
    entries = []
    for place, temperature in enumerate(asked.temperatures if asked else ()):
        rows = [samples.tempered[place].completions for samples in drawn if samples]
        entries.append(
            temperature_row(
                temperature,
                scores(rows),
                plain,
                kl=np.array([[completion.kl for completion in row] for row in rows]),
                entropy=np.array([[completion.entropy for completion in row] for row in rows]),
                ids=[[completion.ids for completion in row] for row in rows],
                distinct_budget=study.evaluate.distinct_budget,
            )
        )
    return entries + [best_of_row(n, plain) for n in best_of]


def recorded_scores(judged: bool) -> PromptScores:
    """The scores of the held-out samples in data/scores.jsonl, the judge's where it has some."""
    scored = list(records.read_prompt_unique(paths.SCORES, ScoredGeneration))
    rows = [generation.completions for generation in select_heldout(paths.SCORES, scored, judged)]
    reward = np.array([[completion.reward for completion in row] for row in rows])
    judge = np.array([[completion.judge for completion in row] for row in rows])
    return PromptScores(reward, judge if judged else None)


def prompted(generations: Iterable[Generation]) -> list[PromptedText]:
    """Each completion with its prompt, in order: what a scorer reads."""
    return [
        PromptedText.of(g, completion.text) for g in generations for completion in g.completions
    ]


if __name__ == "__main__":
    stage.run("score", main)
