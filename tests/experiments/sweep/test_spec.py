"""The sweeps' YAML: what is shipped, and what is refused."""

from collections import Counter, defaultdict

import pytest

from experiments.sweep import spec
from fdpo.config.params import load_params
from fdpo.core.errors import UserError
from fdpo.losses import LOSSES

BASE = load_params()
ONE = """
study: embedded
seeds: [3]
params: {alpha: 0.5, lr: 1}
rows: [{name: hinge-b10, loss: hinge, beta: 10}]
"""


def loaded(tmp_path, text: str) -> spec.SweepSpec:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    return spec.load("mine", BASE, tmp_path)


def test_the_seed_table_has_the_18_published_runs():
    sweep = spec.load("seed-table", BASE)
    ran = {(row.params.loss, row.params.beta) for row in sweep.rows[:12]}
    assert ran == {
        *((loss, beta) for loss in ("hinge", "sigmoid") for beta in (10, 1, 0.5, 0.1)),
        *((loss, beta) for loss in ("jsd", "fkl") for beta in (1, 0.1)),
    }
    alphas = [(row.params.alpha, row.params.beta) for row in sweep.rows[12:]]
    assert sorted(alphas) == [(a, b) for a in (0.3, 0.5, 0.7) for b in (0.1, 1)]
    assert {row.params.loss for row in sweep.rows[12:]} == {"alpha"}
    assert len({row.name for row in sweep.rows}) == 18
    assert sweep.rows[7].name == sweep.rows[7].experiment == "sigmoid-b0.1-s1"
    assert sweep.rows[12].name == "alpha0.3-b1-s1"


def test_the_seed_tables_learning_rates_keep_the_published_ratios_and_the_defaults_own():
    published = BASE.studies["imdb"].train
    own = BASE.studies["embedded"].train.lr_of("sigmoid")
    for row in spec.load("seed-table", BASE).rows:
        ratio = published.lr_of(row.params.loss) / published.lr_of("sigmoid")
        assert row.params.lr == pytest.approx(own * ratio, rel=1e-12)


def test_the_controlled_sweep_varies_loss_and_beta_alone():
    sweep = spec.load("controlled", BASE)
    same = [row.params.model_dump(exclude={"loss", "beta", "seed"}) for row in sweep.rows]
    assert all(values == same[0] for values in same)
    assert same[0]["alpha"] == 0.5


def test_the_controlled_sweep_has_equal_strengths_and_enough_seeds():
    sweep = spec.load("controlled", BASE)
    strengths = defaultdict(Counter)
    for row in sweep.rows:
        strength = row.params.beta * LOSSES[row.params.loss].curvature
        strengths[row.params.loss][round(strength, 6)] += 1
    with_five = {"sigmoid", "hinge", "jsd", "fkl", "alpha"}
    assert set(strengths) == with_five | {"jeffreys", "chi2", "ipo", "squared"}
    for loss, seeds in strengths.items():
        assert set(seeds) == {0.01, 0.1, 0.5, 2.0}
        wanted = 5 if loss in with_five else 3
        assert set(seeds.values()) == {wanted}


@pytest.mark.parametrize("name", ["../sweeps/controlled", "/etc/passwd", "a b", "-x", "\udcff", ""])
def test_a_sweep_is_named_as_its_results_can_be(name):
    with pytest.raises(UserError, match=r"must be a file of experiments/sweeps without \.yaml"):
        spec.load(name, BASE)


def test_a_row_may_have_some_of_the_seeds_alone(tmp_path):
    text = ONE.replace("seeds: [3]", "seeds: [3, 4, 5]")
    text = text.replace("beta: 10}", "beta: 10, seeds: [5, 3]}")
    rows = loaded(tmp_path, text).rows
    assert [row.name for row in rows] == ["hinge-b10-s3", "hinge-b10-s5"]
    assert "seeds" not in rows[0].params.model_dump()


def test_sweeps_share_no_experiment_name_and_rows_come_seed_by_seed():
    sweeps = [spec.load(file.stem, BASE) for file in spec.SPECS.glob("*.yaml")]
    names = [row.experiment for sweep in sweeps for row in sweep.rows]
    assert len(names) == len(set(names))
    for sweep in sweeps:
        seeds = [row.params.seed for row in sweep.rows]
        assert seeds == sorted(seeds)


def test_a_row_names_the_whole_comparison_and_its_name_tells_it():
    for file in spec.SPECS.glob("*.yaml"):
        for row in spec.load(file.stem, BASE).rows:
            assert set(spec.COMPARISON) <= row.params.model_dump().keys()
            alpha = f"{row.params.alpha:g}" if row.params.loss == "alpha" else ""
            told = f"{row.params.loss}{alpha}-b{row.params.beta:g}-s{row.params.seed}"
            assert row.name == told


def test_a_row_becomes_arguments_for_dvc(tmp_path):
    text = ONE.replace("lr: 1", "lr: 0.00001, studies.embedded.prepare.train_prompts: 24")
    (row,) = loaded(tmp_path, text).rows
    assert row.name == "hinge-b10-s3"
    assert spec.as_dvc_arguments(row)[::2] == ["-S"] * 7
    assert sorted(spec.as_dvc_arguments(row)[1::2]) == [
        "alpha=0.5",
        "beta=10.0",
        "loss=hinge",
        "lr=0.00001",
        "seed=3",
        "studies.embedded.prepare.train_prompts=24",
        "study=embedded",
    ]
    assert row.settings.active.prepare.train_prompts == 24


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.0"), (1e-05, "0.00001"), (1e17, "100000000000000000.0"), (3, "3"), (True, "true")],
)
def test_numbers_have_one_spelling(value, text):
    assert spec.spelled(value) == text


def test_a_rows_own_params_go_over_the_common_ones_and_lr_by_loss_under_both(tmp_path):
    text = """
study: embedded
seeds: [1]
params: {alpha: 0.5}
lr_by_loss: {hinge: 0.1, fkl: 0.2, default: 1e-5}
rows:
  - {name: a, loss: hinge, beta: 1}
  - {name: b, loss: fkl, beta: 1, lr: 0.3, alpha: 0.7}
  - {name: c, loss: jsd, beta: 1}
"""
    a, b, c = loaded(tmp_path, text).rows
    assert (a.params.lr, a.params.alpha) == (0.1, 0.5)
    assert (b.params.lr, b.params.alpha) == (0.3, 0.7)
    assert c.params.lr == 0.00001  # a number, as DVC reads it


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("beta: 10", "beta: -1", "row 'hinge-b10-s3': beta = -1: must be greater than 0"),
        ("beta: 10", "gamma: 1", "row 'hinge-b10-s3': beta is missing; every row must name it"),
        ("beta: 10", "beta: 1, bta: 1", "bta: no such key in params.yaml; correct its spelling"),
        ("loss: hinge", "loss: hinges", "loss = 'hinges': "),
        ("lr: 1", "lr: auto", "lr = 'auto': must be a number"),
        ("lr: 1", "lr: 1, studies.imdb: 1", "studies.imdb = 1: a whole section"),
        ("lr: 1", "lr: 1, seed: 1", "seed: belongs at the top of the file"),
        ("lr: 1", "lr: 1, studies.embedded.prepare.template: a b", "must be one word"),
        ("study: embedded", "study: embeded", "study = 'embeded': no such study; choose one of"),
        ("name: hinge-b10", "name: a b", "name = 'a b': must be letters, digits and . _ -"),
        ("name: hinge-b10, ", "", "name = None: must be letters"),
        ("seeds: [3]", "seeds: []", "seeds = []: "),
        ("seeds: [3]", "seeds: [3]\nseed: 3", "seed: unknown key"),
        ("seeds: [3]", "seeds: [-1]", "seed = -1: "),
        ("beta: 10", "beta: 10, seeds: [4]", "row 'hinge-b10': seeds = [4]: must be a list of"),
        ("beta: 10", "beta: 10, seeds: 3", "row 'hinge-b10': seeds = 3: must be a list of"),
        ("beta: 10", "beta: [10]", "row 'hinge-b10-s3': beta = [10]: must be a single value"),
        ("rows: [", "rows: {", "not YAML: "),
        ("beta: 10", "beta: 10, beta: 1", "key 'beta' occurs twice"),
        ("params:", "lr_by_loss: {hinges: 1}\nparams:", "lr_by_loss.hinges: no such loss; must be"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, old, new, says):
    assert old in ONE
    with pytest.raises(UserError) as error:
        loaded(tmp_path, ONE.replace(old, new))
    assert str(error.value).startswith(f"{tmp_path}/mine.yaml:")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_every_problem_of_the_file_has_a_line(tmp_path):
    with pytest.raises(UserError) as error:
        loaded(tmp_path, ONE.replace("seeds: [3]", "seed: 3"))
    path = tmp_path / "mine.yaml"
    assert error.value.lines == [
        f"{path}: seed: unknown key; remove it or correct its spelling",
        f"{path}: seeds: missing; add it",
    ]


def test_a_name_twice_and_a_missing_sweep_are_refused(tmp_path):
    row = "{name: hinge-b10, loss: hinge, beta: 10}"
    with pytest.raises(UserError, match="row 'hinge-b10-s3': two rows have this name"):
        loaded(tmp_path, ONE.replace(row, f"{row}, {row}"))
    with pytest.raises(UserError, match=r"other\.yaml: no such sweep; there are mine"):
        spec.load("other", BASE, tmp_path)
