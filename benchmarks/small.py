"""A finished pipeline in seconds, to try the benchmarks on: a tiny random model, 12 prompts.

`python -m benchmarks.small FOLDER` writes its params.yaml, models and generations; `build` runs the
stages that follow, up to the test pairs.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks.measure import ROOT, module
from benchmarks.workspace import stage
from stages import paths

if TYPE_CHECKING:
    from fdpo.core.records import Generation

TRAIN_PROMPTS, HELDOUT_PROMPTS = 8, 4
WORDS = ("good", "bad", "fine", "awful", "great", "dull")  # the scorers tell these apart


def build(folder: Path) -> Path:
    """A folder as a pipeline that has run up to split leaves it; returns it."""
    module("benchmarks.small", folder)  # a process of its own: it imports torch
    run_to_split(folder)
    return folder


def run_to_split(folder: Path) -> None:
    for name in ("score", "pair", "split"):
        stage(folder, name)


def write(folder: Path) -> None:
    """Write params.yaml, models, prompts and generations."""
    from benchmarks.workload import save, tiny_llama
    from fdpo.core import records

    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    study = settings["studies"]["embedded"]
    study["generate"]["heldout"] = {"samples": 2, "max_new_tokens": 4}
    del study["generate"]["baselines"], study["score"]["best_of"]
    study["train"]["epochs"] = 1
    study["evaluate"]["distinct_budget"] = 5
    folder.joinpath("params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", folder)
    save(tiny_llama(), folder / paths.REFERENCE_MODEL)
    save_scorers(folder)
    generations = [generation(number) for number in range(TRAIN_PROMPTS + HELDOUT_PROMPTS)]
    prompts = [records.Prompt(id=g.id, prompt=g.prompt, role=g.role) for g in generations]
    records.write(folder / paths.PROMPTS, prompts)
    records.write(folder / paths.GENERATIONS, generations)


def save_scorers(folder: Path, words: Sequence[str] = WORDS) -> None:
    """Write a reward model and a judge that rate these words from 0 to 5, in turn."""
    from fdpo.scoring import ridge
    from fdpo.scoring.quality import RatedTexts

    copies = -(-120 // len(words))  # the fit wants at least a hundred texts
    texts = [f"w1 {word} {number}" for number in range(copies) for word in words]
    rated = RatedTexts(texts, [float(place % 6) for place in range(len(words))] * copies)
    for scorer in (paths.REWARD_MODEL, paths.JUDGE_MODEL):
        ridge.fit(rated, rated, seed=1).save(folder / scorer)


def generation(number: int) -> "Generation":
    """A prompt with six completions to train on, or two that are held out."""
    from fdpo.core.records import Completion, Generation

    heldout = number >= TRAIN_PROMPTS
    completions = [
        Completion(text=f" {word}", ids=[place, 7 + number], finished=False, ref_logp=-12.4)
        for place, word in enumerate(WORDS[: 2 if heldout else 6])
    ]
    return Generation(
        id=number,
        prompt="w1 w2",
        role="heldout" if heldout else "train",
        prompt_ids=[1, 2, number],
        completions=completions,
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
