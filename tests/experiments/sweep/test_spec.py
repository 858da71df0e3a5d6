"""The sweeps' YAML: what is shipped, and what is refused."""

import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from experiments.sweep import spec
from fdpo.core.errors import UserError
from fdpo.losses import LOSSES

ROOT = Path(__file__).parents[3]
ONE = """
study: embedded
seeds: [3]
params: {lr: 1}
rows: [{name: hinge-b10, loss: hinge, beta: 10}]
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """The repository's settings, without its sweeps."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    (tmp_path / spec.SPECS).mkdir(parents=True)
    return tmp_path


def loaded(root: Path, text: str) -> list[spec.RowSpec]:
    (root / spec.SPECS / "mine.yaml").write_text(text, encoding="utf-8")
    return spec.load("mine", root)


def test_the_seed_table_has_the_18_published_runs_and_the_ratios_of_their_rates():
    rows = spec.load("seed-table", ROOT)
    ran = {(row.params.loss, row.params.beta) for row in rows[:12]}
    assert ran == {
        *((loss, beta) for loss in ("hinge", "sigmoid") for beta in (10, 1, 0.5, 0.1)),
        *((loss, beta) for loss in ("jsd", "fkl") for beta in (1, 0.1)),
    }
    alphas = [(row.params.alpha, row.params.beta) for row in rows[12:]]
    assert sorted(alphas) == [(a, b) for a in (0.3, 0.5, 0.7) for b in (0.1, 1)]
    for row in rows:
        published = 1.0 if row.params.loss in ("sigmoid", "hinge") else 0.1
        assert row.params.lr == pytest.approx(0.004 * published, rel=1e-12)


def test_the_controlled_sweep_varies_loss_and_strength_alone():
    rows = spec.load("controlled", ROOT)
    same = [row.params.model_dump(exclude={"loss", "beta", "seed"}) for row in rows]
    assert all(values == same[0] for values in same)
    strengths = defaultdict(set)
    for row in rows:
        strengths[row.params.loss].add(
            round(row.params.beta * LOSSES[row.params.loss].curvature, 6)
        )
    assert all(found == {0.01, 0.1, 0.5, 2.0} for found in strengths.values())


@pytest.mark.parametrize("file", sorted((ROOT / spec.SPECS).glob("*.yaml")), ids=lambda f: f.stem)
def test_rows_come_seed_by_seed_and_each_is_named_once(file):
    rows = spec.load(file.stem, ROOT)
    seeds = [row.params.seed for row in rows]
    assert seeds == sorted(seeds)
    assert len({row.experiment for row in rows}) == len(rows)
    assert len({row.params.model_dump_json() for row in rows}) == len(rows)


def test_a_row_becomes_arguments_for_dvc_and_shares_data_where_it_may(root):
    more = "prepare.train_prompts: 24, train.eval_every: 8, train.gradient_checkpointing: true"
    text = ONE.replace("lr: 1", f"lr: 0.00001, {more}")
    both = text.replace("10}", "10}, {name: more, loss: fkl, beta: 1, train.epochs: 2}")
    row, other = loaded(root, both)
    assert row.settings == [
        "study=embedded",
        'loss="hinge"',
        "beta=10.0",
        "alpha=0.5",
        "lr=1e-05",
        "seed=3",
        "studies/embedded.yaml:++prepare.train_prompts=24",
        "studies/embedded.yaml:++train.eval_every=8",
        "studies/embedded.yaml:++train.gradient_checkpointing=true",
    ]
    assert row.data == other.data
    assert row.data != loaded(root, ONE)[0].data


def test_a_rows_own_params_go_over_the_common_ones_and_lr_by_loss_under_both(root):
    text = """
study: embedded
seeds: [1, 2]
params: {alpha: 0.5}
lr_by_loss: {hinge: 0.1, fkl: 0.2, default: 1e-5}
rows:
  - {name: a, loss: hinge, beta: 1}
  - {name: b, loss: fkl, beta: 1, lr: 0.3, alpha: 0.7, seeds: [2]}
  - {name: c, loss: jsd, beta: 1}
"""
    rows = {row.name: row.params for row in loaded(root, text)}
    assert list(rows) == ["a-s1", "c-s1", "a-s2", "b-s2", "c-s2"]
    assert (rows["a-s1"].lr, rows["a-s1"].alpha) == (0.1, 0.5)
    assert (rows["b-s2"].lr, rows["b-s2"].alpha) == (0.3, 0.7)
    assert rows["c-s1"].lr == 0.00001


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("beta: 10", "beta: -1", "row 'hinge-b10': beta = -1"),
        ("beta: 10", "train.epochs: 1", "row 'hinge-b10': beta"),
        ("loss: hinge", "loss: alpha", "row 'hinge-b10': alpha"),
        ("beta: 10", "beta: 1, bta: 1", "row 'hinge-b10': bta"),
        ("beta: 10", "beta: 1, train.epoch: 1", "row 'hinge-b10': train.epoch"),
        ("loss: hinge", "loss: hinges", "row 'hinge-b10': loss = 'hinges'"),
        ("lr: 1", "lr: 1, split: 1", "row 'hinge-b10': split"),
        ("lr: 1", "lr: 1, seed: 1", "row 'hinge-b10': seed"),
        ("lr: 1", "lr: 1, no.such: 1", "row 'hinge-b10': no.such"),
        ("hinge, beta: 10", "alpha-hinge, beta: 10", "row 'hinge-b10': alpha"),
        ("study: embedded", "study: embeded", "studies/embeded.yaml"),
        ("name: hinge-b10", "name: a b", "rows.0.name = 'a b'"),
        ("seeds: [3]", "seeds: []", "seeds = []"),
        ("seeds: [3]", "seed: 3", "seed"),
        ("beta: 10", "beta: [10]", "row 'hinge-b10': beta = [10]"),
        ("params:", "lr_by_loss: {hinges: 1}\nparams:", "lr_by_loss.hinges"),
        ("beta: 10}", "beta: 10}, {name: hinge-b10, loss: fkl, beta: 1}", "row 'hinge-b10'"),
    ],
)
def test_what_is_wrong_is_refused_by_file_and_key(root, old, new, key):
    assert old in ONE
    with pytest.raises(UserError) as error:
        loaded(root, ONE.replace(old, new))
    assert any(key in line for line in error.value.lines)
    assert str(root) not in str(error.value)


def test_every_problem_has_a_line(root):
    rows = "rows: [{name: a, loss: fkl, beta: -1}, {name: b, loss: hinges, beta: 1, bta: 2}]"
    with pytest.raises(UserError) as error:
        loaded(root, ONE.replace("rows: [{name: hinge-b10, loss: hinge, beta: 10}]", rows))
    assert len(error.value.lines) == 3
    with pytest.raises(UserError, match="mine"):
        spec.load("other", root)
