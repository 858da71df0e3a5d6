"""A text's score, alone and in any batch, for every kind of classifier and tokenizer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fdpo.config.sources import Classifier
from fdpo.core.errors import UserError
from fdpo.scoring import classifier
from tests.support import tiny_classifiers
from tests.support.tiny_classifiers import CONFIGS, POSITIONS, Variant

TEXTS = [
    "the film was great",
    "the plot was dull",
    "a bore",
    "no sense",
    "its cast made no sense and the plot was bad . a bore , but good",
    "good",
    "the film was great",
    "great was film the",
]
VARIANTS = [
    Variant("none", "right", "right", 1),
    Variant("end of text", "left", "left", 1),
    Variant("own", "left", "right", 2),
]


def build(folder: Path, family: str, variant: Variant, too_long="cut", end="given", **more) -> Path:
    tiny_classifiers.build(folder, family, variant, **more)
    section = Classifier(path="reward", label=variant.classes - 1, too_long=too_long, end=end)
    classifier.write(folder, section)
    return folder


def plain_score(folder: Path, text: str, label: int) -> float:
    """What Transformers alone computes of one unpadded text."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    inputs.pop("token_type_ids", None)  # all zero, and not every family takes them
    with torch.inference_mode():
        return model(**inputs).logits[0, label].item()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.padding}, {v.padding_side}")
@pytest.mark.parametrize("family", CONFIGS)
def test_a_score_is_that_of_the_text_alone(family, variant, tmp_path):
    folder = build(tmp_path, family, variant)
    scorer = classifier.load(folder)
    scores = scorer.score(TEXTS)
    plain = [plain_score(folder, text, variant.classes - 1) for text in TEXTS]
    np.testing.assert_allclose(scores, plain, atol=2e-5, rtol=1e-5)
    one_by_one = [scorer.score([text])[0] for text in TEXTS]
    np.testing.assert_allclose(scores, one_by_one, atol=2e-5, rtol=1e-5)
    assert scores[0] == scores[6]  # equal texts, exactly
    assert np.ptp(scores) > 0.01
    assert scorer.texts_cut == 0


# Rows of the table of positions that a text can't use: those up to the padding's own.
TAKEN = dict.fromkeys(["roberta", "camembert", "xlm-roberta", "mpnet", "longformer"], 2)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_text_may_be_as_long_as_the_model_reads_and_is_cut_at_its_end(family, tmp_path):
    folder = build(tmp_path, family, VARIANTS[1])
    scorer = classifier.load(folder)
    assert scorer.max_length == POSITIONS - TAKEN.get(family, 0)
    words = (" ".join(tiny_classifiers.WORDS) + " ") * 4
    ids = scorer.token_ids([words])[0]
    long, longer = words + "good", words + "bad bad bad"
    assert len(ids) > scorer.max_length
    first, second = scorer.score([long, longer])
    assert np.isfinite(first)
    assert first == second
    assert scorer.texts_cut == 2
    fitting = " ".join(words.split()[: scorer.max_length - 2])
    assert scorer.score([fitting])[0] == pytest.approx(first, abs=1e-5)
    assert scorer.texts_cut == 2


def test_texts_that_are_too_long_or_have_no_token_are_named(tmp_path):
    scorer = classifier.load(build(tmp_path, "gpt2", VARIANTS[0], too_long="refuse"))
    assert scorer.score(["the film " * 19]).shape == (1,)
    with pytest.raises(UserError, match=r"'the film .*has 62 tokens and the model reads 40; lower"):
        scorer.score(["good", "the film " * 30])
    scorer.tokenizer.backend_tokenizer.post_processor = None
    with pytest.raises(UserError, match="the text '' has no tokens to score"):
        scorer.score(["good", ""])


@pytest.mark.parametrize("padding", ["own", "end of text", "none"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_the_end_of_text_is_put_behind_texts_as_trl_does(family, padding, tmp_path):
    """Where the tokenizer ends no text; without effect where the padding is the same token."""
    variant = Variant(padding, "right", "right", 1)
    folders = {end: tmp_path / end for end in ("given", "append")}
    given, appended = (
        classifier.load(build(folder, family, variant, end=end, appends_end=False))
        for end, folder in folders.items()
    )

    def plain(texts):
        return [plain_score(folders["given"], text, 0) for text in texts]

    np.testing.assert_allclose(given.score(TEXTS), plain(TEXTS), atol=2e-5)
    # The last is cut: <s> and </s> are two of its 40 tokens.
    ended = [*(f"{text}</s>" for text in TEXTS), "good </s>", "the film " * 19 + "</s>"]
    scores = appended.score([*TEXTS, "good </s>", "the film " * 30])
    np.testing.assert_allclose(scores, plain(ended), atol=2e-5)
    same = np.allclose(given.score(TEXTS), scores[: len(TEXTS)], atol=2e-5)
    assert same == (padding == "end of text")
    ends_itself = build(tmp_path / "itself", family, variant, end="append")
    assert classifier.load(ends_itself).settings.end == "given"


def test_a_model_whose_score_depends_on_the_batch_is_refused(tmp_path):
    scorer = classifier.load(build(tmp_path, "bert", VARIANTS[2]))
    classifier.require_steady(scorer)
    scorer.model.classifier.register_forward_hook(lambda _, inputs, out: out - out.mean(0))
    with pytest.raises(UserError, match=r"a text's score alone and beside another differ by \d"):
        classifier.require_steady(scorer)
