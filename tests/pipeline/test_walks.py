"""The walks of docs/own-study.md, typed as they stand there, without a network.

In place of `dvc exp run` the stages run one after another, which takes a fraction of the time.
"""

import json
import re
import runpy

import numpy as np
import pytest

from fdpo.core import records
from fdpo.core.records import Prompt, ScoredGeneration
from tests.support import clone as cloning
from tests.support import stage_runs
from tests.support.clone import Clone
from tests.support.settings import ROOT

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs/own-study.md"
# In the shell, where the Hub's stand-in may be named; the other stages need no network.
FIRST_STAGES = """\
sed -i 's/^study: .*/study: {study}/' params.yaml
python -m stages.check
python -m stages.prepare
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    return cloning.working_copy(tmp_path_factory.mktemp("walks"))


def walk(clone: Clone, number: int) -> dict[str, dict]:
    """The metrics of a walk, after its lines have been typed and all stages have run."""
    section = re.search(
        rf"^### Walk {number}:.*?(?=^##)", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    (typed,) = re.findall(r"^```sh\n(.*?)^```", section.group(), re.DOTALL | re.MULTILINE)
    (study,) = re.findall(r"^dvc exp run -S study=([\w-]+)\n", typed, re.MULTILINE)
    script = typed.replace(f"dvc exp run -S study={study}\n", FIRST_STAGES.format(study=study))
    reached = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    end_what_it_started = "trap 'set +u; kill $! 2> /dev/null || true' EXIT\n"
    done = clone.run("bash", "-euc", end_what_it_started + script, **reached)
    assert done.returncode == 0, done.stdout + done.stderr
    stage_runs.run_all(stage_runs.STAGES[2:], clone.folder, **clone.environment)
    metrics = json.loads(clone.bytes("results/evaluate/metrics.json"))
    assert metrics["kl"]["value"] != 0  # something was trained
    return metrics


def test_own_prompts_and_a_python_reward(clone):
    metrics = walk(clone, 1)
    assert not [name for name in metrics if name.startswith("judge")]
    reward = runpy.run_path(str(clone.folder / "user_data/length.py"))["reward"]
    generations = list(records.read(clone.folder / "data/scores.jsonl", ScoredGeneration))
    given = [c.reward for generation in generations for c in generation.completions]
    texts = [c.text for generation in generations for c in generation.completions]
    assert given == reward([""] * len(texts), texts)
    assert len(set(given)) > 1
    heldout = [c.reward for g in generations if g.role == "heldout" for c in g.completions]
    assert metrics["reward_reference"]["value"] == pytest.approx(np.mean(heldout))
    questions = (clone.folder / "user_data/prompts.csv").read_text()
    for prompt in records.read(clone.folder / "data/prompts.jsonl", Prompt):
        asked = re.fullmatch(
            r"<\|im_start\|>user\n(.*)<\|im_end\|>\n<\|im_start\|>assistant\n", prompt.prompt
        )
        assert f",{asked.group(1)}\n" in questions


@pytest.mark.nightly
@pytest.mark.parametrize("number", [2, 3])
def test_own_pairs_and_what_is_on_the_hub(clone, number):
    walk(clone, number)
