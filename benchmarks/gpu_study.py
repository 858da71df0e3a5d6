"""The imdb study's shape with a GPT-2 of random weights, as its stage `prepare` would leave it.

`python -m benchmarks.gpu_study FOLDER TRAIN HELDOUT [small]` writes params.yaml, prompts and models
into FOLDER. Reward and judge are regressions, which run on the CPU; so the study's `published`
decoding, which needs a classifier, is left out.
"""

import shutil
import sys
from pathlib import Path

import yaml

from benchmarks.decoding_peer import make_prompts
from benchmarks.measure import ROOT
from benchmarks.small import save_scorers
from benchmarks.workload import gpt2, save, tiny_gpt2
from fdpo.core import records
from fdpo.core.records import Prompt
from stages import paths

RATED = 3000  # words that reward and judge tell apart; others are worth the mean


def write(folder: Path, train: int, heldout: int, small: bool) -> None:
    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings["study"] = "imdb"
    study = settings["studies"]["imdb"]
    del study["generate"]["heldout"]["published"]
    model = tiny_gpt2() if small else gpt2()
    if small:
        study["generate"]["train"]["max_new_tokens"] = 4
        study["generate"]["heldout"]["max_new_tokens"] = 4
        study["train"]["epochs"] = 1
        study["evaluate"]["distinct_budget"] = 5
        study["train"]["log_every"] = 1
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", folder)
    save(model, folder / paths.REFERENCE_MODEL)
    words = model.config.vocab_size - 1
    save_scorers(folder, [f"w{number}" for number in range(min(words, RATED))])
    texts = [
        " ".join(f"w{token % words}" for token in ids) for ids in make_prompts(train + heldout)
    ]
    roles = ["train"] * train + ["heldout"] * heldout
    records.write(
        folder / paths.PROMPTS,
        [
            Prompt(id=number, prompt=text, role=role)
            for number, (text, role) in enumerate(zip(texts, roles, strict=True))
        ],
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "small" in sys.argv[4:])
