"""fdpo.scoring.classifier, with Transformers' own text-classification pipeline as the oracle."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, pipeline

from fdpo.core.errors import UserError
from fdpo.scoring import classifier
from fdpo.scoring.loading import load_scorer
from tests.support import hub_repos

TEXTS = [
    "The movie was great",
    "",
    "The plot felt dull, the ending cool. " * 40,  # longer than the models read
    "The cast",
    *hub_repos.sentences(40, "texts"),  # so that there is more than one batch
]


@pytest.fixture(scope="module", params=["distilbert", "roberta"])
def folder(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifiers") / request.param
    getattr(hub_repos, request.param)(folder)
    classifier.write_settings(folder, "POSITIVE", "cut")
    return folder


def test_the_score_is_the_logit_of_the_class(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=64)
    oracle = pipeline("text-classification", str(folder), tokenizer=tokenizer, device="cpu")
    answers = oracle(TEXTS, top_k=None, function_to_apply="none", truncation=True)
    expected = [next(a["score"] for a in answer if a["label"] == "POSITIVE") for answer in answers]
    scores = load_scorer(folder).score(TEXTS)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(scores) > 0.5


def test_a_score_depends_on_its_text_alone(folder):
    scorer = classifier.load(folder)
    scores = scorer.score(TEXTS)
    np.testing.assert_array_equal(scores, scorer.score(TEXTS))
    np.testing.assert_allclose(scores[::-1], scorer.score(TEXTS[::-1]), atol=1e-5)
    np.testing.assert_allclose(scores[2], scorer.score([TEXTS[2]])[0], atol=1e-5)
    assert scorer.score([]).shape == (0,)


def test_token_ids_are_whole_and_hold_the_special_ones(folder):
    scorer = classifier.load(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = scorer.token_ids(TEXTS)
    assert ids == [tokenizer.encode(text) for text in TEXTS]
    assert len(ids[1]) == 2
    assert len(ids[2]) > scorer.max_length == 64
    assert scorer.token_ids([]) == []


def test_a_class_is_named_or_numbered(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    named = classifier.load(copy).score(TEXTS)
    classifier.write_settings(copy, 1, "cut")
    assert json.loads((copy / "scorer.json").read_text()) == {
        "kind": "classifier",
        "label": 1,
        "too_long": "cut",
    }
    np.testing.assert_array_equal(classifier.load(copy).score(TEXTS), named)
    classifier.write_settings(copy, "NEGATIVE", "cut")
    assert not np.allclose(classifier.load(copy).score(TEXTS), named)


@pytest.mark.parametrize("label", ["positive", 2, -1, True, None])
def test_an_unknown_class_is_refused(folder, label):
    with pytest.raises(UserError, match=r"label = .*choose one of NEGATIVE \(0\), POSITIVE \(1\)"):
        classifier.write_settings(folder, label, "cut")
    assert json.loads((folder / "scorer.json").read_text())["label"] == "POSITIVE"


def test_a_model_without_a_classification_head_is_refused(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    head = {name: tensor for name, tensor in weights.items() if "classifier" not in name}
    save_file(head, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"no weights for .*classifier"):
        classifier.load(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "scorer.json"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_folder_is_named(folder, tmp_path, name, damage):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    content = (copy / name).read_bytes()
    (copy / name).unlink()
    if damage == "cut":
        (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{copy}.*run `dvc repro`"):
        classifier.load(copy)
