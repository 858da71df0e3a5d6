"""The formats in which people publish preferences: each read by its section of params.yaml alone.

The rows have the columns of the datasets that they are named after, and made-up content.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from fdpo.config.sources import FilePairs, FilePrompts, PairsSource
from fdpo.core.errors import UserError
from fdpo.sources.chat import ChatFormat
from fdpo.sources.given_pairs import read_pairs
from fdpo.sources.pair_formats import SAID, GivenPair
from fdpo.sources.prompts import read_texts
from tests.support import tiny_classifiers
from tests.support.data_shapes import (
    ANSWERS,
    CHAT,
    ON_THE_HUB,
    SHAPES,
    TEXT,
    assistant,
    read_all,
    section,
    table,
    user,
    write,
)


@pytest.fixture(scope="module")
def read_from_hub(tmp_path_factory) -> dict[str, Any]:
    return read_all(tmp_path_factory.mktemp("hub"))


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_shape_on_the_hub_is_read_by_its_section_alone(read_from_hub, name):
    _, _, expected, read, skipped = SHAPES[name]
    pairs, left_out = read_from_hub[name]
    prompt, *completions = pairs[0]
    turns = prompt if isinstance(prompt, str) else tuple(map(tuple, prompt))
    assert GivenPair(turns, *completions) == expected
    assert (len(pairs), left_out) == (read, skipped)


def test_the_table_has_a_line_for_each_shape(read_from_hub):
    lines = table(read_from_hub).splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == list(SHAPES)
    for line, (*_, read, skipped) in zip(lines, SHAPES.values(), strict=True):
        assert line.endswith(f" | {read} | {skipped} |")
    assert "`columns: {prompt: null}`, `bad_rows: skip` | 1 | 1 |" in lines[0]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "jsonl.gz", "json.gz", "csv", "csv.gz"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_in_a_local_file_is_read_by_its_section_alone(name, suffix, tmp_path):
    rows, text, expected, read, skipped = SHAPES[name]
    if "csv" in suffix and any(isinstance(v, list | dict) for row in rows for v in row.values()):
        pytest.skip("a CSV file holds no lists")
    settings = section(text)
    for key in ("config", "splits"):  # of the Hub's repositories alone
        settings.pop(key, None)
    pinned = write(tmp_path / f"pairs.{suffix}", rows)
    pairs, left_out, _ = read_pairs(FilePairs(**pinned, **settings))
    assert pairs["train"][0] == expected
    assert (len(pairs["train"]), left_out.total()) == (read, skipped)


def test_a_bad_row_is_refused_with_its_place_unless_it_may_be_skipped(tmp_path):
    good = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    pinned = write(tmp_path / "pairs.jsonl", [good, {**good, "chosen": None}, {"prompt": "So?"}])
    with pytest.raises(UserError, match=r"split train, row 2: chosen = None: must be text, and"):
        read_pairs(FilePairs(**pinned))
    pairs, skipped, _ = read_pairs(FilePairs(**pinned, bad_rows="skip"))
    assert pairs == {"train": [TEXT]}
    assert skipped == {"chosen = None: must be text, and not empty": 1, "no chosen": 1}


def test_a_text_with_a_comma_and_no_quotes_is_no_pair(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("prompt,chosen,rejected\nWhy?,Because.,No.\nSo?,So.,No, thanks.\n")
    with pytest.raises(UserError, match="row 2: has more fields than there are columns; quote"):
        read_pairs(FilePairs(path=str(path)))
    pairs, skipped, _ = read_pairs(FilePairs(path=str(path), bad_rows="skip"))
    assert pairs == {"train": [TEXT]}
    assert skipped.total() == 1
    with pytest.raises(UserError, match="row 2: has more fields"):
        read_texts(FilePrompts(path=str(path)))


def chosen_by(path: Path, value: int | str, choices: Sequence[Any], **section: Any) -> list[bool]:
    """Whether each pair kept the order of its columns, by the choices in a file of pairs."""
    pair = {"prompt": "Why?", "chosen": "first", "rejected": "second"}
    rows = [pair if choice is ... else {**pair, "choice": choice} for choice in choices]
    columns = {"choice": {"column": "choice", "value": value}}
    pairs, _, _ = read_pairs(FilePairs(**write(path, rows), columns=columns, **section))
    return [given.chosen == "first" for given in pairs["train"]]


@pytest.mark.parametrize(
    ("value", "choices"),
    [
        (0, [0, 1]),
        (0, [0.0, 1.0]),
        (0, ["0", "1"]),
        (0, ["0.0", "1.0"]),
        ("0", [0, 1]),
        ("a", ["a", "b"]),
        (0, [False, True]),
    ],
)
def test_a_choice_is_the_same_in_every_spelling(value, choices, tmp_path):
    assert chosen_by(tmp_path / "pairs.jsonl", value, choices) == [True, False]


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ([0, 1, "tie"], r"choice.value = 0: choice must hold one other value, not 'tie', 1; leave"),
        ([1, 2], r"choice.value = 0: no row has it in choice, but 1, 2"),
        ([0, None], r"row 2: no choice"),
        ([0, ...], r"row 2: no choice"),
    ],
)
def test_a_row_that_chooses_neither_is_not_taken_for_the_other(choices, problem, tmp_path):
    with pytest.raises(UserError, match=problem):
        chosen_by(tmp_path / "pairs.jsonl", 0, choices)
    if "no choice" in problem:
        assert chosen_by(tmp_path / "pairs.jsonl", 0, choices, bad_rows="skip") == [True]


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_half_of_a_character_is_refused_with_its_place(suffix, tmp_path):
    row = {"prompt": "Why?", "chosen": "Because.", "rejected": "No \ud83d"}
    pinned = write(tmp_path / f"pairs.{suffix}", [row])
    with pytest.raises(UserError, match=r"pairs\.jsonl?(:1|, row 1): holds a lone surrogate"):
        read_pairs(FilePairs(**pinned))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "a", "chosen": [user("b")], "rejected": [user("c")]}, "one answer of the"),
        ({"prompt": "a", "chosen": ["b"], "rejected": ["c"]}, "'b': must be a message"),
        ({"prompt": "a", "chosen": [], "rejected": []}, "empty or the same"),
        (
            {"prompt": [assistant("a")], "chosen": [assistant("b")], "rejected": [assistant("c")]},
            "must end with a message that is not the assistant's",
        ),
    ],
)
def test_messages_that_are_no_pair_are_named(row, problem, tmp_path):
    pinned = write(tmp_path / "pairs.jsonl", [row])
    with pytest.raises(UserError, match=problem):
        read_pairs(FilePairs(**pinned))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tool_calls", [{"function": {"name": "f"}}]),
        ("reasoning_content", "Hm."),
        ("thinking", "Hm."),
        ("name", "Ada"),
        ("weight", 1),
        ("tool_calls", None),
    ],
)
def test_fields_of_messages_that_go_unread_are_named(field, value, tmp_path, capsys):
    row = {"prompt": [user("Why?") | {field: value}], "chosen": "Because.", "rejected": "No."}
    section = FilePairs(
        **write(tmp_path / "pairs.jsonl", [row, row | {"tools": [{}]}]), bad_rows="skip"
    )
    if field in SAID and value:
        with pytest.raises(UserError, match=f"a message has {field}, which is not rendered"):
            read_pairs(section)
        return
    pairs, skipped, _ = read_pairs(section)
    assert len(pairs["train"]) == 1
    assert skipped == {"it has tools, which no template is given here": 1}
    said = capsys.readouterr().out
    assert said == (
        "" if value is None else f"prepare: fields of messages that go unread: {field}\n"
    )


@pytest.mark.parametrize(
    "prompt", ["Why?", [user("Why?")], None], ids=["text", "messages", "implied"]
)
def test_a_chat_has_the_same_prompt_however_it_is_given(prompt, tmp_path):
    answers = ANSWERS
    if isinstance(prompt, str):
        answers = {side: turns[1:] for side, turns in ANSWERS.items()}
    pinned = write(tmp_path / "pairs.jsonl", [{"prompt": prompt, **answers}])
    columns = {"prompt": None if prompt is None else "prompt"}
    pairs, _, _ = read_pairs(FilePairs.model_validate({**pinned, "columns": columns}))
    assert pairs == {"train": [CHAT]}


TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)


@pytest.fixture
def chat_folder(tmp_path) -> Path:
    variant = tiny_classifiers.Variant("own", "right", "right", 1)
    tokenizer = tiny_classifiers.tokenizer(variant, appends_end=False)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_chat_prompt_is_the_templates_own_and_begins_once(chat_folder):
    tokenizer = AutoTokenizer.from_pretrained(chat_folder)
    chat = ChatFormat("auto", "Be good .", chat_folder)
    turns = [{"role": "system", "content": "Be good ."}, user("the film")]
    whole = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert chat.prompt("the film") == chat.prompt((("user", "the film"),))
    assert tokenizer.bos_token + chat.prompt("the film") == whole
    ids = tokenizer(chat.prompt("the film")).input_ids
    assert ids == tokenizer(whole, add_special_tokens=False).input_ids
    own = (("system", "No ."), ("user", "the film"))
    assert "Be good" not in chat.prompt(own)


def test_messages_need_a_template(chat_folder, tmp_path):
    plain = ChatFormat("none", None, tmp_path)
    assert plain.prompt("Why?") == "Why?"
    with pytest.raises(UserError, match=r"prepare.chat = 'none', but the prompts are messages"):
        plain.prompt(CHAT.prompt)
    (chat_folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template; set it to none, or take a chat"):
        ChatFormat("auto", None, chat_folder)


def test_held_out_prompts_are_named_or_drawn():
    repo = {"repo": "me/it", "revision": "main"}
    scorer = {**repo, "label": "good", "too_long": "cut"}
    both = {"source": "pairs", "reference": repo, "reward": scorer, "judge": scorer, "pairs": repo}
    assert PairsSource.model_validate({**both, "heldout_prompts": 4}).prompts is None
    for wrong in ({}, {"heldout_prompts": 4, "prompts": repo}):
        with pytest.raises(ValueError, match="must have prompts, to evaluate on those, or"):
            PairsSource.model_validate({**both, **wrong})
