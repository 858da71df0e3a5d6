"""Reading rated snippets, and cutting prompts that a reward model has not seen."""

from hypothesis import given
from hypothesis import strategies as st

from fdpo.sources.snippets import Snippet, prompts, read_snippets, three_parts
from tests.support.embedded_fakes import rated_snippets

SNIPPETS = [
    Snippet(number, rating, text) for number, (rating, text) in enumerate(rated_snippets(300))
]
TEMPLATE = "Movie review: {words}"


def opening(text: str) -> str:
    return " ".join(text.split()[:4])


def test_reads_ids_ratings_and_texts_without_html_or_line_ends(tmp_path):
    path = tmp_path / "ratings.txt"
    path.write_bytes('1\t2.25\tA PB&amp;J of a clich\u00e9.\r\n7\t-4\tNo; 9" of\u2028it.'.encode())

    assert read_snippets(path) == [
        Snippet(1, 2.25, "A PB&J of a clich\u00e9."),
        Snippet(7, -4.0, 'No; 9" of\u2028it.'),
    ]


@given(st.integers(1, 60), st.integers(2, 60), st.integers(0, 2**32))
def test_prompts_differ_and_share_no_beginning_with_the_snippets_left(train, heldout, seed):
    chosen, left = prompts(SNIPPETS, TEMPLATE, 4, train, heldout, seed)

    assert [prompt.role for prompt in chosen] == ["train"] * train + ["heldout"] * heldout
    texts = {prompt.prompt.removeprefix("Movie review: ") for prompt in chosen}
    assert len(texts) == train + heldout
    assert left == [snippet for snippet in SNIPPETS if opening(snippet.text) not in texts]
    by_id = {snippet.id: snippet for snippet in SNIPPETS}
    assert all(p.prompt == f"Movie review: {opening(by_id[p.id].text)}" for p in chosen)


def test_a_snippet_without_a_word_to_complete_gives_no_prompt():
    snippets = [Snippet(0, 1.0, "one two three four"), Snippet(1, 1.0, "a  b c d e")]

    chosen, left = prompts(snippets, TEMPLATE, 4, 1, 0, seed=0)

    assert [prompt.prompt for prompt in chosen] == ["Movie review: a b c d"]
    assert left == snippets[:1]


def test_the_fits_and_the_check_share_no_text_whatever_its_case():
    texts = ["Same text.", "same  TEXT.", *(f"Text {number}." for number in range(99))]
    snippets = [Snippet(number, 1.0, text) for number, text in enumerate(texts)]

    parts = three_parts(snippets, seed=0)

    kept = [snippet for part in parts for snippet in part]
    assert sorted(s.id for s in kept) == [0, *range(2, 101)]
    assert [len(part) for part in parts] == [45, 45, 10]
    assert three_parts(snippets, seed=0) == parts
    assert three_parts(snippets, seed=1) != parts
