"""fdpo.sources.imdb: pure parts by hand and by property, the download against the stand-in."""

import json
from collections.abc import Iterator

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdpo.core.errors import UserError
from fdpo.sources import imdb
from tests.support import hub_repos
from tests.support.hub_standin import Hub, run_client, serving

OPENINGS = [f"Review {i}" for i in range(30)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    hub_repos.imdb(folder / "datasets/stanfordnlp/imdb")
    with serving(folder) as hub:
        yield hub


def test_an_opening_ends_before_the_first_full_stop():
    texts = [
        "I loved it. Twice. ",
        "Great! Truly<br /><br />great. Go.",
        ".hidden",
        "  . blank",
        "No stop",
        "I loved it.Again.",
        "I loved it .",
    ]
    assert imdb.openings(texts) == [
        "I loved it",
        "Great! Truly<br /><br />great",
        "No stop",
        "I loved it ",
    ]


@given(st.lists(st.text("ab. ", max_size=6)))
def test_openings_are_distinct_prefixes_in_order(texts):
    openings = imdb.openings(texts)
    assert len(set(openings)) == len(openings)
    assert not any("." in opening or not opening.strip() for opening in openings)
    first_seen = [next(i for i, t in enumerate(texts) if t.split(".")[0] == o) for o in openings]
    assert first_seen == sorted(first_seen)


def test_drawn_prompts_are_distinct_and_both_roles_have_their_number():
    prompts = imdb.draw(OPENINGS, seed=0, train=20, heldout=10)
    assert [prompt.role for prompt in prompts] == ["train"] * 20 + ["heldout"] * 10
    assert {prompt.id: prompt.prompt for prompt in prompts} == dict(enumerate(OPENINGS))


def test_the_draw_follows_the_seed():
    assert imdb.draw(OPENINGS, 0, 5, 5) == imdb.draw(OPENINGS, 0, 5, 5)
    assert imdb.draw(OPENINGS, 0, 5, 5) != imdb.draw(OPENINGS, 1, 5, 5)


def test_a_larger_draw_keeps_the_smaller_one():
    few = imdb.draw(OPENINGS, 0, train=2, heldout=3)
    assert set(few) < set(imdb.draw(OPENINGS, 0, train=20, heldout=3))
    assert set(few) < set(imdb.draw(OPENINGS, 0, train=2, heldout=20))


def test_too_few_openings_name_the_keys():
    message = r"prepare.train_prompts = 21 and prepare.heldout_prompts = 10: .* only 30 different"
    with pytest.raises(UserError, match=message):
        imdb.draw(OPENINGS, seed=0, train=21, heldout=10)


def test_prompts_come_from_the_positive_reviews_of_the_train_split(hub, tmp_path):
    code = f"""
        import json, sys
        import datasets
        from fdpo.sources import dataset_rows, imdb
        from fdpo.core.errors import UserError

        prompts, source = imdb.read_prompts("stanfordnlp/imdb", "main", seed=0, train=30, heldout=9)
        print(source.commit)
        print(json.dumps([prompt.prompt for prompt in prompts]))

        # The same rows by the way of `datasets` alone: the stand-in serves both as the Hub would.
        rows = datasets.load_dataset(
            "stanfordnlp/imdb", revision=source.commit, split="train", cache_dir="{tmp_path}/cache"
        )
        ours, _ = dataset_rows.read_hub("stanfordnlp/imdb", "main", ["text", "label"], ["train"])
        print(rows.to_list() == ours["train"])

        for columns, splits in ((["text", "stars"], None), (["text"], ["dev"])):
            try:
                dataset_rows.read_hub("stanfordnlp/imdb", "main", columns, splits)
            except UserError as error:
                print(error)
    """
    client = run_client(hub, tmp_path / "home", code)
    assert client.returncode == 0, client.stderr
    commit, prompts, same, column, split = client.stdout.splitlines()

    repo = hub.folder / "datasets/stanfordnlp/imdb"
    table = pyarrow.parquet.read_table(repo / "plain_text/train-00000-of-00001.parquet").to_pylist()
    positive = [row["text"].split(".")[0] for row in table if row["label"] == 1]
    negative = [row["text"].split(".")[0] for row in table if row["label"] == 0]
    assert len(set(json.loads(prompts))) == 39
    assert set(json.loads(prompts)) <= set(positive)
    assert not set(json.loads(prompts)) <= set(negative)
    assert len(commit) == 40
    assert same == "True"
    assert column == (
        "dataset stanfordnlp/imdb at revision main, split train: no column 'stars';"
        " it has text, label, and needs text, stars"
    )
    assert split == (
        "dataset stanfordnlp/imdb at revision main: no split 'dev';"
        " it has train, test, unsupervised"
    )
