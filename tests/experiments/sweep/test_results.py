"""What is wrong with a results file is said in one line."""

import json

import pytest

from experiments.report.analysis.points import points
from experiments.sweep.results import read_sweeps
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
