"""A stage's script takes no arguments: it says what it does, or refuses them; nothing starts."""

import os

import pytest

from tests.support import stage_runs


@pytest.mark.parametrize("stage", stage_runs.STAGES)
def test_help_says_what_a_stage_does_and_an_argument_is_refused(tmp_path, stage):
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "params.yaml").touch()  # which any start would refuse
    helped = stage_runs.script(stage, folder, "--help")
    assert helped.code == 0, helped.stderr
    usage, _, about, *_ = helped.stderr.splitlines()
    assert usage == f"usage: stages.{stage} [-h]"
    assert len(about) > 20
    for argument in ("nothing", "--force", "café"):
        refused = stage_runs.script(stage, folder, argument)
        assert refused.code == 2
        line = refused.stderr.splitlines()[-1]
        assert line == f"stages.{stage}: error: unrecognized arguments: {argument}"
    assert os.listdir(folder) == ["params.yaml"]
