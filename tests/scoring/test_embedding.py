"""fdpo.scoring.embedding, with Transformers' padded forward and closed-form ridge as oracles."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertModel

from fdpo.scoring import embedding
from fdpo.scoring.quality import RatedTexts
from tests.support.embedded_fakes import ENCODER_WIDTH, rated_snippets, write_encoder

RATINGS, TEXTS = map(list, zip(*rated_snippets(120), strict=True))
FITTED, CHECK = RatedTexts(TEXTS[:100], RATINGS[:100]), RatedTexts(TEXTS[100:], RATINGS[100:])


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_encoder(tmp_path / "judge", TEXTS)


@pytest.fixture
def judge(folder) -> embedding.EmbeddingJudge:
    return embedding.fit_judge(folder, FITTED, CHECK, seed=0)


def pooled(folder: Path, texts: list[str]) -> np.ndarray:
    """Mean pooling over the attention mask of one padded batch, as the model's card writes it."""
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = BertModel.from_pretrained(folder).eval()(**batch).last_hidden_state
    mask = batch.attention_mask.unsqueeze(-1).float()
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1).numpy()


def test_the_fit_is_ridge_on_masked_mean_embeddings_in_closed_form(folder, judge):

    design, rated = pooled(folder, TEXTS), np.array(RATINGS)
    fitted = design[:100] - design[:100].mean(axis=0)
    weights = np.linalg.solve(
        fitted.T @ fitted + embedding.HEAD_PENALTY * np.eye(ENCODER_WIDTH),
        fitted.T @ (rated[:100] - rated[:100].mean()),
    )
    expected = rated[:100].mean() + (design - design[:100].mean(axis=0)) @ weights
    np.testing.assert_allclose(judge.score(TEXTS), expected, atol=1e-4)
    assert judge.settings.fitted_texts == 100


def test_a_score_has_the_same_bits_alone_and_in_any_order(folder, judge):

    scores = judge.score(TEXTS)

    assert scores.dtype == np.float64
    assert judge.score(TEXTS[::-1]).tolist() == scores[::-1].tolist()
    assert [judge.score([text])[0] for text in TEXTS] == scores.tolist()
    assert judge.score([]).shape == (0,)


def test_a_saved_judge_scores_the_same_and_equal_fits_give_equal_bytes(folder, judge):
    judge.save(folder)
    names = ("scorer.json", embedding.HEAD_FILE)
    first = [(folder / name).read_bytes() for name in names]
    assert embedding.load(folder).score(TEXTS).tolist() == judge.score(TEXTS).tolist()

    embedding.fit_judge(folder, FITTED, CHECK, seed=0).save(folder)

    assert [(folder / name).read_bytes() for name in names] == first


def test_a_text_beyond_the_encoders_length_is_cut_as_its_tokenizer_cuts_and_counted(folder, judge):
    long = "the plot is dull " * 200
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cut = tokenizer(long, truncation=True, max_length=embedding.MAX_LENGTH).input_ids

    score = judge.score([long])[0]

    assert judge.texts_cut == 1
    expected = judge.settings.intercept + judge.encoder.embeddings([cut])[0] @ judge.weights
    assert score == pytest.approx(expected, abs=1e-12)
