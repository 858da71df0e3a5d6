"""The formats in which people publish preferences: each read by its section of params.yaml alone.

The rows have the columns of the datasets that they are named after, and made-up content.
"""

import csv
import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from transformers import AutoTokenizer

from fdpo.config.study_sources import FilePairs, PairsSource
from fdpo.core.errors import UserError
from fdpo.sources.chat import ChatFormat
from fdpo.sources.given_pairs import read_pairs
from fdpo.sources.pair_formats import GivenPair
from tests.support import tiny_classifiers
from tests.support.hub_standin import run_client, serving


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


CHAT = GivenPair((("user", "Why?"),), "Because.", "No.")
TEXT = GivenPair("Why?", "Because.", "No.")
ANSWERS = {"chosen": [user("Why?"), assistant("Because.")], "rejected": [user("Why?")]}
ANSWERS["rejected"].append(assistant("No."))
DIALOGUE = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant:"
BAD_CHAT = {"chosen": [assistant("a")], "rejected": [assistant("a")]}

# name: (rows, section, the first pair, rows read, rows skipped)
SHAPES: dict[str, tuple[list[dict[str, Any]], str, GivenPair, int, int]] = {
    "HuggingFaceH4/ultrafeedback_binarized": (
        [
            {"prompt": "Why?", "prompt_id": "a", **ANSWERS, "messages": ANSWERS["chosen"]},
            {"prompt": "Why?", "prompt_id": "b", **BAD_CHAT, "messages": []},
        ],
        "splits: {train: train_prefs, test: test_prefs}\ncolumns: {prompt: null}\nbad_rows: skip",
        CHAT,
        1,
        1,
    ),
    "trl-lib/ultrafeedback_binarized": (
        [{**ANSWERS, "score_chosen": 8.0, "score_rejected": 2.5}],
        "columns: {prompt: null}",
        CHAT,
        1,
        0,
    ),
    "Anthropic/hh-rlhf": (
        [
            {"chosen": f"{DIALOGUE} I can.", "rejected": f"{DIALOGUE} I can't."},
            {"chosen": "\n\nHuman: a", "rejected": "\n\nHuman: b"},
        ],
        "columns: {prompt: null}\nbad_rows: skip",
        GivenPair(DIALOGUE, " I can.", " I can't."),
        1,
        1,
    ),
    "argilla/distilabel-intel-orca-dpo-pairs": (
        [
            {
                "system": "",
                "input": "Why?",
                "chosen": "Because.",
                "rejected": "No.",
                "status": "ok",
            },
            {"system": "", "input": "So?", "chosen": "So.", "rejected": "So.", "status": "tie"},
        ],
        "columns: {prompt: input}\nwhere: {status: ok}",
        TEXT,
        1,
        0,
    ),
    "openai/summarize_from_feedback": (
        [
            {"info": {"post": "Why?"}, "summaries": [{"text": t} for t in texts], "choice": choice}
            for texts, choice in ((("No.", "Because."), 1), (("Because.", "No."), 0))
        ],
        "config: comparisons\n"
        "columns: {prompt: info.post, chosen: summaries.0.text, rejected: summaries.1.text,"
        " choice: {column: choice, value: 0}}",
        TEXT,
        2,
        0,
    ),
    "stanfordnlp/SHP": (
        [
            {"history": "Why?", "human_ref_A": "No.", "human_ref_B": "Because.", "labels": 0},
            {"history": "Why?", "human_ref_A": "Because.", "human_ref_B": "No.", "labels": 1},
        ],
        "columns: {prompt: history, chosen: human_ref_A, rejected: human_ref_B,"
        " choice: {column: labels, value: 1}}",
        TEXT,
        2,
        0,
    ),
    "sharded parquet": (
        [{"prompt": "Why?", "chosen": "Because.", "rejected": "No."} for _ in range(3)],
        "",
        TEXT,
        3,
        0,
    ),
    "csv.gz": (
        [
            {"question": "Why?", "good": "Because.", "bad": "No.", "stars": 5},
            {"question": "Why?", "good": "Because.", "bad": "", "stars": 5},
            {"question": "Why?", "good": "Because.", "bad": "Eh.", "stars": 1},
        ],
        "columns: {prompt: question, chosen: good, rejected: bad}\nwhere: {stars: 5}\n"
        "bad_rows: skip",
        TEXT,
        1,
        1,
    ),
}
ON_THE_HUB = [name for name in SHAPES if name != "csv.gz"]


def section(text: str) -> dict[str, Any]:
    return yaml.safe_load(text) or {}


def build_repo(folder: Path, name: str) -> None:
    """A dataset as it lies on the Hub: Parquet in two shards, a folder per configuration."""
    rows, text, *_ = SHAPES[name]
    settings = section(text)
    config, split = settings.get("config", "data"), settings.get("splits", {}).get("train", "train")
    (folder / config).mkdir(parents=True)
    half = (len(rows) + 1) // 2
    for shard, part in enumerate((rows[:half], rows[half:])):
        if part:
            file = folder / config / f"{split}-{shard:05d}-of-00002.parquet"
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(part), file)
    configs = [{"config_name": config, "data_files": [{"split": split, "path": f"{config}/*"}]}]
    if "config" in settings:  # else naming it would be needless
        (folder / "axis").mkdir()
        other = pyarrow.Table.from_pylist([{"rating": 7}])
        pyarrow.parquet.write_table(other, folder / "axis/train.parquet")
        configs.insert(0, {"config_name": "axis", "data_files": "axis/*"})
    card = yaml.safe_dump({"configs": configs})
    (folder / "README.md").write_text(f"---\n{card}---\n")


@pytest.fixture(scope="module")
def read_from_hub(tmp_path_factory) -> dict[str, Any]:
    """What `read_pairs` gives of every shape on the stand-in's Hub."""
    folder = tmp_path_factory.mktemp("hub")
    sections = {}
    for number, name in enumerate(ON_THE_HUB):
        build_repo(folder / f"datasets/shapes/n{number}", name)
        sections[name] = {
            "repo": f"shapes/n{number}",
            "revision": "main",
            **section(SHAPES[name][1]),
        }
    code = f"""
        import json
        from dataclasses import astuple
        from fdpo.config.study_sources import HubPairs
        from fdpo.sources.given_pairs import read_pairs

        for name, section in {sections!r}.items():
            pairs, skipped, _ = read_pairs(HubPairs(**section))
            print(json.dumps([name, list(map(astuple, pairs["train"])), sum(skipped.values())]))
    """
    with serving(folder) as hub:
        client = run_client(hub, folder / "home", code)
    assert client.returncode == 0, client.stderr
    lines = map(json.loads, client.stdout.splitlines())
    return {name: (pairs, skipped) for name, pairs, skipped in lines}


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_shape_on_the_hub_is_read_by_its_section_alone(read_from_hub, name):
    _, _, expected, read, skipped = SHAPES[name]
    pairs, left_out = read_from_hub[name]
    prompt, *completions = pairs[0]
    turns = prompt if isinstance(prompt, str) else tuple(map(tuple, prompt))
    assert GivenPair(turns, *completions) == expected
    assert (len(pairs), left_out) == (read, skipped)


def write(path: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    kind = path.suffixes[0]
    if kind == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue()
    elif kind == ".json":
        content = json.dumps(rows)
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows)
    data = content.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


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
