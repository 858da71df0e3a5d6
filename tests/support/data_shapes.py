"""The formats in which people publish preferences.

Each is a small made-up dataset with the columns of the one that it is named after, on the Hub's
stand-in or in a local file, read by its section of a study alone.
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
import yaml

from fdpo.sources.pair_formats import GivenPair

Row = dict[str, Any]


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


CHAT = GivenPair((("user", "Why?"),), "Because.", "No.")
TEXT = GivenPair("Why?", "Because.", "No.")
ANSWERS = {
    "chosen": [user("Why?"), assistant("Because.")],
    "rejected": [user("Why?"), assistant("No.")],
}
DIALOGUE = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant:"
BAD_CHAT = {"chosen": [assistant("a")], "rejected": [assistant("a")]}
SPLITS = "splits: {train: train_prefs, test: test_prefs}\n"


def either(first: str, second: str, **columns: Any) -> list[Row]:
    """Two rows with the same two texts, exchanged in the second, and what else each has."""
    return [
        {first: "Because.", second: "No."} | {name: values[0] for name, values in columns.items()},
        {first: "No.", second: "Because."} | {name: values[1] for name, values in columns.items()},
    ]


# name: (rows, section, the first pair, rows read, rows skipped)
SHAPES: dict[str, tuple[list[Row], str, GivenPair, int, int]] = {
    "HuggingFaceH4/ultrafeedback_binarized": (
        [
            {"prompt": "Why?", "prompt_id": "a", **ANSWERS, "messages": ANSWERS["chosen"]},
            {"prompt": "Why?", "prompt_id": "b", **BAD_CHAT, "messages": []},
        ],
        f"{SPLITS}columns: {{prompt: null}}\nbad_rows: skip",
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
        either("human_ref_A", "human_ref_B", history=("Why?", "Why?"), labels=(1, 0)),
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
            {"question": "Why?", "good": "Because.", "bad": bad, "stars": stars}
            for bad, stars in (("No.", 5), ("", 5), ("Eh.", 1))
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


def write(path: Path, rows: list[Row]) -> dict[str, str]:
    """A file of rows, in the format that its name says; its section, pinned."""
    kind = path.suffixes[0]
    if kind == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
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
