"""Wrong models: the stage, what is wrong, and the line that it ends in.

A `…` in a line stands for anything.
"""

import numpy as np

from tests.support.damage import both, content, cut, gone, renamed, setting, tensor

REFERENCE, REWARD, JUDGE, POLICY = (
    f"models/{name}" for name in ("reference", "reward", "judge", "policy")
)
WEIGHTS, CONFIG = f"{REFERENCE}/model.safetensors", f"{REFERENCE}/config.json"
TOKENIZER = f"{REFERENCE}/tokenizer.json"
RIDGE, SCORER = f"{REWARD}/weights.safetensors", f"{REWARD}/scorer.json"
HEAD, ENCODER = f"{JUDGE}/head.safetensors", f"{JUDGE}/model.safetensors"
ADAPTER, ADAPTER_CONFIG = f"{POLICY}/adapter_model.safetensors", f"{POLICY}/adapter_config.json"
REBUILD = "; run `dvc repro` to rebuild it"
RETRAIN = "; run `dvc repro --force --single-item train` to train it again"
PREPARE = "; rebuild it with `dvc repro --force prepare`"
EMBEDDING, KEYS = "model.embed_tokens.weight", "model.layers.1.self_attn.k_proj.weight"
LORA = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"


def not_finite(weights: np.ndarray) -> np.ndarray:
    return np.full_like(weights, np.nan)


CASES = [
    # the reference
    ("generate", gone(WEIGHTS), f"{WEIGHTS}: missing{REBUILD}"),
    (
        "train",
        renamed(WEIGHTS, f"{REFERENCE}/pytorch_model.bin"),
        f"{WEIGHTS}: missing, and pickled weights (pytorch_model.bin) are never loaded{REBUILD}",
    ),
    ("generate", cut(WEIGHTS, 1000), f"{REFERENCE}: no readable causal LM (…){REBUILD}"),
    ("train", cut(WEIGHTS, -1), f"{REFERENCE}: no readable causal LM (…){REBUILD}"),
    ("evaluate", cut(WEIGHTS, 0), f"{REFERENCE}: no readable causal LM (…){REBUILD}"),
    ("generate", content(WEIGHTS, b"\x80\x04pickle"), f"{REFERENCE}: no readable causal LM (…)…"),
    (
        "generate",
        tensor(WEIGHTS, KEYS, lambda weights: None),
        f"{REFERENCE}: no weights for {KEYS}{REBUILD}",
    ),
    (
        "train",
        tensor(WEIGHTS, KEYS, lambda weights: weights[1:]),
        f"{REFERENCE}: no readable causal LM (…){REBUILD}",
    ),
    (
        "generate",
        tensor(WEIGHTS, KEYS, not_finite),
        f"{REFERENCE}: {KEYS} holds a value that is not finite{REBUILD}",
    ),
    ("generate", gone(CONFIG), f"{REFERENCE}: no readable …{REBUILD}"),
    ("generate", cut(CONFIG, 100), f"{REFERENCE}: no readable …{REBUILD}"),
    ("generate", content(CONFIG, "[]"), f"{REFERENCE}: no readable …{REBUILD}"),
    ("train", setting(CONFIG, "model_type", "t5"), f"{REFERENCE}: no readable causal LM (…)…"),
    ("train", setting(CONFIG, "model_type", "bert"), f"{REFERENCE}: no …"),
    ("generate", setting(CONFIG, "model_type", "lama"), f"{REFERENCE}: no readable …"),
    ("generate", setting(CONFIG, "hidden_size", 48), f"{REFERENCE}: no readable causal LM (…)…"),
    ("generate", setting(CONFIG, "hidden_size", "many"), f"{REFERENCE}: no readable …"),
    ("generate", setting(CONFIG, "num_hidden_layers", 3), f"{REFERENCE}: no weights for …"),
    # code of the folder's own, which would leave a file behind
    (
        "generate",
        both(
            content(f"{REFERENCE}/modeling.py", "open('intruded', 'w').close()"),
            setting(CONFIG, "auto_map", {"AutoModelForCausalLM": "modeling.Model"}),
            setting(CONFIG, "model_type", "own"),
        ),
        f"{REFERENCE}: no readable …",
    ),
    ("generate", gone(TOKENIZER), f"{REFERENCE}: no readable tokenizer (…){REBUILD}"),
    ("train", cut(TOKENIZER, 2000), f"{REFERENCE}: no readable tokenizer (…){REBUILD}"),
    ("evaluate", content(TOKENIZER, "{}"), f"{REFERENCE}: no readable tokenizer (…){REBUILD}"),
    (
        "generate",
        setting(TOKENIZER, "model.vocab.more", 400),
        f"{REFERENCE}: the tokenizer has 401 ids, the model 400; use the tokenizer that the model"
        " was trained with",
    ),
    (
        "train",
        setting(TOKENIZER, "model.vocab.more", 400),
        f"{REFERENCE}: the tokenizer has 401 ids, the model 400; use the tokenizer that the model"
        " was trained with",
    ),
    # the reward model and the judge
    ("score", gone(SCORER), f"{SCORER}: missing; run `dvc repro` to rebuild it"),
    ("score", cut(SCORER, 30), f"{SCORER}: not JSON (…); run `dvc repro` to rebuild it"),
    (
        "score",
        content(SCORER, "[]"),
        f"{SCORER}: kind = None: must be ridge, embedding, classifier…",
    ),
    (
        "score",
        setting(SCORER, "kind", "oracle"),
        f"{SCORER}: kind = 'oracle': must be ridge, embedding, classifier or python; run…",
    ),
    (
        "score",
        setting(SCORER, "intercept", float("nan")),
        f"{SCORER}: intercept = nan: must be a finite number{PREPARE}",
    ),
    (
        "score",
        setting(SCORER, "features.buckets", 4096),
        f"{SCORER}: features …{PREPARE}",
    ),
    ("score", gone(RIDGE), f"{RIDGE}: …{PREPARE}"),
    ("evaluate", cut(RIDGE, -1), f"{RIDGE}: …{PREPARE}"),
    ("score", tensor(RIDGE, "words", lambda words: None), f"{RIDGE}: …words…{PREPARE}"),
    ("score", tensor(RIDGE, "words", lambda words: words[1:]), f"{RIDGE}: shapes …{PREPARE}"),
    ("score", tensor(RIDGE, "words", not_finite), f"{RIDGE}: …not finite{PREPARE}"),
    (
        "score",
        setting(SCORER, "kind", "classifier"),
        f"{REWARD}/model.safetensors: missing; run `dvc repro` to rebuild it",
    ),
    (
        "score",
        content(f"{JUDGE}/scorer.json", '{"kind": "embedding"}'),
        f"{JUDGE}/scorer.json: fitted_texts: missing…{PREPARE}",
    ),
    (
        "score",
        setting(f"{JUDGE}/scorer.json", "intercept", float("nan")),
        f"{JUDGE}/scorer.json: intercept = nan: must be a finite number{PREPARE}",
    ),
    ("score", gone(HEAD), f"{HEAD}: …{PREPARE}"),
    ("evaluate", cut(HEAD, -1), f"{HEAD}: …{PREPARE}"),
    (
        "evaluate",
        tensor(HEAD, "weights", lambda weights: weights[1:]),
        f"{HEAD}: must hold 32 finite weights, not shape (31,){PREPARE}",
    ),
    ("score", tensor(HEAD, "weights", not_finite), f"{HEAD}: must hold 32 finite…{PREPARE}"),
    ("evaluate", gone(ENCODER), f"{ENCODER}: missing{PREPARE}"),
    (
        "score",
        renamed(ENCODER, f"{JUDGE}/pytorch_model.bin"),
        f"{ENCODER}: missing, and pickled weights (pytorch_model.bin) are never loaded{PREPARE}",
    ),
    (
        "score",
        cut(ENCODER, -1),
        f"{JUDGE}: can't be loaded as a sentence encoder (…){PREPARE}",
    ),
    (
        "evaluate",
        tensor(ENCODER, "embeddings.word_embeddings.weight", not_finite),
        f"{JUDGE}: embeddings.word_embeddings.weight holds a value that is not finite{PREPARE}",
    ),
    (
        "evaluate",
        tensor(ENCODER, "embeddings.LayerNorm.weight", lambda weights: None),
        f"{JUDGE}: no weights for embeddings.LayerNorm.weight{PREPARE}",
    ),
    (
        "score",
        gone(f"{JUDGE}/tokenizer.json"),
        f"{JUDGE}: can't be loaded as a sentence encoder (…){PREPARE}",
    ),
    # the policy
    ("evaluate", gone(ADAPTER), f"{ADAPTER}: missing{RETRAIN}"),
    (
        "evaluate",
        renamed(ADAPTER, f"{POLICY}/adapter_model.bin"),
        f"{ADAPTER}: missing, and pickled weights (adapter_model.bin) are never loaded{RETRAIN}",
    ),
    ("evaluate", cut(ADAPTER, -1), f"{POLICY}: not an adapter of {REFERENCE} (…){RETRAIN}"),
    (
        "evaluate",
        tensor(ADAPTER, LORA, lambda weights: None),
        f"{POLICY}: not an adapter of {REFERENCE} (…{LORA.removesuffix('.weight')}…){RETRAIN}",
    ),
    (
        "evaluate",
        tensor(ADAPTER, LORA, lambda weights: weights[1:]),
        f"{POLICY}: not an adapter of {REFERENCE} (…){RETRAIN}",
    ),
    (
        "evaluate",
        tensor(ADAPTER, LORA, not_finite),
        f"{POLICY}: … holds a value that is not finite{RETRAIN}",
    ),
    ("evaluate", gone(ADAPTER_CONFIG), f"{ADAPTER_CONFIG}: missing; run `dvc repro` to rebuild it"),
    ("evaluate", cut(ADAPTER_CONFIG, 90), f"{ADAPTER_CONFIG}: not JSON (…); run `dvc repro` to…"),
    (
        "evaluate",
        setting(ADAPTER_CONFIG, "peft_type", "LOHA"),
        f"{ADAPTER_CONFIG}: peft_type = 'LOHA': must be LORA{RETRAIN}",
    ),
    (
        "evaluate",
        setting(ADAPTER_CONFIG, "target_modules", ["c_attn"]),
        f"{POLICY}: not an adapter of {REFERENCE} (…){RETRAIN}",
    ),
    (
        "evaluate",
        setting(ADAPTER_CONFIG, "r", "8"),
        f"{POLICY}: not an adapter of {REFERENCE} (…){RETRAIN}",
    ),
]
