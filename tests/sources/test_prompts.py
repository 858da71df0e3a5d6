"""fdpo.sources.prompts: pure parts by hand and by property, the download against the stand-in."""

import json
from collections.abc import Iterator

import pyarrow.parquet
import pytest

from fdpo.config.sources import Cut
from fdpo.core.errors import UserError
from fdpo.sources.prompts import draw, openings
from tests.support import hub_repos
from tests.support.hub_standin import Hub, run_client, serving

STOP = Cut(before=".")


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
    assert openings(texts, STOP) == [
        "I loved it",
        "Great! Truly<br /><br />great",
        "No stop",
        "I loved it ",
    ]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (None, "One  two. Three"),
        (Cut(words=2), "One two."),
        (Cut(words=9), "One two. Three"),
        (Cut(characters=4), "One "),
        (Cut(before="."), "One  two"),
        (Cut(before="#"), "One  two. Three"),
    ],
)
def test_a_text_is_cut_as_params_say_and_put_into_the_template(cut, expected):
    texts = ["One  two. Three", "  "]
    assert openings(texts, cut, "Go on: {text}!") == [f"Go on: {expected}!"]


def test_a_draw_gives_both_roles_their_number_and_a_larger_one_keeps_it():
    drawn = draw(30, 0, 20, 10, "the data")
    assert list(drawn.values()) == ["train"] * 20 + ["heldout"] * 10
    assert sorted(drawn) == list(range(30))
    few = draw(30, 0, 2, 3, "the data")
    assert few.items() < draw(30, 0, 20, 3, "the data").items()
    assert few.items() < draw(30, 0, 2, 20, "the data").items()
    assert few != draw(30, 1, 2, 3, "the data")
    message = r"prepare.train_prompts = 21 and prepare.heldout_prompts = 10: .* only 30 different"
    with pytest.raises(UserError, match=message):
        draw(30, 0, 21, 10, "the data")


def test_prompts_come_from_the_positive_reviews_of_the_train_split(hub, tmp_path):
    code = f"""
        import json, sys
        import datasets
        from fdpo.config.sources import Cut, Prompts
        from fdpo.sources import dataset_rows, prompts
        from fdpo.core.errors import UserError

        positive = Prompts(
            repo="stanfordnlp/imdb", revision="main", column="text", where={{"label": 1}},
            cut=Cut(before="."),
        )
        texts, source = prompts.read_texts(positive)
        print(source["commit"])
        print(json.dumps(texts))

        # The same rows by the way of `datasets` alone: the stand-in serves both as the Hub would.
        where = dict(revision=source["commit"], cache_dir="{tmp_path}/cache")
        rows = datasets.load_dataset("stanfordnlp/imdb", split="train", **where)
        ours, _ = dataset_rows.read(positive, ["text"], ["train"])
        kept = [row for row in rows if row["label"] == 1]
        print(kept == [row for _, row in ours["train"]])

        for columns, splits in ((["text", "stars"], ["train"]), (["text"], ["dev"])):
            try:
                dataset_rows.read(positive, columns, splits)
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
    assert json.loads(prompts) == list(dict.fromkeys(positive))
    assert not set(json.loads(prompts)) <= set(negative)
    assert len(commit) == 40
    assert same == "True"
    assert column == (
        "dataset stanfordnlp/imdb at revision main, split train: no column 'stars';"
        " it has text, label, and needs text, stars, label"
    )
    assert split == (
        "dataset stanfordnlp/imdb at revision main: no rows in a split named dev;"
        " it has train, test, unsupervised"
    )
