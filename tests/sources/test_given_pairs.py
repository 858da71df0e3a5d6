"""Given pairs from local files, and from the stand-in."""

import hashlib
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from fdpo.config.sources import FilePairs, FilePrompts
from fdpo.core.errors import UserError
from fdpo.core.records import Prompt, ScoredCompletion, ScoredGeneration
from fdpo.pairing import pairs_of
from fdpo.sources import given_pairs, prompts
from fdpo.sources.chat import ChatFormat
from fdpo.sources.pair_formats import GivenPair
from stages import split as split_stage
from tests.support import hub_repos
from tests.support.hub_standin import run_client, serving

ROWS = [
    {"prompt": "It was", "chosen": " gréat", "rejected": " bad", "more": 1},
    {"prompt": "It was", "chosen": " fun", "rejected": " long", "more": 2},
]
PAIRS = [GivenPair("It was", " gréat", " bad"), GivenPair("It was", " fun", " long")]


PLAIN = ChatFormat("none", None, Path("unread"))


def pinned(path) -> dict[str, str]:
    """A section for a file, with its sha256."""
    content = Path(path).read_bytes() if Path(path).exists() else b""
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest()}


def read_pairs(path, **more):
    return given_pairs.read_pairs(FilePairs(**pinned(path), **more))


def as_prompts(pairs, heldout):
    return given_pairs.as_prompts(pairs, heldout, PLAIN.pair)


def write_lines(path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_pairs_of_a_file_are_the_train_split(tmp_path):
    lines = write_lines(tmp_path / "pairs.jsonl", *ROWS)
    parquet = str(tmp_path / "pairs.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), parquet)
    from_lines, _, source = read_pairs(lines)
    from_parquet, _, _ = read_pairs(parquet)
    assert from_lines == from_parquet == {"train": PAIRS}
    assert source.repo == lines
    assert len(source.commit) == 64

    texts, _ = prompts.read_texts(FilePrompts(**pinned(lines)))
    assert texts == ["It was"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "a", "chosen": "b"}, "no column 'rejected'; it has prompt, chosen"),
        ({"prompt": "a", "chosen": 3, "rejected": "c"}, "row 1: chosen = 3: must be text"),
        ({"prompt": "a", "chosen": "", "rejected": "c"}, "row 1: chosen = '': must be text"),
        ({"prompt": None, "chosen": "b", "rejected": "c"}, "row 1: prompt = None: must be text"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "row 1: chosen and rejected are the"),
        ([1], "pairs.jsonl:1: not a JSON object"),
    ],
)
def test_a_row_that_is_no_pair_is_named(tmp_path, row, problem):
    path = write_lines(tmp_path / "pairs.jsonl", row)
    with pytest.raises(UserError, match=problem) as error:
        read_pairs(path)
    assert str(error.value).startswith(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "cut.jsonl").write_text(json.dumps(ROWS[0])[:20])
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "\xe9"}\n')
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    (tmp_path / "twice.csv").write_text("prompt,chosen,rejected,chosen\na,b,c,d\n")
    texts = pyarrow.array([b"\xff"]).buffers()
    column = pyarrow.Array.from_buffers(pyarrow.string(), 1, texts)
    table = pyarrow.table(dict.fromkeys(("prompt", "chosen", "rejected"), column))
    pyarrow.parquet.write_table(table, tmp_path / "latin.parquet")
    problems = {
        "deep.jsonl": "deep.jsonl:1: not JSON .maximum recursion depth",
        "twice.csv": "twice.csv: column 'chosen' occurs twice; rename one of them",
        "latin.parquet": "latin.parquet: not a Parquet file .Column 0: .*Invalid UTF8 .*index 0",
        "cut.jsonl": "cut.jsonl:1: not JSON",
        "latin.jsonl": "latin.jsonl:1: not text in UTF-8",
        "cut.parquet": "cut.parquet: not a Parquet file",
        "empty.jsonl": "empty.jsonl: no rows in a split named train",
        "none.jsonl": "none.jsonl: missing or empty; name a file or folder that is there",
    }
    for name, problem in problems.items():
        with pytest.raises(UserError, match=problem):
            read_pairs(tmp_path / name)


def test_a_text_with_a_nul_is_no_pair(tmp_path):
    """Tokenizers drop it, so that a text would be another than the user's."""
    turns = [{"role": "user", "content": "b\0ut"}]
    row = {"prompt": "but", "chosen": "a", "rejected": "c"}
    path = write_lines(
        tmp_path / "pairs.jsonl", row | {"prompt": "b\0ut"}, row, row | {"prompt": turns}
    )
    with pytest.raises(UserError, match="row 1: prompt holds a NUL character; correct it, or set"):
        read_pairs(path)
    pairs, skipped, _ = read_pairs(path, bad_rows="skip")
    assert pairs == {"train": [GivenPair("but", "a", "c")]}
    assert dict(skipped) == {
        "prompt holds a NUL character": 1,
        "a message holds a NUL character": 1,
    }
    with pytest.raises(UserError, match="split train, row 1: prompt holds a NUL character; remove"):
        prompts.read_texts(FilePrompts(**pinned(path)))


def test_a_file_whose_every_row_is_skipped_has_no_pairs(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", {"prompt": "a", "chosen": "b", "rejected": "b"})
    with pytest.raises(UserError) as none:
        read_pairs(path, bad_rows="skip")
    assert str(none.value) == (
        f"{path}: no pairs in its split train (1 rows skipped; first chosen and rejected are the"
        " same); name another"
    )


def test_a_long_value_is_cut_in_a_message(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", {**ROWS[0], "chosen": ["x" * 10_000]})
    with pytest.raises(UserError, match=r"row 1: chosen = \['x+: must be text") as error:
        read_pairs(path)
    assert len(str(error.value)) < 400


def test_a_dataset_of_the_hub_keeps_its_splits_and_order(tmp_path):
    folder = tmp_path / "hub"
    hub_repos.pairs(folder / "datasets/therem/dpo_dataset")
    hub_repos.prompts(folder / "datasets/therem/dpo_dataset_eval")
    unreadable = folder / "datasets/me/unreadable/data/train.parquet"
    unreadable.parent.mkdir(parents=True)
    unreadable.write_text("not a Parquet file")
    code = """
        import json
        from dataclasses import asdict
        from fdpo.config.sources import HubPairs, HubPrompts
        from fdpo.core.errors import UserError
        from fdpo.sources import given_pairs, prompts

        pairs, _, source = given_pairs.read_pairs(
            HubPairs(repo="therem/dpo_dataset", revision="main")
        )
        print(json.dumps({split: [asdict(pair) for pair in pairs[split]] for split in pairs}))
        heldout = HubPrompts(repo="therem/dpo_dataset_eval", revision=source.revision)
        print(json.dumps(prompts.read_texts(heldout)[0]))
        for repo in ("therem/dpo_dataset_eval", "me/unreadable"):
            try:
                given_pairs.read_pairs(HubPairs(repo=repo, revision="main"))
            except UserError as error:
                print(error)
    """
    with serving(folder) as hub:
        client = run_client(hub, tmp_path / "home", code)
    assert client.returncode == 0, client.stderr
    pairs, prompts, no_column, unreadable = client.stdout.splitlines()

    data = folder / "datasets/therem/dpo_dataset/data"
    for split, rows in json.loads(pairs).items():
        file = data / f"{split}-00000-of-00001.parquet"
        assert rows == pyarrow.parquet.read_table(file).to_pylist()
    assert set(json.loads(pairs)) == {"train", "test"}
    assert len(json.loads(prompts)) == 12
    assert "dataset therem/dpo_dataset_eval at revision main, split train: no column" in no_column
    assert unreadable.startswith("dataset me/unreadable at revision main: can't be read (")


def test_pairs_become_prompts_of_their_split_and_none_is_held_out_too():
    other = GivenPair("Then", " yes", " no")
    splits = {"train": PAIRS, "test": [other]}
    prompts = as_prompts(splits, ["Then", "Here", "There", "It was"])
    assert [(p.id, p.prompt, p.role) for p in prompts] == [
        (0, "It was", "train"),
        (1, "Then", "test"),
        (2, "Here", "heldout"),
        (3, "There", "heldout"),
    ]
    given = [(pair.chosen, pair.rejected) for pair in prompts[0].given]
    assert given == [(" gréat", " bad"), (" fun", " long")]
    assert prompts[2].given is None


def test_a_prompt_in_both_splits_is_refused():
    with pytest.raises(UserError, match="prompt 'It was' has pairs in both splits"):
        as_prompts({"train": PAIRS, "test": PAIRS[:1]}, ["a", "b"])


def test_too_few_held_out_prompts_are_refused():
    with pytest.raises(UserError, match="1 of 2 prompts are in no pair"):
        as_prompts({"train": PAIRS}, ["It was", "b"])


def test_a_local_file_must_be_the_pinned_one(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", *ROWS)
    with pytest.raises(UserError, match="not the file that params") as error:
        given_pairs.read_pairs(FilePairs(path=path, sha256="0" * 64))
    found = str(error.value).split("its sha256 is ")[1][:64]
    pairs, _, source = given_pairs.read_pairs(FilePairs(path=path, sha256=found))
    assert (pairs, source.commit) == ({"train": PAIRS}, found)


def test_held_out_prompts_are_drawn_from_the_pairs_and_leave_them():
    pairs = {"train": [GivenPair(f"p{i // 2}", f"{i}", "no") for i in range(20)], "test": []}
    left, drawn = given_pairs.hold_out(pairs, seed=0, count=3)
    assert len(drawn) == 3
    assert {pair.prompt for pair in left["train"]} == {f"p{i}" for i in range(10)} - set(drawn)
    assert len(left["train"]) == 14
    assert given_pairs.hold_out(pairs, seed=0, count=3) == (left, drawn)
    with pytest.raises(UserError, match="heldout_prompts = 10: the split train has 10 different"):
        given_pairs.hold_out(pairs, seed=0, count=10)


def scored(given: list[list[int]]) -> ScoredGeneration:
    """Three completions, the first two the same tokens, rewards against the given order."""
    completions = [
        ScoredCompletion(text="", ids=ids, finished=False, ref_logp=logp, reward=reward)
        for ids, logp, reward in (([4, 5], -1.0, 0.1), ([4, 5], -1.0, 0.1), ([6], -2.0, 0.9))
    ]
    return ScoredGeneration(
        id=3, prompt="It", role="test", prompt_ids=[1], completions=completions, given=given
    )


def test_given_pairs_are_kept_whatever_their_rewards_and_in_order():
    first, second = pairs_of(scored([[0, 2], [2, 1]]), "given")
    assert (first.chosen_ids, first.rejected_ids) == ([4, 5], [6])
    assert (first.ref_chosen_logp, first.ref_rejected_logp) == (-1.0, -2.0)
    assert (first.chosen_reward, first.rejected_reward) == (0.1, 0.9)
    assert (first.chosen_rank, first.rejected_rank) == (1, 2)
    assert (second.chosen_ids, second.rejected_ids) == ([6], [4, 5])


def test_a_pair_that_the_length_limit_made_equal_is_left_out():
    assert list(pairs_of(scored([[0, 1]]), "given")) == [None]


def test_a_place_without_a_completion_is_refused():
    with pytest.raises(ValueError, match="given has place 3 of 3 completions"):
        scored([[0, 3]])


def test_a_given_split_keeps_its_roles_and_needs_both():
    prompts = [Prompt(id=i, prompt="x", role=role) for i, role in enumerate(["train", "test"])]
    assert split_stage.given_split(prompts) == {1}
    with pytest.raises(UserError, match="of 1 prompts with pairs 0 are in a split named test"):
        split_stage.given_split(prompts[:1])
