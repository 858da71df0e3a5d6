"""Wrong files between stages: the stage, what is wrong, and the line that it ends in.

A `…` in a line stands for anything.
"""

from tests.support.damage import (
    both,
    content,
    cut,
    field,
    folder,
    gone,
    kept,
    line,
    recoded,
    records,
    repeated,
)

PROMPTS, GENERATIONS, SCORES = "data/prompts.jsonl", "data/generations.jsonl", "data/scores.jsonl"
PAIRS, TRAIN, TEST = "data/pairs.jsonl", "data/train.jsonl", "data/test.jsonl"
REBUILD = "; correct the line or rebuild with `dvc repro`"
READERS = [
    ("generate", PROMPTS),
    ("score", GENERATIONS),
    ("pair", SCORES),
    ("split", PAIRS),
    ("train", TRAIN),
    ("evaluate", TEST),
]


def wrong(stage: str, name: str, number: int, key: str, value, problem: str):
    """A case with the value at a dotted key of a line replaced, or removed by `...`."""
    return stage, field(name, number, key, value), f"{name}:{number}: {problem}{REBUILD}"


def equal_rewards(rows: list[dict]) -> None:
    for row in rows:
        for completion in row["completions"]:
            completion["reward"] = 0.5


CASES = [
    *(
        case
        for stage, name in READERS
        for case in [
            (stage, gone(name), f"{name}: missing; run `dvc repro` to rebuild it"),
            (stage, content(name, ""), f"{name}: empty; run `dvc repro` to rebuild…"),
            (stage, cut(name, -20), f"{name}:…: cut short; run `dvc repro`…"),
            (stage, folder(name), f"{name}: can't be read (Is a directory); run…"),
        ]
    ),
    *(
        (stage, gone("dvc.yaml"), "dvc.yaml: missing; run from the folder that holds it")
        for stage in ("generate", "train", "evaluate")
    ),
    ("train", content("dvc.yaml", "stages: ["), "dvc.yaml: not YAML: …"),
    *(
        (
            "train",
            content("dvc.yaml", f"stages: {value}\n"),
            "dvc.yaml: stages.train is no section of keys; restore it from Git (`git restore"
            " dvc.yaml`)",
        )
        for value in ("[train]", "{train: python3}")
    ),
    ("generate", recoded(PROMPTS, "utf-16"), f"{PROMPTS}:1: not JSON: …{REBUILD}"),
    ("pair", recoded(SCORES, "utf-16-le"), f"{SCORES}:1: not JSON: …{REBUILD}"),
    ("score", line(GENERATIONS, 3, "nothing"), f"{GENERATIONS}:3: not JSON: …{REBUILD}"),
    ("split", line(PAIRS, 2, ""), f"{PAIRS}:2: not JSON: …{REBUILD}"),
    ("train", line(TRAIN, 2, "[1, 2]"), f"{TRAIN}:2: must be an object{REBUILD}"),
    ("evaluate", line(TEST, 1, "<" * 10**6), f"{TEST}:1: not JSON: …{REBUILD}"),
    # fields
    wrong("generate", PROMPTS, 1, "role", ..., "role: missing; add it"),
    wrong("score", GENERATIONS, 2, "completions", ..., "completions: missing; add it"),
    wrong("pair", SCORES, 2, "completions.1.reward", ..., "completions[1].reward: missing; add it"),
    wrong("split", PAIRS, 2, "chosen_ids", ..., "chosen_ids: missing; add it"),
    wrong("train", TRAIN, 5, "ref_chosen_logp", ..., "ref_chosen_logp: missing; add it"),
    wrong(
        "generate",
        PROMPTS,
        2,
        "promt",
        "a",
        "promt: unknown key; remove it or correct its spelling",
    ),
    wrong(
        "generate",
        PROMPTS,
        2,
        "role",
        "dev",
        "role = 'dev': must be 'train', 'test' or 'heldout'",
    ),
    wrong("generate", PROMPTS, 3, "prompt", "", "prompt = '': must have at least 1 character"),
    wrong("generate", PROMPTS, 3, "id", "3", "id = '3': must be a whole number"),
    wrong("split", PAIRS, 1, "id", -1, "id = -1: must be at least 0"),
    # numbers that are none
    wrong(
        "pair",
        SCORES,
        1,
        "completions.0.reward",
        float("nan"),
        "completions[0].reward = nan: must be a finite number",
    ),
    wrong(
        "score",
        GENERATIONS,
        1,
        "completions.0.ref_logp",
        float("-inf"),
        "completions[0].ref_logp = -inf: must be a finite number",
    ),
    wrong(
        "train",
        TRAIN,
        1,
        "ref_rejected_logp",
        float("nan"),
        "ref_rejected_logp = nan: must be a finite number",
    ),
    wrong(
        "train",
        TRAIN,
        1,
        "ref_chosen_logp",
        5.0,
        "ref_chosen_logp = 5.0: must be at most 0.001",
    ),
    # token ids
    wrong(
        "score",
        GENERATIONS,
        1,
        "completions.0.ids",
        [],
        "completions[0].ids = []: must have at least 1 item",
    ),
    wrong("train", TRAIN, 1, "chosen_ids", [], "chosen_ids = []: must have at least 1 item"),
    wrong("train", TRAIN, 1, "chosen_ids", [-1], "chosen_ids[0] = -1: must be at least 0"),
    wrong(
        "train",
        TRAIN,
        2,
        "rejected_ids",
        [5, 400],
        "rejected_ids has 400, but models/reference has the ids 0 to 399",
    ),
    wrong(
        "train",
        TEST,
        2,
        "prompt_ids",
        [10**12],
        "prompt_ids has 1000000000000, but models/reference has the ids 0 to 399",
    ),
    wrong(
        "evaluate",
        TEST,
        2,
        "chosen_ids",
        [400],
        "chosen_ids has 400, but models/reference has the ids 0 to 399",
    ),
    wrong(
        "evaluate",
        SCORES,
        12,
        "prompt_ids",
        [400],
        "prompt_ids has 400, but models/reference has the ids 0 to 399",
    ),
    wrong(
        "train",
        TRAIN,
        1,
        "rejected_ids",
        [5] * 256,
        "prompt_ids and rejected_ids are … tokens, but models/reference has 256 positions",
    ),
    # what does not fit together
    *(
        (stage, repeated(name, 2), f"{name}:19: id = … stands in line 2 already;…")
        for stage, name in [
            ("generate", PROMPTS),
            ("score", GENERATIONS),
            ("pair", SCORES),
            ("split", PROMPTS),
            ("evaluate", SCORES),
        ]
    ),
    (
        "split",
        field(PAIRS, 4, "id", 10**20),
        f"{PAIRS}:4: id = 100000000000000000000 is no train or test prompt of {PROMPTS};"
        " rebuild both with `dvc repro`",
    ),
    (
        "pair",
        records(SCORES, equal_rewards),
        f"{SCORES}: no two completions of a training prompt differ in reward, so there is no pair;"
        " raise generate.train.completions or temperature",
    ),
    (
        "pair",
        records(SCORES, lambda rows: rows[0]["completions"].pop()),
        "pair.ranks has [1, 6], but prompt … has 5 completions; lower the rank or raise"
        " generate.train.completions",
    ),
    (
        "pair",
        kept(SCORES, *range(11, 19)),
        f"{SCORES}: no training prompt; raise prepare.train_prompts",
    ),
    ("generate", kept(PROMPTS, 1), f"{PROMPTS}: no heldout prompt; rebuild it with `dvc repro`"),
    ("generate", kept(PROMPTS, 18), f"{PROMPTS}: no train prompt; rebuild it with `dvc repro`"),
    (
        "split",
        kept(PAIRS, 1),
        "split.test_size = 0.2: of 1 prompts with pairs it leaves none to train or none to test on;"
        " change it or raise prepare.train_prompts",
    ),
    (
        "evaluate",
        kept(SCORES, *range(1, 11)),
        f"{SCORES}: no heldout prompt; rebuild the file with `dvc repro`",
    ),
    (
        "evaluate",
        field(SCORES, 13, "completions.1.judge", ...),
        f"{SCORES}:13: completions[1].judge: missing; rebuild the file with `dvc repro`",
    ),
    (
        "evaluate",
        records(SCORES, lambda rows: rows[13]["completions"].pop()),
        f"{SCORES}:14: 3 completions, but 4 in line 11; rebuild the file with `dvc repro`",
    ),
    (
        "pair",
        both(field(SCORES, 1, "given", [[0, 9]])),
        f"{SCORES}:1: given has place 9 of 6 completions{REBUILD}",
    ),
]
