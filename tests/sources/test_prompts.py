"""fdpo.sources.prompts: pure parts by hand and by property, the download against the stand-in."""

import json
from collections.abc import Iterator

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdpo.config.sources import Cut
from fdpo.core.errors import UserError
from fdpo.sources import prompts as prompts_of
from tests.support import hub_repos
from tests.support.hub_standin import Hub, run_client, serving

STOP = Cut(before=".")
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
    assert prompts_of.openings(texts, STOP) == [
        "I loved it",
        "Great! Truly<br /><br />great",
        "No stop",
        "I loved it ",
    ]


@given(st.lists(st.text("ab. ", max_size=6)))
def test_openings_are_distinct_prefixes_in_order(texts):
    openings = prompts_of.openings(texts, STOP)
    assert len(set(openings)) == len(openings)
    assert not any("." in opening or not opening.strip() for opening in openings)
    first_seen = [next(i for i, t in enumerate(texts) if t.split(".")[0] == o) for o in openings]
    assert first_seen == sorted(first_seen)


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
    assert prompts_of.openings(texts, cut, "Go on: {text}!") == [f"Go on: {expected}!"]


@pytest.mark.parametrize("section", [{}, {"words": 2, "before": "."}])
def test_a_cut_is_of_one_kind(section):
    with pytest.raises(ValueError, match="must have one of the keys words, characters and before"):
        Cut.model_validate(section)


def test_a_cut_written_with_its_absent_keys_is_the_same():
    assert Cut.model_validate(STOP.model_dump()) == STOP


def test_drawn_prompts_are_distinct_and_both_roles_have_their_number():
    prompts = prompts_of.draw(OPENINGS, seed=0, train=20, heldout=10)
    assert [prompt.role for prompt in prompts] == ["train"] * 20 + ["heldout"] * 10
    assert {prompt.id: prompt.prompt for prompt in prompts} == dict(enumerate(OPENINGS))


def test_the_draw_follows_the_seed():
    assert prompts_of.draw(OPENINGS, 0, 5, 5) == prompts_of.draw(OPENINGS, 0, 5, 5)
    assert prompts_of.draw(OPENINGS, 0, 5, 5) != prompts_of.draw(OPENINGS, 1, 5, 5)


def test_a_larger_draw_keeps_the_smaller_one():
    few = prompts_of.draw(OPENINGS, 0, train=2, heldout=3)
    assert set(few) < set(prompts_of.draw(OPENINGS, 0, train=20, heldout=3))
    assert set(few) < set(prompts_of.draw(OPENINGS, 0, train=2, heldout=20))


def test_too_few_openings_name_the_keys():
    message = r"prepare.train_prompts = 21 and prepare.heldout_prompts = 10: .* only 30 different"
    with pytest.raises(UserError, match=message):
        prompts_of.draw(OPENINGS, seed=0, train=21, heldout=10)


def test_prompts_come_from_the_positive_reviews_of_the_train_split(hub, tmp_path):
    code = f"""
        import json, sys
        import datasets
        from fdpo.config.sources import Cut, HubPrompts
        from fdpo.sources import dataset_rows, prompts
        from fdpo.core.errors import UserError

        positive = HubPrompts(
            repo="stanfordnlp/imdb", revision="main", column="text", where={{"label": 1}},
            cut=Cut(before="."),
        )
        texts, source = prompts.read_texts(positive)
        print(source.commit)
        print(json.dumps([prompt.prompt for prompt in prompts.draw(texts, 0, 30, 9)]))

        # The same rows by the way of `datasets` alone: the stand-in serves both as the Hub would.
        rows = datasets.load_dataset(
            "stanfordnlp/imdb", revision=source.commit, split="train", cache_dir="{tmp_path}/cache"
        )
        ours, _ = dataset_rows.read(positive, ["text", "label"], ["train"])
        print(rows.to_list() == ours["train"])

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
        "dataset stanfordnlp/imdb at revision main: no rows in a split named dev;"
        " it has train, test, unsupervised"
    )
