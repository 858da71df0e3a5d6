"""Run the exact study: `python -m experiments.exact`; results and figures into results/exact/."""

import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.optimize import brentq

from experiments.exact import comparison, explanation, figures
from experiments.exact.comparison import ALPHA, LEVELS, SEEDS
from experiments.exact.optimum import optimum, target
from experiments.exact.training import Labels, draw_pairs, loss_of_everything, minimum
from experiments.exact.world import make_world, measure
from fdpo.core.files import write_json
from fdpo.losses import Objective

FOLDER = Path("results/exact")
PAIRS = (256, 1024, 4096, 16384)
LABELS = {
    "Bradley-Terry": Labels(),
    "a fifth flipped": Labels(flip_rate=0.2),
    "by rank": Labels(by_rank=True),
}
KLS = (0.5, 1.0, 2.0)  # nats, of the optima that are trained to
OPTIMA_PROMPTS = 4  # half of the others': L-BFGS takes most of the time
PRIORS = {"prior of the true width": 1.0, "prior ten times as wide": 10.0}
EXPLAINED_PAIRS = 4096


def optima() -> list[dict]:
    """Each loss at strengths of its frontier, in closed form and trained to the minimum.

    Not `hinge`, without a closed form, nor `squared`, without an optimum at these KLs.
    """
    world, rows = make_world(OPTIMA_PROMPTS), []
    for loss in (name for name in comparison.LOSSES if name not in ("hinge", "squared")):
        wanted = target(world, loss)
        warm = world.log_ref
        for kl in KLS:

            def best(log_beta: float, loss: str = loss, wanted: torch.Tensor = wanted):
                policy = optimum(loss, float(np.exp(log_beta)), ALPHA, world.log_ref, wanted)
                return measure(world, cast(torch.Tensor, policy))  # only squared may have none

            log_beta = brentq(lambda b, kl=kl, best=best: best(b).kl.item() - kl, -3, 4, xtol=1e-9)
            objective = Objective(loss, float(np.exp(log_beta)), ALPHA)
            everything = loss_of_everything(world, objective, Labels())
            warm = minimum(world, everything, warm)  # from the minimum at the last, greater β
            starts = {"gap": minimum(world, everything, world.log_ref), "gap_warm": warm}
            exact = {name: value.item() for name, value in vars(best(log_beta)).items()}
            gaps = {
                name: measure(world, policy).reward.item() - exact["reward"]
                for name, policy in starts.items()
            }
            rows.append({"loss": loss, "beta": objective.beta, **exact, **gaps})
    return rows


def comparisons(name: str, pairs: int) -> list[dict]:
    """All losses with so many pairs and one kind of labels, at equal divergences."""
    found = comparison.at_levels(make_world(), LABELS[name], pairs)
    return [{"labels": name, "pairs": pairs, **row} for row in found]


def explanations() -> dict[str, list[dict]]:
    """The divergences with the true reward, and with two estimates of it."""
    world = make_world()
    draws = draw_pairs(world, Labels(), EXPLAINED_PAIRS, SEEDS)
    estimates = {"true reward": world.reward[None]}
    for name, prior in PRIORS.items():
        estimates[name] = explanation.reward_estimates(world, draws, prior)
    return {
        name: explanation.rewards_by_divergence(world, estimate)
        for name, estimate in estimates.items()
    }


def timed(work, *args) -> tuple:
    """What `work` returns, and its CPU-seconds, on one thread."""
    torch.set_num_threads(1)
    begun = time.process_time()
    return work(*args), time.process_time() - begun


def main() -> None:
    """Compute all parts in two processes, then write them and the figures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    parts: dict = {"explanation": (explanations,)}
    parts |= {(name, pairs): (comparisons, name, pairs) for name in LABELS for pairs in PAIRS}
    parts["optima"] = (optima,)
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = {name: pool.submit(timed, *part) for name, part in parts.items()}
        for name, future in futures.items():
            print(f"{name}: {future.result()[1]:.0f} CPU-seconds", flush=True)
    found = {name: future.result()[0] for name, future in futures.items()}
    rows = [row for name, part in found.items() if isinstance(name, tuple) for row in part]
    settings = {"alpha": ALPHA, "betas": comparison.BETAS, "levels": LEVELS, "seeds": SEEDS}
    write_json(FOLDER / "pairs.json", settings | {"rows": rows})
    write_json(FOLDER / "optima.json", {"alpha": ALPHA, "rows": found["optima"]})
    explained = {"pairs": EXPLAINED_PAIRS, "rewards": found["explanation"]}
    write_json(FOLDER / "explanation.json", explained)
    figures.draw(rows, FOLDER)


if __name__ == "__main__":
    main()
