"""A row's file: what is written is read again, and what is wrong with it is said in one line."""

import json
import shutil
from pathlib import Path

import pytest

from experiments.sweep.results import (
    SWEEP_RESULTS,
    ReferenceResults,
    files_of,
    load_rows,
    read_row,
    sweeps_with_results,
    write_row,
)
from fdpo.core.errors import UserError

COMMITTED = Path(__file__).parents[3] / SWEEP_RESULTS
ROW = "sigmoid-b0.1-s1"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Results of one row."""
    for path in files_of(COMMITTED / "controlled" / f"{ROW}.json"):
        copy = tmp_path / path.relative_to(COMMITTED)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


@pytest.mark.parametrize("sweep", sweeps_with_results(COMMITTED))
def test_committed_results_are_whole(sweep):
    results = load_rows(sweep, COMMITTED)
    for row in results.rows.values():
        if row.heldout is not None:
            reference = results.references[row.reference]
            assert len(row.heldout["reward"]) == len(reference.prompts) == len(reference.reward)
    assert set(results.reference_by_seed) == {row.params.seed for row in results.rows.values()}


def test_what_is_written_is_read_again_and_named_by_its_content(folder, tmp_path):
    row = read_row(folder / "controlled" / f"{ROW}.json")
    reference = load_rows("controlled", folder).references[row.reference]
    path = tmp_path / "again/other.json"
    write_row(path, row, reference)
    assert read_row(path) == row
    assert files_of(path) == [path.parent / f"references/{reference.digest}.json", path]
    changed = reference.model_copy(update={"prompts": [*reference.prompts[1:], 9]})
    assert ReferenceResults.digest.fget(changed) != reference.digest


@pytest.mark.parametrize(
    ("key", "value"),
    [("study", None), ("metrics", {"kl": {"value": "5", "low": 0, "high": 1}}), ("params", {})],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(folder, key, value):
    path = folder / "controlled" / f"{ROW}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(UserError, match=f"{ROW}.json: {key}"):
        load_rows("controlled", folder)


def test_rows_that_cannot_be_compared_are_refused(folder):
    path = folder / "controlled" / f"{ROW}.json"
    content = json.loads(path.read_text()) | {"study": "imdb"}
    path.with_stem("other").write_text(json.dumps(content))
    with pytest.raises(UserError, match="imdb"):
        load_rows("controlled", folder)
    with pytest.raises(UserError, match="which has controlled"):
        load_rows("contrlled", folder)
