"""Completions from elsewhere: what is read of every shape, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from fdpo.config.sources import Completions
from fdpo.core.errors import UserError
from fdpo.core.records import GivenCompletion
from fdpo.sources.completions import FEW, read_completions
from tests.support.data_shapes import assistant, user, write

YES, NO = GivenCompletion(text="Yes", score=5.0), GivenCompletion(text="No", score=1.0)
CHAT = (("user", "Is it?"),)
LONG = [
    {"prompt": "Is it?", "answer": "Yes", "stars": 5},
    {"prompt": "So?", "answer": "Yes", "stars": 5},
    {"prompt": "Is it?", "answer": "No", "stars": 1},
    {"prompt": "So?", "answer": "No", "stars": 1},
]
LIST = [{"prompt": p, "answer": ["Yes", "No"], "stars": [5, 1]} for p in ("Is it?", "So?")]
# As openbmb/UltraFeedback has them.
NESTED = {"completions": [{"response": "Yes", "score": 5}, {"response": "No", "score": 1}]}


def read(path: Path, rows: list[dict], bad_rows: str = "refuse", **columns: str):
    section = {**write(path, rows), "columns": columns, "bad_rows": bad_rows}
    completions, skipped, _ = read_completions(Completions.model_validate(section))
    return completions, skipped


@pytest.mark.parametrize(
    ("rows", "suffix"),
    [(LONG, suffix) for suffix in ("csv", "csv.gz", "jsonl", "json", "parquet")]
    + [(LIST, suffix) for suffix in ("jsonl", "json", "parquet")],  # CSV holds no lists
)
def test_a_row_has_a_completion_or_all_of_a_prompt(rows, suffix, tmp_path):
    read_rows = read(tmp_path / f"c.{suffix}", rows, completion="answer", score="stars")
    assert read_rows == ({"Is it?": [YES, NO], "So?": [YES, NO]}, {})


@pytest.mark.parametrize(
    ("rows", "columns", "prompt", "completions"),
    [
        (
            [{"prompt": [user("Is it?")], "completion": ["Yes", "No"], "s": [5, 1]}],
            {"score": "s"},
            CHAT,
            [YES, NO],
        ),
        (
            [
                {"prompt": [user("Is it?")], "completion": [assistant(t)], "s": s}
                for t, s in (("Yes", 5), ("No", 1))
            ],
            {"score": "s"},
            CHAT,
            [YES, NO],
        ),
        (
            [{"instruction": "Is it?", **NESTED}],
            {
                "prompt": "instruction",
                "completion": "completions.response",
                "score": "completions.score",
            },
            "Is it?",
            [YES, NO],
        ),
        (
            [{"prompt": "Is it?", "completion": [[5, 6], [7]], "lp": [[-0.5, -1], [-2]]}],
            {"logprobs": "lp"},
            "Is it?",
            [
                GivenCompletion(ids=[5, 6], logps=[-0.5, -1.0]),
                GivenCompletion(ids=[7], logps=[-2.0]),
            ],
        ),
        (
            [{"prompt": "Is it?", "completion": ids, "lp": -1.5} for ids in ([5, 6], [7])],
            {"logprobs": "lp"},
            "Is it?",
            [GivenCompletion(ids=[5, 6], logp=-1.5), GivenCompletion(ids=[7], logp=-1.5)],
        ),
    ],
    ids=["chat", "messages", "nested", "ids", "sums"],
)
def test_a_prompt_may_be_a_chat_and_a_completion_token_ids(
    rows, columns, prompt, completions, tmp_path
):
    assert read(tmp_path / "c.jsonl", rows, **columns) == ({prompt: completions}, {})


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"completion": "Yes", "s": ""}, "s = '': must be a finite number"),
        ({"completion": "Yes", "s": "nan"}, "s = 'nan': must be a finite number"),
        ({"completion": "Yes", "s": True}, "s = True: must be a finite number"),
        ({"completion": "", "s": 1}, "completion = '': must be text, and not empty"),
        ({"completion": None, "s": 1}, "completion = None: must be text"),
        ({"completion": [user("Yes")], "s": 1}, "completion must be one answer of the assis"),
        ({"completion": ["a", "b"], "s": [1]}, r"s = \[1\]: must be a list of 2, as of compl"),
        ({"completion": [[-1], [2]], "s": [1, 2]}, r"ids.0 = -1: Input should be greater"),
        ({"prompt": 3, "completion": "a", "s": 1}, "prompt = 3: must be text"),
    ],
)
def test_a_row_without_completions_is_named_or_left_out(row: dict[str, Any], problem, tmp_path):
    rows = [{"prompt": "Is it?", "completion": ["Yes", "No"], "s": [5, 1]}, {"prompt": "a"} | row]
    with pytest.raises(UserError, match=f"split train, row 2: {problem}.*; correct it, or set"):
        read(tmp_path / "c.jsonl", rows, score="s")
    completions, skipped = read(tmp_path / "c.jsonl", rows, "skip", score="s")
    assert (completions, skipped.total()) == ({"Is it?": [YES, NO]}, 1)


def test_a_prompt_with_one_completion_is_left_out(tmp_path):
    rows = [*LIST[:1], {"prompt": "So?", "answer": "Yes", "stars": 5}]
    completions, skipped = read(tmp_path / "c.jsonl", rows, completion="answer", score="stars")
    assert (list(completions), skipped) == (["Is it?"], {FEW: 1})
