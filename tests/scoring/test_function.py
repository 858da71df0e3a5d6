"""fdpo.scoring.function: a user's own function as scorer, and what is said where it goes wrong."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fdpo.config.sources import PythonFunction
from fdpo.core.errors import UserError
from fdpo.core.records import ChatMessage, Generation
from fdpo.scoring import function
from fdpo.scoring.loading import load_scorer
from fdpo.scoring.scorer import PromptedText, scores_of

LENGTHS = """\
# A comment, so that the function begins in line 3.

def reward(prompts, completions):
    return [len(c.split()) - len(p) for p, c in zip(prompts, completions)]
"""
ITEMS = [PromptedText("ab" * (n % 3), " word" * n) for n in range(40)]


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` has it
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "inputs"]:
        del sys.modules[name]


def written(root: Path, source: str, name: str = "reward") -> Path:
    file = root / "inputs/length.py"
    file.write_text(source, encoding="utf-8")
    function.write(root / "models/reward", PythonFunction(python=f"inputs.length:{name}"))
    return root / "models/reward"


def test_prompts_and_completions_reach_the_function_and_its_numbers_come_back(root):
    scores = scores_of(load_scorer(written(root, LENGTHS)), ITEMS)

    assert scores.dtype == np.float64
    assert scores.tolist() == [n - 2 * (n % 3) for n in range(40)]


def test_it_runs_from_anywhere_as_it_was_recorded(root, tmp_path, monkeypatch):
    folder = written(root, LENGTHS)
    (root / "inputs/length.py").write_text("changed = 1")
    monkeypatch.chdir(folder.parent)

    assert scores_of(load_scorer("reward"), ITEMS[:2]).tolist() == [0.0, -1.0]


@pytest.mark.parametrize(
    "values", ["np.float32([1, 2])", "(n for n in (1, 2))", "(True, 2)", "[np.int64(1), 2.0]"]
)
def test_numbers_may_come_in_any_sequence(root, values):
    source = f"import numpy as np\ndef reward(prompts, completions):\n    return {values}\n"

    assert scores_of(load_scorer(written(root, source)), ITEMS[:2]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("use", ["[c.pop() for _ in range(len(c))][::-1]", "c.sort()", "p.clear()"])
def test_a_function_may_use_up_its_lists(root, use):
    body = f"texts = list(c)\n    {use}\n    return [len(text) for text in texts]"
    scorer = load_scorer(written(root, f"def reward(p, c):\n    {body}\n"))

    assert scores_of(scorer, ITEMS).tolist() == [5.0 * n for n in range(40)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0", "inputs/length.py:3: reward raised ZeroDivisionError: division by zero; correct"),
        ("raise SystemExit(0)", "inputs/length.py:3: reward raised SystemExit: 0; correct it"),
        ("int('x')", "inputs/length.py:3: reward raised ValueError: invalid literal for int() "),
        ("return [1.0]", "inputs/length.py:2: reward returned [1.0] for 16 completions; return"),
        ("return None", "inputs/length.py:2: reward raised TypeError: 'NoneType' object is not"),
        ("return [float('nan')] * len(prompts)", "the completion '' scores nan: must be a finite"),
        ("return [float('inf')] * len(prompts)", "the completion '' scores inf: must be a finite"),
        ("return ['1'] * 16", "reward returned ['1', '1', '1'"),
        ("return [10**400] * 16", "reward raised OverflowError: int too large"),
        ("return [1.7e308] * len(prompts)", "scores 1.7e+308: must be a finite number of at most"),
        ("return [-1.7e308] * len(prompts)", "scores -1.7e+308: must be a finite number of at"),
        ("return {n: 1.0 for n in range(16)}", "reward returned a dict for 16 completions; return"),
        (
            "return Counter(range(16))",
            "reward returned a Counter for 16 completions; return a",
        ),
        ("return set(range(16))", "reward returned a set for 16 completions; return a list"),
        ("return bytes(16)", "reward returned a bytes for 16 completions; return a list"),
        ("return np.zeros((16, 1))", "reward returned a ndarray for 16 completions; return a list"),
    ],
)
def test_what_a_function_does_wrong_is_one_line_with_its_place(root, body, message):
    imports = "import numpy as np; from collections import Counter"
    source = f"{imports}\ndef reward(prompts, completions):\n    {body}\n"
    scorer = load_scorer(written(root, source))

    with pytest.raises(UserError) as raised:
        scores_of(scorer, ITEMS)

    assert message in str(raised.value)
    assert len(raised.value.lines) == 1
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("def reward(:", "reward", "inputs/length.py:1: "),
        ("\nimport nowhere_at_all", "reward", "inputs/length.py:2: the module raised Module"),
        ("reward = 3", "reward", "inputs/length.py: has no function reward; correct the name"),
        (LENGTHS, "length", "inputs/length.py: has no function length; correct the name"),
        ("def reward(texts): pass", "reward", "inputs/length.py:1: reward raised TypeError: "),
    ],
)
def test_a_file_that_gives_no_such_function_is_refused(root, source, name, message):
    with pytest.raises(UserError) as raised:
        scores_of(load_scorer(written(root, source, name)), ITEMS)

    assert message in str(raised.value)


def test_a_second_file_of_the_users_is_refused_as_its_changes_would_go_unseen(root):
    (root / "inputs/words.py").write_text("count = len", encoding="utf-8")

    with pytest.raises(UserError, match=r"inputs/length\.py: imports inputs/words\.py, whose"):
        written(root, f"from inputs.words import count\n{LENGTHS}")


def generation(*turns: tuple[str, str]) -> Generation:
    return Generation(
        id=0,
        prompt="<user>Hi<assistant>",
        role="train",
        prompt_ids=[1],
        completions=[{"text": " x", "ids": [2], "finished": True, "ref_logp": -1.0}],
        messages=[ChatMessage(role=role, content=content) for role, content in turns] or None,
    )


def test_of_a_chat_scorers_read_what_was_said_and_no_markup():
    plain = PromptedText.of(generation(), " there")
    one = PromptedText.of(generation(("user", "Hi")), "there")
    more = PromptedText.of(generation(("user", "Hi"), ("assistant", "Yes?"), ("user", "So")), "A")

    assert (plain.prompt, plain.text) == ("<user>Hi<assistant>", "<user>Hi<assistant> there")
    assert (one.prompt, one.text) == ("Hi", "Hi\n\nthere")
    assert more.prompt == "user: Hi\n\nassistant: Yes?\n\nuser: So"
