"""Run the exact study: `python -m experiments.exact`; results and figures into results/exact/."""

import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import brentq

from experiments.exact import figures
from experiments.exact.comparison import (
    ALPHA,
    BETAS,
    LEVELS,
    LOSSES,
    SEEDS,
    AtLevel,
    at_level,
    compare,
    paths,
)
from experiments.exact.explanation import reward_estimates, rewards_by_divergence
from experiments.exact.optimum import optimum
from experiments.exact.training import Labels, draw_pairs, loss_of_everything, minimum
from experiments.exact.world import World, make_world, measure
from fdpo.core.files import write_json
from fdpo.losses import LOSSES as REGISTRY
from fdpo.losses import Objective, squared_distance

FOLDER = Path("results/exact")
PAIRS = (256, 1024, 4096, 16384, None)  # None: infinitely many
LABELS = {
    "Bradley-Terry": Labels(),
    "a fifth flipped": Labels(flip_rate=0.2),
    "by rank": Labels(by_rank=True),
}
KLS = (0.25, 0.5, 1.0, 2.0)  # nats, of the optima that are trained to
PRIORS = {"prior of the true width": 1.0, "prior ten times as wide": 10.0}
EXPLAINED_PAIRS = 4096


def target(world: World, loss: str) -> torch.Tensor:
    """What the loss takes for the reward, of infinite data: see `experiments.exact.optimum`."""
    if REGISTRY[loss].preference_loss is squared_distance:
        ref = world.log_ref.exp()
        return (ref[:, None, :] * world.win_probability).sum(-1)
    return world.reward


def optima() -> list[dict]:
    """Each loss at the strengths of its frontier, in closed form and trained to the minimum."""
    world, rows = make_world(), []
    for loss in LOSSES:
        if loss in ("hinge", "squared"):
            continue  # without a closed form, and without one at these KLs
        warm = world.log_ref
        for kl in KLS:

            def excess(log_beta: float, loss: str = loss, kl: float = kl) -> float:
                beta = float(np.exp(log_beta))
                best = optimum(loss, beta, ALPHA, world.log_ref, target(world, loss))
                return measure(world, best).kl.item() - kl

            beta = float(np.exp(brentq(excess, np.log(0.05), np.log(50), xtol=1e-9)))
            best = optimum(loss, beta, ALPHA, world.log_ref, target(world, loss))
            everything = loss_of_everything(world, Objective(loss, beta, ALPHA), Labels())
            cold = minimum(world, everything, world.log_ref)
            warm = minimum(world, everything, warm)  # from the minimum at the last, greater β
            exact = measure(world, best)
            rows.append(
                {
                    "loss": loss,
                    "beta": beta,
                    **{name: value.item() for name, value in vars(exact).items()},
                    "gap": (measure(world, cold).reward - exact.reward).item(),
                    "gap_warm": (measure(world, warm).reward - exact.reward).item(),
                }
            )
    return rows


def comparison(name: str, pairs: int | None) -> list[dict]:
    """All losses with so many pairs and one kind of labels, at equal divergences."""
    world = make_world()
    found: dict[str, list[AtLevel]] = {divergence: [] for divergence in LEVELS}
    for loss in LOSSES:
        by_beta = paths(world, loss, LABELS[name], pairs, SEEDS)
        for divergence, level in LEVELS.items():
            found[divergence].append(at_level(loss, by_beta, divergence, level))
    return [
        {"labels": name, "pairs": pairs, "at": divergence, **row}
        for divergence, of_losses in found.items()
        for row in compare(of_losses)
    ]


def explanation() -> dict[str, list[dict]]:
    """The divergences with the true reward, and with two estimates of it."""
    world = make_world()
    draws = draw_pairs(world, Labels(), EXPLAINED_PAIRS, SEEDS)
    found = {"true reward": rewards_by_divergence(world, world.reward[None])}
    for name, prior in PRIORS.items():
        found[name] = rewards_by_divergence(world, reward_estimates(world, draws, prior))
    return found


def timed(work, *args) -> tuple:
    """What `work` returns, and its CPU-seconds, on one thread."""
    torch.set_num_threads(1)
    begun = time.process_time()
    return work(*args), time.process_time() - begun


def main() -> None:
    """Compute all parts, each in a process of its own, then write them and the figures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max_workers=2) as pool:
        explained = pool.submit(timed, explanation)
        compared = {
            (name, pairs): pool.submit(timed, comparison, name, pairs)
            for name in LABELS
            for pairs in PAIRS
        }
        best = pool.submit(timed, optima)
        for name, part in {"explanation": explained, **compared, "optima": best}.items():
            print(f"{name}: {part.result()[1]:.0f} CPU-seconds", flush=True)
    settings = {"alpha": ALPHA, "betas": BETAS, "levels": LEVELS, "seeds": SEEDS}
    write_json(FOLDER / "optima.json", {"alpha": ALPHA, "rows": best.result()[0]})
    rows = [row for part in compared.values() for row in part.result()[0]]
    write_json(FOLDER / "pairs.json", settings | {"rows": rows})
    write_json(
        FOLDER / "explanation.json", {"pairs": EXPLAINED_PAIRS, "rewards": explained.result()[0]}
    )
    figures.draw(rows, FOLDER)


if __name__ == "__main__":
    main()
