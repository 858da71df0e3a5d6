"""Invented results of a sweep, in the runner's format, smooth in β and noisy over seeds."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.sweep.results import ReferenceResults, SweepResults

NASTY = "</script><script>alert(1)</script> {{ 7 * 7 }} | `a` *b* & <b>c</b>\nnext"
LOSSES = {"sigmoid": 1.0, "hinge": 1.1, "jsd": 0.5, "fkl": 0.06, "alpha": 0.25}


def interval(value: float, reach: float) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


def metrics(reward: float, kl: float, judge: float) -> dict[str, dict[str, float]]:
    """Every metric that evaluation writes, for a policy of this reward, KL and judge."""
    return {
        "reward": interval(reward - 0.08, 0.17),
        "reward_reference": interval(-0.08, 0.16),
        "reward_difference": interval(reward, 0.11),
        "reward_win_rate": interval(0.5 + 0.4 * reward, 0.05),
        "judge": interval(0.2 + judge, 0.07),
        "judge_reference": interval(0.2, 0.07),
        "judge_difference": interval(judge, 0.06),
        "judge_win_rate": interval(0.5 + 0.5 * judge, 0.05),
        "kl": interval(kl, 0.05 * kl),
        "kl_monte_carlo": interval(kl, 0.1 * kl),
        "forward_kl_token_sum": interval(1.1 * kl, 0.05 * kl),
        "jsd_token_sum": interval(0.2 * kl, 0.01 * kl),
        "entropy": interval(3.7 - 0.1 * kl, 0.08),
        "unigram_entropy": interval(6.3 - 0.02 * kl, 0.05),
        "distinct_1": interval(0.5 - 0.005 * kl, 0.015),
        "distinct_2": interval(0.93 - 0.005 * kl, 0.015),
        "self_bleu": interval(0.04, 0.004),
        "length": interval(19.9, 0.1),
        "finished": interval(0.01, 0.01),
        "repeated_4grams": interval(0.0002, 0.0002),
        "chosen_logp_change": interval(-0.5 * kl, 0.1),
        "rejected_logp_change": interval(-0.9 * kl, 0.1),
        "accuracy": interval(0.55 + 0.1 * reward, 0.15),
        "margin": interval(0.2 * reward, 0.2),
        "calibration_error": interval(0.12, 0.06),
    }


def row(
    loss: str,
    beta: float,
    seed: int,
    *,
    alpha: float = 0.5,
    kl: float = 1.0,
    reward: float = 0.2,
    judge: float = 0.1,
    lr: float = 0.002,
    text: str = " a plain completion",
) -> dict[str, Any]:
    """One finished experiment."""
    sample = {"text": text, "reward": 0.5, "judge": 0.1}
    steps = range(1, 25)
    return {
        "params": {
            "loss": loss,
            "beta": beta,
            "alpha": alpha,
            "lr": lr,
            "seed": seed,
            "studies.embedded.prepare.train_prompts": 30,
        },
        "metrics": metrics(reward, kl, judge),
        "calibration": [
            {"confidence": 0.52, "accuracy": 0.55, "count": 17},
            {"confidence": 0.58 + 0.02 * reward, "accuracy": 0.5 + 0.2 * reward, "count": 11},
            {"confidence": 0.66, "accuracy": 0.75, "count": 8},
        ],
        "curves": {
            "train/loss": [[step, 0.69 - 0.004 * step * kl**0.5] for step in steps],
            "train/margin": [[step, 0.01 * step * kl**0.5] for step in steps],
            "train/accuracy": [[step, 0.5 + 0.01 * step] for step in steps],
            "test/loss": [[12, 0.67], [24, 0.65]],
            "test/margin": [[12, 0.08], [24, 0.12]],
            "test/accuracy": [[12, 0.55], [24, 0.6]],
        },
        "samples": [
            {
                "id": number,
                "prompt": f"Movie review: {text}",
                "reference": [sample, sample],
                "policy": [{**sample, "text": f"{text} {loss} {beta:g} {seed} {number}"}] * 2,
            }
            for number in range(3)
        ],
        "counts": {"train_pairs": 144, "test_pairs": 36, "heldout_prompts": 48, "samples": 4},
        "made": {
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "experiment": "fedcba9876543210fedcba9876543210fedcba98",
            "name": f"{loss}-b{beta:g}-s{seed}",
            "seconds": 171.3,
            "python": "3.11.2",
            "packages": {"torch": "2.13.0", "trl": "1.16.0"},
            "machine": "some processor, 2 cores, 2 threads a process",
        },
    }


def sweep(name: str, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    models = {"snippets": {"name": "vaderSentiment", "version": "3.3.2"}}
    return {"sweep": name, "study": "embedded", "models": models, "rows": rows}


def with_samples(
    content: dict[str, Any], prompts: int = 5, samples: int = 3, spread: float = 0.5
) -> dict[str, Any]:
    """The sweep with every held-out sample's scores, whose means are the rows' metrics."""
    references = {}
    content = copy.deepcopy(content)

    def drawn(mean: float, *stream: int) -> list[list[float]]:
        values = np.random.default_rng(stream).normal(0, spread, (prompts, samples))
        return (values - values.mean() + mean).tolist()

    for number, row in enumerate(content["rows"].values(), start=1):
        seed = row["params"]["seed"]
        reference = ReferenceResults(
            prompts=list(range(prompts)),
            reward=drawn(-0.08, seed, 0),
            judge=drawn(0.2, seed, 1),
            baselines=[
                {
                    "baseline": "temperature",
                    "temperature": 0.7,
                    "samples": samples,
                    "metrics": {
                        "reward_difference": interval(0.05, 0.1),
                        "judge_difference": interval(0.02, 0.1),
                        "kl": interval(1.1, 0.2),
                        "entropy": interval(3.0, 0.1),
                        "distinct_2": None,
                    },
                },
                {
                    "baseline": "best_of",
                    "n": 4,
                    "samples": 16,
                    "kl_bound": 0.636,
                    "metrics": {
                        "reward_difference": interval(0.3, 0.1),
                        "judge_difference": interval(0.1, 0.1),
                    },
                },
            ],
        )
        metrics = row["metrics"]
        row["heldout"] = {
            "reward": drawn(metrics["reward_difference"]["value"] - 0.08, seed, 2, number),
            "judge": drawn(metrics["judge_difference"]["value"] + 0.2, seed, 3, number),
            "kl": drawn(metrics["kl"]["value"], seed, 4, number),
            "entropy": drawn(metrics["entropy"]["value"], seed, 5, number),
        }
        row["reference"] = reference.digest
        references[reference.digest] = reference.model_dump()
    return content | {"references": references}


def controlled(seeds: int = 3, text: str = " a plain completion") -> dict[str, Any]:
    """Five losses, four β each: reward rises with the root of KL, `fkl` below the others."""
    rows = {}
    for loss, strength in LOSSES.items():
        for beta in (0.03, 0.1, 0.3, 1):
            for seed in range(1, seeds + 1):
                rng = np.random.default_rng([seed, int(100 * beta), len(loss)])
                kl = strength * 2.5 * (0.1 / beta) ** 0.6 * float(rng.uniform(0.9, 1.1))
                reward = (0.19 if loss != "fkl" else 0.08) * kl**0.5 + float(rng.normal(0, 0.015))
                judge = 0.03 * reward * (4 - kl) if kl < 4 else -0.08
                rows[f"{loss}-b{beta:g}-s{seed}"] = row(
                    loss, beta, seed, kl=kl, reward=reward, judge=judge, text=text
                )
    return sweep("controlled", rows)


def seed_table() -> dict[str, Any]:
    """Eighteen rows of seven curves, one seed, learning rates that differ by loss."""
    settings = [(loss, 0.5, beta) for loss in ("hinge", "sigmoid") for beta in (10, 1, 0.5, 0.1)]
    settings += [(loss, 0.5, beta) for loss in ("jsd", "fkl") for beta in (1, 0.1)]
    settings += [("alpha", alpha, beta) for alpha in (0.3, 0.5, 0.7) for beta in (1, 0.1)]
    rows = {}
    for loss, alpha, beta in settings:
        kl = LOSSES[loss] * 2.5 * (0.1 / beta) ** 0.4 * (1.5 - alpha)
        name = f"{loss}{alpha:g}" if loss == "alpha" else loss
        lr = 0.002 if loss in ("hinge", "sigmoid") else 0.0002
        rows[f"{name}-b{beta:g}-s1"] = row(
            loss, beta, 1, alpha=alpha, kl=kl, reward=0.19 * kl**0.5, judge=0.05, lr=lr
        )
    return sweep("seed-table", rows)


def write(folder: Path, *sweeps: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for content in sweeps:
        (folder / f"{content['sweep']}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def results(name: str, rows: dict[str, dict[str, Any]]) -> SweepResults:
    """A sweep of these rows, read as its file is."""
    return as_read(sweep(name, rows))


def as_read(content: dict[str, Any]) -> SweepResults:
    """A sweep's content, read as its file is."""
    return SweepResults.model_validate_json(json.dumps(content))
