"""The walks of docs/own-study.md, typed as they stand there, without a network.

In place of `dvc exp run` the stages run one after another, which takes a fraction of the time.
"""

import json
import math
import re
import runpy

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fdpo.core import records
from fdpo.core.records import Pair, Prompt, ScoredGeneration
from tests.support import clone as cloning
from tests.support import stage_runs
from tests.support.clone import Clone

pytestmark = pytest.mark.slow

PAGE = cloning.ROOT / "docs/own-study.md"
# make runs what is in .venv, which a fresh clone has only after an installation of minutes.
PYTHON = f"""#!/bin/sh
exec "{cloning.PYTHON_FOLDER}/python" "$@"
"""
# In the shell, where the Hub's stand-in may be named; the other stages need no network.
FIRST_STAGES = """\
sed -i 's/^study: .*/study: {study}/' params.yaml
python -m stages.check
python -m stages.prepare
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """The project's files as they stand, and a .venv for make."""
    made = cloning.working_copy(tmp_path_factory.mktemp("walks"))
    python = made.folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    (made.folder / ".venv/installed").touch()
    return made


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
    assert {"reward", "kl", "accuracy"} <= metrics.keys()
    assert metrics["kl"]["value"] != 0  # something was trained
    return metrics


def rows(clone: Clone, name: str, kind: type) -> list:
    return list(records.read(clone.folder / "data" / name, kind))


def test_own_prompts_and_a_python_reward(clone):
    metrics = walk(clone, 1)
    assert not [name for name in metrics if name.startswith("judge")]
    reward = runpy.run_path(str(clone.folder / "user_data/length.py"))["reward"]
    generations = rows(clone, "scores.jsonl", ScoredGeneration)
    given = [c.reward for generation in generations for c in generation.completions]
    texts = [c.text for generation in generations for c in generation.completions]
    assert given == reward([""] * len(texts), texts)
    assert len(set(given)) > 1
    heldout = [c.reward for g in generations if g.role == "heldout" for c in g.completions]
    assert metrics["reward_reference"]["value"] == pytest.approx(np.mean(heldout))
    questions = (clone.folder / "user_data/prompts.csv").read_text()
    for prompt in rows(clone, "prompts.jsonl", Prompt):
        asked = re.fullmatch(
            r"<\|im_start\|>user\n(.*)<\|im_end\|>\n<\|im_start\|>assistant\n", prompt.prompt
        )
        assert f",{asked.group(1)}\n" in questions


def test_own_pairs_of_messages(clone):
    walk(clone, 2)
    lines = (clone.folder / "user_data/pairs.jsonl").read_text().splitlines()
    prompts = rows(clone, "prompts.jsonl", Prompt)
    tokenizer = AutoTokenizer.from_pretrained(clone.folder / "models/reference")
    rendered = {
        tokenizer.apply_chat_template(
            json.loads(line)["prompt"], tokenize=False, add_generation_prompt=True
        )
        for line in lines
    }
    assert {prompt.prompt for prompt in prompts} == rendered
    assert sum(prompt.role == "heldout" for prompt in prompts) == 6
    train, test = rows(clone, "train.jsonl", Pair), rows(clone, "test.jsonl", Pair)
    assert {pair.id for pair in train} | {pair.id for pair in test} == {
        prompt.id for prompt in prompts if prompt.role != "heldout"
    }
    assert len({pair.id for pair in test}) == math.ceil(0.25 * (len(prompts) - 6))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for pair in train + test:
        assert pair.chosen_ids[-1] == pair.rejected_ids[-1] == end


@pytest.mark.nightly
def test_models_and_prompts_of_the_hub(clone):
    metrics = walk(clone, 3)
    assert metrics["judge"] != metrics["reward"]
    folder = clone.folder / "models/reward"
    assert json.loads((folder / "source.json").read_text())["repo"] == "you/reward-model"
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = re.compile(r"user\n(.*)<\|im_end\|>")
    for generation in rows(clone, "scores.jsonl", ScoredGeneration)[:5]:
        question = asked.search(generation.prompt).group(1)
        for completion in generation.completions:
            chat = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": completion.text},
            ]
            inputs = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
            with torch.inference_mode():
                expected = model(**inputs).logits[0, 0].item()
            assert completion.reward == pytest.approx(expected, abs=1e-4)
