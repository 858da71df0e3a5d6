"""The table of experiments fits the terminal, and loses nothing that is compared."""

import pytest

from experiments import summary, table
from experiments.metrics_io import made_otherwise
from fdpo.core.files import write_json
from stages import paths

SHOWN = {
    "loss": "sigmoid",
    "beta": 0.1,
    "reward": 0.13849,
    "kl": 2.68699,
    "judge": 0.2653,
    "reward_win_rate": 0.625,
    "accuracy": 0.6042,
    "entropy": 3.3763,
    "distinct_2": 0.892,
    "seed": 1.0,
    "lr": "auto",
    "alpha": 0.5,
    "reward_reference": -0.1681,
}
ROWS = [
    SHOWN | {"Experiment": None, "rev": "main", "reward": 0.2},
    SHOWN | {"Experiment": "controlled-alpha0.5-b0.03-seed-1", "rev": "1234567"},
    SHOWN | {"Experiment": "best", "rev": "1234568", "reward": 0.9},
    SHOWN | {"Experiment": "failed", "rev": "1234569", "reward": None},
]


def text(width: int, intervals: dict | None = None) -> str:
    wanted = table.columns()
    rows = [
        [table.name(row), *(table.cell(row, column, intervals or {}) for column in wanted)]
        for row in table.experiments(ROWS)
    ]
    return table.table(rows, [table.NAME, *wanted], width)


@pytest.mark.parametrize("width", [60, 160])
def test_it_fits_and_shows_what_is_compared_best_reward_first(width):
    lines = text(width).split("\n")
    assert max(map(len, lines)) <= width
    assert lines[0].split()[:6] == ["experiment", *table.FIRST_COLUMNS]
    assert {"0.1385", "2.687", "0.2653"} <= set(lines[-1].split())
    assert ("alpha" in lines[0]) == (width == 160)
    names = [line.split()[0] for line in lines[2:]]
    assert names[:2] == ["best", "main"]
    assert len(names) == 3  # without the one that failed


@pytest.mark.parametrize("file", ["", "studies/mine.yaml:"])
def test_results_of_other_params_are_told_from_a_row_s_own(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = {"study": "mine", "seed": 1, "loss": "fkl", "beta": 1, "alpha": 0.5, "lr": 0.02}
    write_json(paths.OBJECTIVE_OF_RESULTS, own | {"normalize": "mean", "epochs": 3})
    row = own | {"lr": "auto", "seed": 1.0, f"{file}train.normalize": "mean"}
    row |= {f"{file}train.lr_by_loss.default": 4.0, f"{file}train.lr_by_loss.fkl": 0.02}
    assert made_otherwise(table.params(row)) is None
    other = row | {"loss": "jsd", f"{file}train.normalize": None}
    assert made_otherwise(table.params(other)).startswith("lr 0.02, loss fkl, normalize mean; ")
    paths.OBJECTIVE_OF_RESULTS.unlink()
    assert made_otherwise(table.params(row)).startswith("unknown params, ")


def test_intervals_stand_behind_their_values():
    shown = text(160, {"reward": {"low": -0.0381, "high": 0.3222}})
    assert "0.9 [-0.0381, 0.322]" in shown


def test_the_summary_says_what_rose_and_what_is_noise():
    metrics = {
        "reward_difference": {"value": 0.307, "low": 0.184, "high": 0.433},
        "judge_difference": {"value": -0.046, "low": -0.122, "high": 0.032},
        "kl": {"value": 2.687},
    }
    said = summary.lines(metrics)[0]
    assert "reward rose by 0.307 (difference +0.184 to +0.433)" in said
    assert "judge fell by 0.046 (difference -0.122 to +0.032, within noise)" in said
    assert "KL 2.69 nats" in said
