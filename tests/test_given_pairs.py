"""fdpo.given_pairs and fdpo.tables: pairs from local files, and from the stand-in."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from fdpo import given_pairs
from fdpo.errors import UserError
from fdpo.given_pairs import GivenPair
from tests import hub_repos
from tests.hub_standin import run_client, serving

ROWS = [
    {"prompt": "It was", "chosen": " gréat", "rejected": " bad", "more": 1},
    {"prompt": "It was", "chosen": " fun", "rejected": " long", "more": 2},
]
PAIRS = [GivenPair("It was", " gréat", " bad"), GivenPair("It was", " fun", " long")]


def write_lines(path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_pairs_of_a_file_are_the_train_split(tmp_path):
    lines = write_lines(tmp_path / "pairs.jsonl", *ROWS)
    parquet = str(tmp_path / "pairs.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), parquet)
    from_lines, source = given_pairs.read_pairs(lines, "")
    from_parquet, _ = given_pairs.read_pairs(parquet, "")
    assert from_lines == from_parquet == {"train": PAIRS}
    assert source.repo == lines
    assert len(source.commit) == 64

    prompts, _ = given_pairs.read_prompts(lines, "")
    assert prompts == ["It was"]


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
        given_pairs.read_pairs(path, "")
    assert str(error.value).startswith(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "cut.jsonl").write_text(json.dumps(ROWS[0])[:20])
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "\xe9"}\n')
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.jsonl").write_text("")
    problems = {
        "cut.jsonl": "cut.jsonl:1: not JSON",
        "latin.jsonl": "latin.jsonl:1: not JSON",
        "cut.parquet": "cut.parquet: not a Parquet file",
        "empty.jsonl": "empty.jsonl: no rows in a split named train",
        "none.jsonl": "none.jsonl: missing; name a file, or a Hub dataset as user/name",
    }
    for name, problem in problems.items():
        with pytest.raises(UserError, match=problem):
            given_pairs.read_pairs(str(tmp_path / name), "")


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
        from fdpo import given_pairs
        from fdpo.errors import UserError

        pairs, source = given_pairs.read_pairs("therem/dpo_dataset", "main")
        print(json.dumps({split: [asdict(pair) for pair in pairs[split]] for split in pairs}))
        print(json.dumps(given_pairs.read_prompts("therem/dpo_dataset_eval", source.revision)[0]))
        for repo in ("therem/dpo_dataset_eval", "me/unreadable"):
            try:
                given_pairs.read_pairs(repo, "main")
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
