"""Run the exact study: `python -m experiments.exact`; tables and the figure into results/exact/."""

import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from experiments.exact import comparison, explanation, figures
from experiments.exact.comparison import LEVELS, SEEDS
from experiments.exact.optimum import ALPHA, CLOSED, optimum_at
from experiments.exact.training import Labels, minimum
from experiments.exact.world import make_world, measure
from fdpo.core.files import replacing, write_json
from fdpo.losses import Objective

FOLDER = Path("results/exact")
PROMPTS = 2
PAIRS = (256, 1024, 4096, 16384)
EXPLAINED_PAIRS = 4096
LABELS = {
    "Bradley–Terry": Labels(),
    "a fifth flipped": Labels(flip_rate=0.2),
    "by rank": Labels(by_rank=True),
}


def optima(name: str) -> list[dict]:
    """Each loss's optimum at a level of divergence, in closed form and trained to the minimum."""
    world, rows = make_world(PROMPTS), []
    for loss in CLOSED:
        beta, policy = optimum_at(world, loss, name, LEVELS[name])
        exact = {key: value.item() for key, value in vars(measure(world, policy)).items()}
        trained = measure(world, minimum(world, Objective(loss, beta, ALPHA)))
        gap = trained.reward.item() - exact["reward"]
        rows.append({"at": name, "loss": loss, "beta": beta, **exact, "gap": gap})
    return rows


def comparisons(name: str, pairs: int) -> list[dict]:
    """All losses with so many pairs and one kind of labels, at equal divergences."""
    found = comparison.at_levels(make_world(PROMPTS), LABELS[name], pairs)
    return [{"labels": name, "pairs": pairs, **row} for row in found]


def timed(work, *args) -> tuple:
    """What `work` returns, and its CPU-seconds, on one thread."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        begun = time.process_time()
        return work(*args), time.process_time() - begun


def main() -> None:
    """Compute all parts in two processes, then write them, the table and the figure."""
    parts: dict = {name: (optima, name) for name in LEVELS}
    parts |= {(name, pairs): (comparisons, name, pairs) for name in LABELS for pairs in PAIRS}
    found, seconds = {}, 0.0
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = {name: pool.submit(timed, *part) for name, part in parts.items()}
        for name, future in futures.items():
            found[name], took = future.result()
            seconds += took
            print(f"{name}: {took:.0f} CPU-seconds", flush=True)
    trained = [row for name in parts if name not in LEVELS for row in found[name]]
    best = [row for name in LEVELS for row in found[name]]
    explained_rows = [
        row for row in found["Bradley–Terry", EXPLAINED_PAIRS] if row["at"] == "kl" and row["betas"]
    ]
    crossed, took = timed(explanation.crossed, make_world(PROMPTS), explained_rows, EXPLAINED_PAIRS)
    settings = {
        "alpha": ALPHA,
        "cpu_seconds": round(seconds + took),
        "crossed": EXPLAINED_PAIRS,
        "levels": LEVELS,
        "prompts": PROMPTS,
        "seeds": SEEDS,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    whole = {"settings": settings, "optima": best, "pairs": trained, "crossed": crossed}
    write_json(FOLDER / "exact.json", whole)
    write_tables(whole)


def write_tables(whole: dict) -> None:
    """Write the tables and the figure of what exact.json holds."""
    text = figures.tables(whole["optima"], whole["pairs"], whole["crossed"], whole["settings"])
    with replacing(FOLDER / "exact.md") as scratch:
        scratch.write_text(text, encoding="utf-8")
    figures.draw(whole["pairs"], FOLDER / "exact.svg")


if __name__ == "__main__":
    main()
