"""Run a stage as `python3 -m stages.NAME` does, and write where its time went.

`python -m benchmarks.timed -m stages.NAME` writes NAME.json into $BENCHMARK_TIMES: wall seconds a
part, and the most memory of a GPU. A part is what the functions named below take; what they call
counts to them alone.
"""

import functools
import importlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from fdpo.core import errors

TIMES = "BENCHMARK_TIMES"

# Functions, by the module whose name for them is called. One that is gone ends the benchmark, so no
# part can silently come out as nothing.
LOADING = ("fdpo.models.causal_lm:load_tokenizer", "fdpo.models.causal_lm:load_causal_lm")
SCORING = (
    "fdpo.scoring.ridge:RidgeReward.score",
    "fdpo.scoring.embedding:EmbeddingJudge.score",
)
PARTS = {
    "stages.score": {
        "loading": ("stages.score:load_scorer", "stages.score:load_judge"),
        "scoring": SCORING,
    },
    "stages.train": {
        "loading": (*LOADING, "fdpo.training.trainer:FDPOTrainer.__init__"),
        "training": ("fdpo.training.trainer:FDPOTrainer.train",),
        "test pairs": ("fdpo.training.trainer:FDPOTrainer.evaluate",),
        "saving": ("stages.train:save_policy",),
    },
    "stages.evaluate": {
        "loading": (
            *LOADING,
            "stages.evaluate:load_policy",
            "fdpo.evaluation.inputs:load_scorer",
            "fdpo.evaluation.inputs:load_judge",
        ),
        "test pairs": ("fdpo.evaluation.evaluate_policy:measure_test_pairs",),
        "sampling": ("fdpo.evaluation.evaluate_policy:decode_heldout",),
        "divergence": ("fdpo.evaluation.evaluate_policy:diverge",),
        "scoring": SCORING,
        "metrics": ("stages.evaluate:evaluate_policy",),  # what is left of it
        "saving": ("stages.evaluate:write_results",),
    },
}


class Clock:
    """Seconds a part. Within a timed call another counts to its own part, not to the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]  # seconds that inner calls took, a level each

    def timed(self, part: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args, **kwargs):
            self._inner.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - start
                self.seconds[part] += spent - self._inner.pop()
                self._inner[-1] += spent

        return call

    def watch(self, part: str, place: str) -> None:
        """Time `module:name` or `module:Class.name` from now on."""
        module, path = place.split(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        setattr(owner, name, self.timed(part, getattr(owner, name)))


def prepared(clock: Clock, name: str) -> ModuleType:
    """Import a stage and put the clock about its parts."""
    stage = importlib.import_module(name)
    for part, places in PARTS.get(name, {}).items():
        for place in places:
            clock.watch(part, place)
    return stage


def main() -> None:
    began = time.perf_counter()
    name = sys.argv[-1]
    clock = Clock()
    stage = clock.timed("imports", prepared)(clock, name)
    errors.run(stage.main)
    whole = time.perf_counter() - began
    clock.seconds["rest"] = whole - sum(clock.seconds.values())
    target = Path(os.environ[TIMES], f"{name.removeprefix('stages.')}.json")
    target.write_text(json.dumps({"seconds": clock.seconds, "gpu_mib": gpu_mib()}))


def gpu_mib() -> float:
    """What the stage held of a GPU; 0 where it imported no torch."""
    if "torch" not in sys.modules:
        return 0.0
    from benchmarks.clock import peak_gpu_mib

    return peak_gpu_mib()


if __name__ == "__main__":
    main()
