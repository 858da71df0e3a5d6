"""Records: written exactly, read strictly, and every bad line named."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.records import (
    Completion,
    Generation,
    Pair,
    Prompt,
    ScoredCompletion,
    ScoredGeneration,
)

KINDS = (Prompt, Generation, ScoredGeneration, Pair)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
IDS = st.lists(st.integers(0, 2**31), min_size=1, max_size=4)
LOGPS = st.floats(max_value=0, allow_infinity=False)
NUMBERS = st.integers(0, 2**62)
COMPLETIONS = st.builds(
    ScoredCompletion, text=TEXTS, ids=IDS, ref_logp=LOGPS, reward=FLOATS, judge=st.none() | FLOATS
)
SCORED = st.builds(
    ScoredGeneration,
    id=NUMBERS,
    prompt=TEXTS,
    prompt_ids=IDS,
    completions=st.lists(COMPLETIONS, min_size=1, max_size=3),
    given=st.none(),
    published=st.none(),
    baselines=st.none(),
)
PAIRS = st.builds(
    Pair,
    id=NUMBERS,
    **dict.fromkeys(("prompt_ids", "chosen_ids", "rejected_ids"), IDS),
    **dict.fromkeys(("ref_chosen_logp", "ref_rejected_logp"), LOGPS),
    **dict.fromkeys(("chosen_reward", "rejected_reward"), FLOATS),
    **dict.fromkeys(("chosen_rank", "rejected_rank"), st.integers(1, 9)),
)
SAME_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


@SAME_FOLDER
@given(st.lists(SCORED, min_size=1, max_size=4) | st.lists(PAIRS, min_size=1, max_size=4))
def test_what_is_written_is_read_to_the_bit(tmp_path, written):
    path = tmp_path / "records.jsonl"
    assert records.write(path, written) == len(written)
    read = list(records.read(path, type(written[0])))
    assert list(map(repr, read)) == list(map(repr, written))  # which tells -0.0 from 0.0
    assert path.read_bytes() == "".join(map(records.dump, read)).encode()


def test_a_line_by_hand():
    completion = Completion(text=' “a”\n\x00 "b"', ids=[3, 0], finished=True, ref_logp=-0.1 - 0.2)
    generation = Generation(
        id=7, prompt="Movie", role="heldout", prompt_ids=[1, 2], completions=[completion]
    )
    assert records.dump(generation) == (
        '{"id":7,"prompt":"Movie","role":"heldout","prompt_ids":[1,2],"completions":'
        '[{"text":" “a”\\n\\u0000 \\"b\\"","ids":[3,0],"finished":true,'
        '"ref_logp":-0.30000000000000004}]}\n'
    )


PAIR = {
    **{"id": 1, "prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4, 5]},
    **{"ref_chosen_logp": -1.5, "ref_rejected_logp": -2.25},
    **{"chosen_reward": 1.0, "rejected_reward": -1e-07, "chosen_rank": 1, "rejected_rank": 4},
}


def test_keys_stand_in_the_order_of_the_design():
    line = records.dump(Pair(**dict(reversed(PAIR.items()))))
    assert list(json.loads(line)) == list(PAIR)
    scored = ScoredCompletion(
        judge=0.5, reward=1.0, ref_logp=-1.0, finished=True, ids=[1], text="a"
    )
    keys = ["text", "ids", "finished", "ref_logp", "reward", "judge"]
    assert list(json.loads(records.dump(scored))) == keys
    unjudged = scored.model_copy(update={"judge": None})
    assert list(json.loads(records.dump(unjudged))) == keys[:-1]
    prompt = Prompt(role="train", prompt="a", id=0)
    assert records.dump(prompt) == '{"id":0,"prompt":"a","role":"train"}\n'


GOOD = json.dumps(PAIR)


def changed(key: str, value: str) -> str:
    """The good line with the JSON text of one value replaced."""
    return json.dumps(PAIR | {key: "VALUE"}).replace('"VALUE"', value)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("", ""),
        (GOOD[:-1], ""),
        (GOOD + GOOD, ""),
        ("null", ""),
        (changed("id", '"1"'), "id = '1'"),
        (changed("id", "1.0"), "id = 1.0"),
        (changed("chosen_ids", "[]"), "chosen_ids = []"),
        (changed("chosen_ids", "[1, -2]"), "chosen_ids.1 = -2"),
        (changed("ref_chosen_logp", "NaN"), "ref_chosen_logp = nan"),
        (changed("ref_chosen_logp", "-1e999"), "ref_chosen_logp = -inf"),
        (changed("ref_chosen_logp", "0.5"), "ref_chosen_logp = 0.5"),
        (changed("chosen_rank", "0"), "chosen_rank = 0"),
        (changed("more", "1"), "more"),
        (GOOD.replace('"id": 1, ', ""), "id"),
    ],
)
@pytest.mark.parametrize("number", [1, 3])
def test_a_bad_line_is_named_with_its_field(tmp_path, line, field, number):
    path = tmp_path / "pairs.jsonl"
    lines = [GOOD] * 3
    lines[number - 1] = line
    path.write_text("".join(f"{text}\n" for text in lines))
    reading = records.read(path, Pair)
    assert [next(reading).id for _ in range(number - 1)] == [1] * (number - 1)
    with pytest.raises(UserError) as caught:
        next(reading)
    assert str(caught.value).startswith(f"{path}:{number}: {field}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        *((f"{GOOD}\n{GOOD[:kept]}", ":2: cut short") for kept in (1, len(GOOD) // 2, len(GOOD))),
        ("", ": empty"),
        (None, ": missing"),
    ],
)
def test_a_file_that_is_not_whole_is_named(tmp_path, content, problem):
    path = tmp_path / "pairs.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=rf"pairs.jsonl{problem}; run `dvc repro` to rebuild"):
        list(records.read(path, Pair))


def test_a_second_record_of_a_prompt_is_named_with_the_first(tmp_path):
    path = tmp_path / "prompts.jsonl"
    records.write(path, [Prompt(id=i, prompt="a", role="train") for i in (4, 5, 4)])
    assert len(list(records.read(path, Prompt))) == 3
    with pytest.raises(UserError, match=r"prompts.jsonl:3: id = 4 stands in line 1 already"):
        list(records.read_prompt_unique(path, Prompt))
