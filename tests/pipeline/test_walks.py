"""The walks of docs/own-study.md, typed as they stand there, without a network.

In place of `dvc exp run` the stages run one after another, which takes a fraction of the time.
"""

import json
import re

import pytest

from tests.support import clone as cloning
from tests.support import stage_runs
from tests.support.clone import Clone
from tests.support.settings import ROOT

pytestmark = pytest.mark.slow

# In the shell, where the Hub's stand-in may be named; the other stages need no network.
FIRST_STAGES = """\
sed -i 's/^study: .*/study: {study}/' params.yaml
python -m stages.check
python -m stages.prepare
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    return cloning.working_copy(tmp_path_factory.mktemp("walks"))


@pytest.mark.parametrize(
    "number",
    [1, pytest.param(2, marks=pytest.mark.nightly), pytest.param(3, marks=pytest.mark.nightly)],
)
def test_a_walk_trains_a_policy_and_measures_it(clone, number):
    page = (ROOT / "docs/own-study.md").read_text(encoding="utf-8")
    section = re.search(rf"^### Walk {number}:.*?(?=^##)", page, re.DOTALL | re.MULTILINE)
    (typed,) = re.findall(r"^```sh\n(.*?)^```", section.group(), re.DOTALL | re.MULTILINE)
    (study,) = re.findall(r"^dvc exp run -S study=([\w-]+)\n", typed, re.MULTILINE)
    script = typed.replace(f"dvc exp run -S study={study}\n", FIRST_STAGES.format(study=study))
    reached = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    end_what_it_started = "trap 'set +u; kill $! 2> /dev/null || true' EXIT\n"
    done = clone.run("bash", "-euc", end_what_it_started + script, **reached)
    assert done.returncode == 0, done.stdout + done.stderr
    stage_runs.run_all(stage_runs.STAGES[2:], clone.folder, **clone.environment)
    metrics = json.loads(clone.bytes("results/evaluate/metrics.json"))
    assert metrics["kl"]["value"] != 0
    assert metrics["reward"]["value"] != metrics["reward_reference"]["value"]
    assert ("judge" in metrics) == (number == 3)
