"""Given pairs from local files and from the stand-in, in the formats that people publish."""

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from fdpo.config.sources import GivenSource, Pairs, PairsSource, Prompts
from fdpo.core.errors import UserError
from fdpo.core.records import Prompt
from fdpo.sources import given, pair_formats
from fdpo.sources.given_pairs import read_pairs
from fdpo.sources.prompts import read_texts
from stages import split as split_stage
from tests.support import hub_repos
from tests.support.data_shapes import (
    ANSWERS,
    CHAT,
    ON_THE_HUB,
    SHAPES,
    TEXT,
    assistant,
    build_repo,
    section,
    user,
    write,
)
from tests.support.hub_standin import run_client, serving

GOOD = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}


def pairs_in(path: Path, *rows: Any, **settings: Any):
    """The pairs of a file with these rows, and how many of which were skipped."""
    pairs, skipped, _ = read_pairs(Pairs.model_validate(write(path, list(rows)) | settings))
    return pairs, skipped


READ_ALL = """
    import json
    from dataclasses import astuple
    from fdpo.config.sources import Pairs, Prompts
    from fdpo.core.errors import UserError
    from fdpo.sources.given_pairs import read_pairs
    from fdpo.sources.prompts import read_texts

    for section in {sections!r}:
        try:
            pairs, skipped, _ = read_pairs(Pairs(**section))
            splits = {{split: list(map(astuple, given)) for split, given in pairs.items()}}
            print(json.dumps([splits, skipped.total()]))
        except UserError as error:
            print(json.dumps(str(error)))
    heldout = Prompts(repo="therem/dpo_dataset_eval", revision="main")
    print(json.dumps(read_texts(heldout)[0]))
"""


@pytest.fixture(scope="module")
def on_the_hub(tmp_path_factory) -> dict[str, Any]:
    """What is read of each dataset: its splits' pairs and the number of rows skipped, or why."""
    folder = tmp_path_factory.mktemp("hub")
    sections = {}
    for number, name in enumerate(ON_THE_HUB):
        build_repo(folder / f"datasets/shapes/n{number}", name)
        sections[name] = {"repo": f"shapes/n{number}", **section(SHAPES[name][1])}
    hub_repos.pairs(folder / "datasets/therem/dpo_dataset")
    hub_repos.prompts(folder / "datasets/therem/dpo_dataset_eval")
    unreadable = folder / "datasets/me/unreadable/data/train.parquet"
    unreadable.parent.mkdir(parents=True)
    unreadable.write_text("not a Parquet file")
    for repo in ("therem/dpo_dataset", "therem/dpo_dataset_eval", "me/unreadable"):
        sections[repo] = {"repo": repo}
    pinned = [{**of_name, "revision": "main"} for of_name in sections.values()]
    with serving(folder) as hub:
        client = run_client(hub, folder / "home", READ_ALL.format(sections=pinned))
    assert client.returncode == 0, client.stderr
    read = dict(
        zip([*sections, "prompts"], map(json.loads, client.stdout.splitlines()), strict=True)
    )
    return read | {"files": folder / "datasets/therem/dpo_dataset/data"}


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_shape_on_the_hub_is_read_by_its_section_alone(on_the_hub, name):
    _, _, expected, read, skipped = SHAPES[name]
    pairs, left_out = on_the_hub[name]
    assert pairs["train"][0] == as_json(astuple(expected))
    assert (len(pairs["train"]), left_out) == (read, skipped)


def test_a_dataset_of_the_hub_keeps_its_splits_and_order(on_the_hub):
    splits, _ = on_the_hub["therem/dpo_dataset"]
    assert set(splits) == {"train", "test"}
    for split, rows in splits.items():
        table = pyarrow.parquet.read_table(on_the_hub["files"] / f"{split}-00000-of-00001.parquet")
        assert rows == [[r["prompt"], r["chosen"], r["rejected"]] for r in table.to_pylist()]
    assert len(on_the_hub["prompts"]) == 12
    no_column = "dataset therem/dpo_dataset_eval at revision main, split train: no column 'chosen'"
    assert on_the_hub["therem/dpo_dataset_eval"].startswith(no_column)
    unreadable = "dataset me/unreadable at revision main: can't be read ("
    assert on_the_hub["me/unreadable"].startswith(unreadable)


SUFFIXES = ["jsonl", "json", "jsonl.gz", "json.gz", "csv", "csv.gz", "parquet"]


def has_lists(name: str) -> bool:
    return any(isinstance(v, list | dict) for row in SHAPES[name][0] for v in row.values())


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (name, suffix)
        for name in SHAPES
        for suffix in SUFFIXES
        if not ("csv" in suffix and has_lists(name))  # CSV holds no lists
    ],
)
def test_a_shape_in_a_local_file_is_read_by_its_section_alone(name, suffix, tmp_path):
    rows, text, expected, read, skipped = SHAPES[name]
    settings = section(text)
    for key in ("config", "splits"):  # of the Hub's repositories alone
        settings.pop(key, None)
    pairs, left_out = pairs_in(tmp_path / f"pairs.{suffix}", *rows, **settings)
    assert pairs["train"][0] == expected
    assert (len(pairs["train"]), left_out.total()) == (read, skipped)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"chosen": 3}, "chosen = 3: must be text"),
        ({"chosen": ""}, "chosen = '': must be text"),
        ({"chosen": ["x" * 10_000]}, r"chosen = \['x+: must be text"),
        ({"prompt": None}, "prompt = None: must be text"),
        ({"rejected": "Because."}, "chosen and rejected are the same"),
        ({"prompt": "Wh\0y?"}, "prompt holds a NUL character"),
        ({"prompt": [user("Wh\0y?")]}, "a message holds a NUL character"),
        ({"chosen": [user("b")], "rejected": [user("c")]}, "one answer of the"),
        ({"chosen": ["b"], "rejected": ["c"]}, "'b': must be a message"),
        ({"chosen": [], "rejected": []}, "empty or the same"),
        (
            {"prompt": [assistant("a")], "chosen": [assistant("b")], "rejected": [assistant("c")]},
            "must end with a message that is not the assistant's",
        ),
    ],
)
def test_a_row_that_is_no_pair_is_named_unless_it_may_be_skipped(tmp_path, row, problem):
    """A NUL is refused as tokenizers drop it, so that a text would be another than the user's."""
    path = tmp_path / "pairs.jsonl"
    with pytest.raises(UserError, match=f"split train, row 2: .*{problem}.*; correct it") as error:
        pairs_in(path, GOOD, GOOD | row)
    assert str(error.value).startswith(str(path))
    assert len(str(error.value)) < 400
    pairs, skipped = pairs_in(path, GOOD, GOOD | row, bad_rows="skip")
    assert (pairs, skipped.total()) == ({"train": [TEXT]}, 1)
    with pytest.raises(UserError, match=r"no row is left \(1 rows skipped; first .*\); name ano"):
        pairs_in(path, GOOD | row, bad_rows="skip")


def test_a_missing_column_and_a_comma_without_quotes_are_named(tmp_path):
    with pytest.raises(UserError, match="no column 'rejected'; it has prompt, chosen, and needs"):
        pairs_in(tmp_path / "pairs.jsonl", {"prompt": "a", "chosen": "b"})
    path = tmp_path / "pairs.csv"
    path.write_text("prompt,chosen,rejected\nWhy?,Because.,No.\nSo?,So.,No, thanks.\n")
    with pytest.raises(UserError, match="row 2: has more fields than there are columns; quote"):
        read_pairs(Pairs(path=str(path)))
    with pytest.raises(UserError, match="row 2: has more fields"):
        read_texts(Prompts(path=str(path)))
    pairs, skipped, _ = read_pairs(Pairs(path=str(path), bad_rows="skip"))
    assert (pairs, skipped.total()) == ({"train": [TEXT]}, 1)


@pytest.mark.parametrize(
    ("value", "choices", "expected"),
    [
        (0, [0, 1], [True, False]),
        (0, [0.0, 1.0], [True, False]),
        (0, ["0", "1"], [True, False]),
        (0, ["0.0", "1.0"], [True, False]),
        ("0", [0, 1], [True, False]),
        ("a", ["a", "b"], [True, False]),
        (False, [False, True], [True, False]),
        (0, [0, 1, "tie"], "value = 0: choice must hold one other value, not 'tie', 1; leave"),
        (0, [1, 2], "value = 0: no row has it in choice, but 1, 2"),
        (0, [0, None], "row 2: no choice"),
        (0, [0, ...], "row 2: no choice"),
    ],
)
def test_a_choice_is_the_same_in_every_spelling_and_neither_is_not_the_other(
    value, choices, expected, tmp_path
):
    pair = {"prompt": "Why?", "chosen": "first", "rejected": "second"}
    rows = [pair if choice is ... else {**pair, "choice": choice} for choice in choices]
    columns = {"choice": {"column": "choice", "value": value}}
    path = tmp_path / "pairs.jsonl"
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            pairs_in(path, *rows, columns=columns)
        if "no choice" not in expected:
            return
        expected = [True]
    pairs, _ = pairs_in(path, *rows, columns=columns, bad_rows="skip")
    assert [given.chosen == "first" for given in pairs["train"]] == expected


@pytest.mark.parametrize("prompt", ["Why?", [user("Why?")], None])
def test_a_chat_has_the_same_prompt_however_it_is_given(prompt, tmp_path):
    answers = ANSWERS
    if isinstance(prompt, str):
        answers = {side: turns[1:] for side, turns in ANSWERS.items()}
    columns = {"prompt": None if prompt is None else "prompt"}
    pairs, _ = pairs_in(tmp_path / "p.jsonl", {"prompt": prompt, **answers}, columns=columns)
    assert pairs == {"train": [CHAT]}


def test_what_is_given_becomes_prompts_of_its_split_and_none_is_held_out_too():
    fields = {"given": [{"chosen": " a", "rejected": " b"}]}
    splits = {"train": {"It was": fields}, "test": {"Then": fields}}
    prompts = given.as_prompts(splits, ["Then", "Here", "There", "It was"])
    roles = [(p.id, p.prompt, p.role, p.given is None) for p in prompts]
    assert roles == [
        (0, "It was", "train", False),
        (1, "Then", "test", False),
        (2, "Here", "heldout", True),
        (3, "There", "heldout", True),
    ]
    with pytest.raises(UserError, match="prompt 'It was' has pairs in both splits"):
        given.as_prompts({"train": splits["train"], "test": splits["train"]}, ["a", "b"])
    with pytest.raises(UserError, match="1 of 2 prompts are in no pair"):
        given.as_prompts(splits, ["It was", "b"])


def test_held_out_prompts_are_named_or_drawn():
    prompts = [f"p{i // 2}" for i in range(20)]
    drawn = given.hold_out(prompts, seed=0, count=3)
    assert len(set(drawn)) == 3
    assert given.hold_out(prompts, seed=0, count=3) == drawn
    with pytest.raises(UserError, match="heldout_prompts = 10: the split train has 10 different"):
        given.hold_out(prompts, seed=0, count=10)
    repo = {"repo": "me/it", "revision": "main"}
    models = {"reference": repo, "reward": {**repo, "too_long": "cut"}, "judge": None}
    both = {"source": "pairs", "pairs": repo, **models}
    assert PairsSource.model_validate({**both, "heldout_prompts": 4}).prompts is None
    for wrong in ({}, {"heldout_prompts": 4, "prompts": repo}):
        with pytest.raises(ValueError, match="must have prompts, to evaluate on those, or"):
            GivenSource.model_validate({**models, **wrong})


def test_a_given_split_keeps_its_roles_and_needs_both():
    prompts = [Prompt(id=i, prompt="x", role=role) for i, role in enumerate(["train", "test"])]
    assert split_stage.given_split(prompts) == {1}
    with pytest.raises(UserError, match="of 1 prompts with pairs 0 are in a split named test"):
        split_stage.given_split(prompts[:1])


@pytest.mark.parametrize("field", ["tools", *pair_formats.SAID])
def test_what_no_template_renders_is_refused(field, tmp_path):
    row = {**GOOD, "prompt": [user("Why?") | {field: "x"}]}
    if field == "tools":
        row = {**GOOD, "tools": [{"name": "f"}]}
    with pytest.raises(UserError, match=f"has {field}, wh"):
        pairs_in(tmp_path / "pairs.jsonl", row)
