"""Score every completion with the reward model, and the baseline's with the judge too."""

from collections.abc import Iterable, Iterator
from itertools import islice

from tqdm import tqdm

from fdpo.core import records
from fdpo.core.records import Generation, ScoredCompletion, ScoredGeneration
from fdpo.run import locks
from fdpo.run.settings import load_params
from fdpo.scoring.loading import load_scorer
from fdpo.scoring.scorer import Scorer, report_cut_texts
from stages import paths


def main() -> None:
    """Score data/generations.jsonl."""
    batch_size = load_params().active.score.batch_size
    reward, judge = load_scorer(paths.REWARD_MODEL), load_scorer(paths.JUDGE_MODEL)
    generations = records.read_prompt_unique(paths.GENERATIONS, Generation)
    count = records.write(
        paths.SCORES, tqdm(scored(generations, reward, judge, batch_size), "score")
    )
    for scorer, folder in ((reward, paths.REWARD_MODEL), (judge, paths.JUDGE_MODEL)):
        report_cut_texts(scorer, folder)
    print(f"score: the completions of {count} prompts")


def scored(
    generations: Iterable[Generation], reward: Scorer, judge: Scorer, batch_size: int
) -> Iterator[ScoredGeneration]:
    """Score `batch_size` prompts at a time; a text is the prompt and its completion."""
    generations = iter(generations)
    while batch := list(islice(generations, batch_size)):
        rewards = iter(reward.score(texts(batch)))
        heldout = [generation for generation in batch if generation.role == "heldout"]
        judgements = iter(judge.score(texts(heldout)))
        for generation in batch:
            compared = generation.role == "heldout"
            yield ScoredGeneration(
                **generation.model_dump(exclude={"completions"}),
                completions=[
                    ScoredCompletion(
                        **completion.model_dump(),
                        reward=float(next(rewards)),
                        judge=float(next(judgements)) if compared else None,
                    )
                    for completion in generation.completions
                ],
            )


def texts(generations: Iterable[Generation]) -> list[str]:
    """Each completion behind its prompt, in order: what a scorer reads."""
    return [g.prompt + completion.text for g in generations for completion in g.completions]


if __name__ == "__main__":
    locks.run("score", main)
