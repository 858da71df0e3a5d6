"""Made-up preferences with the columns of well-known datasets.

Each is read, on the Hub's stand-in or in a local file, by its section of a study alone.
"""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas
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
    if ".parquet" in path.suffixes:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        text = {
            ".csv": lambda: pandas.DataFrame(rows).to_csv(index=False),
            ".json": lambda: json.dumps(rows),
            ".jsonl": lambda: "".join(json.dumps(row) + "\n" for row in rows),
        }[path.suffixes[0]]()
        data = text.encode()
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
