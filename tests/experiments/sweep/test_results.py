"""What is wrong with a results file is said in one line."""

import json

import pytest
from experiments.report.analysis.points import points

from experiments.sweep.results import (
    HeldoutScores,
    ReferenceResults,
    SweepResults,
    read_results,
    read_sweeps,
    write_results,
)
from fdpo.core.errors import UserError
from tests.support import report_fakes


def test_all_sweeps_are_read_and_named_ones_alone(tmp_path):
    report_fakes.write(tmp_path, report_fakes.controlled(1), report_fakes.seed_table())
    assert [sweep.sweep for sweep in read_sweeps([], tmp_path)] == ["controlled", "seed-table"]
    (one,) = read_sweeps(["seed-table"], tmp_path)
    assert len(one.rows) == 18


def test_a_missing_sweep_names_those_there_are(tmp_path):
    with pytest.raises(UserError, match="no results; run `make sweep"):
        read_sweeps([], tmp_path)
    report_fakes.write(tmp_path, report_fakes.controlled(1))
    with pytest.raises(UserError, match=r"^contrlled: no results in .*; choose from controlled$"):
        read_sweeps(["contrlled"], tmp_path)


def broken(change) -> str:
    sweep = report_fakes.sweep("odd", {"sigmoid-b1-s1": report_fakes.row("sigmoid", 1, 1)})
    change(sweep)
    return json.dumps(sweep)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        (broken(lambda s: s.update(rows={})), "rows"),
        (broken(lambda s: s.pop("study")), "study: missing"),
        (broken(lambda s: s.update(sweep="../up")), "sweep = '../up'"),
        (broken(lambda s: s["rows"]["sigmoid-b1-s1"]["metrics"].pop("kl")), "metrics without kl"),
        (
            broken(lambda s: s["rows"]["sigmoid-b1-s1"]["metrics"]["kl"].update(value="5")),
            "metrics.kl.value = '5'",
        ),
        (
            broken(lambda s: s["rows"]["sigmoid-b1-s1"]["params"].pop("seed")),
            "params.seed: missing",
        ),
        (
            broken(lambda s: s["rows"]["sigmoid-b1-s1"]["params"].update(loss="\x1b[2J")),
            r"params.loss = '\x1b[2J': must match",
        ),
        (broken(lambda s: s["rows"].update({"a\nb": s["rows"].popitem()[1]})), "must match"),
        (broken(lambda s: None).replace('"beta"', '"beta": 9, "beta"', 1), "'beta' occurs twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, text, said):
    (tmp_path / "odd.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as failure:
        read_sweeps([], tmp_path)
    message = str(failure.value)
    assert message.startswith(f"{tmp_path / 'odd.json'}: ")
    assert said.lower() in message.lower()
    assert "\n" not in message


def test_two_rows_of_the_same_params_are_refused(tmp_path):
    rows = {name: report_fakes.row("sigmoid", 1, 1) for name in ("a", "b")}
    report_fakes.write(tmp_path, report_fakes.sweep("twice", rows))
    with pytest.raises(UserError, match="twice: b has the params of another row"):
        points(read_sweeps([], tmp_path)[0])


def measured() -> SweepResults:
    """A sweep of two rows, one of them with its samples' scores."""
    whole = report_fakes.results(
        "measured", {f"sigmoid-b1-s{seed}": report_fakes.row("sigmoid", 1, seed) for seed in (1, 2)}
    )
    values = [[0.5, 0.25], [1.0, -0.125]]
    heldout = HeldoutScores(reward=values, judge=values, kl=values, entropy=values)
    reference = ReferenceResults(prompts=[3, 4], reward=values, judge=values, baselines=[])
    row = whole.rows["sigmoid-b1-s1"].model_copy(
        update={"heldout": heldout, "reference": reference.digest}
    )
    return whole.model_copy(
        update={
            "references": {reference.digest: reference},
            "rows": whole.rows | {"sigmoid-b1-s1": row},
        }
    )


def test_what_is_written_is_read_again_a_line_for_each_row(tmp_path):
    path = tmp_path / "measured.json"
    write_results(path, measured())
    assert read_results(path) == measured()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.split(":", 1)[0] for line in lines if line.startswith('"sigmoid')] == [
        '"sigmoid-b1-s1"',
        '"sigmoid-b1-s2"',
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["references"].clear(), "not in references"),
        (
            lambda s: s["rows"]["sigmoid-b1-s1"]["heldout"]["judge"].pop(),
            "rows.sigmoid-b1-s1.heldout: not one entry for each prompt",
        ),
    ],
)
def test_samples_that_fit_no_reference_are_refused(tmp_path, change, said):
    content = measured().model_dump()
    change(content)
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_results(path)
