"""The n-gram reward model: what it computes, how it is kept, and what loading refuses."""

import json
from zlib import crc32

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.stats import spearmanr

from fdpo.core.errors import UserError
from fdpo.core.randomness import stream
from fdpo.scoring import ngrams, ridge
from fdpo.scoring.loading import load_scorer
from fdpo.scoring.quality import FitQuality, RatedTexts, measure
from tests.support.embedded_fakes import BAD, GOOD, rated_snippets

RATINGS, TEXTS = map(list, zip(*rated_snippets(400), strict=True))
HELDOUT_ROWS, FITTED_ROWS = np.split(stream(0, "reward").permutation(400), [40])


def rated_texts(rows: np.ndarray) -> RatedTexts:
    return RatedTexts([TEXTS[row] for row in rows], [RATINGS[row] for row in rows])


FITTED, CHECK = rated_texts(FITTED_ROWS), rated_texts(HELDOUT_ROWS)


@pytest.fixture(scope="module")
def reward() -> ridge.RidgeReward:
    return ridge.fit(FITTED, CHECK, seed=0)


def buckets(grams: list[str]) -> list[int]:
    return sorted({crc32(gram.encode()) % ngrams.BUCKETS for gram in grams})


def test_ngrams_of_a_text_listed_by_hand():
    words = ["it's", "good", "!", "it's good", "good !"]
    characters = [" it'", "it's", "t's ", " it's", "it's ", " it's ", " goo", "good", "ood "]
    characters += [" good", "good ", " good "]

    assert ngrams.word_features("It's good!").tolist() == buckets(words)
    assert ngrams.character_features("It's good!").tolist() == buckets(characters)


def test_a_score_worked_by_hand():
    # Four distinct word features (good, film, "good good", "good film"), so 3 / sqrt(4); twelve
    # distinct character features, six of "good" and six of "film", so 2 / sqrt(12).
    words, characters = np.zeros((2, ngrams.BUCKETS), dtype=np.float32)
    words[buckets(["good"])] = 3
    characters[buckets([" film "])] = 2
    none = (0.0, 0.0)
    quality = FitQuality(
        texts=1,
        spearman=0.0,
        spearman_interval=none,
        sign_agreement=0.0,
        sign_agreement_interval=none,
    )
    settings = ridge.RidgeSettings(fitted_texts=9, heldout=quality, intercept=-0.5)

    scores = ridge.RidgeReward(words, characters, settings).score(["good good film", "", "plot"])

    assert scores == pytest.approx([-0.5 + 3 / 2 + 2 / 12**0.5, -0.5, -0.5])


def test_the_reward_predicts_ratings_it_has_not_seen(reward):
    assert reward.settings.fitted_texts == 360
    assert reward.settings.heldout.texts == 40
    assert reward.settings.heldout.spearman > 0.7
    good = reward.score([f"The plot is so {word}" for word in GOOD])
    bad = reward.score([f"The plot is so {word}" for word in BAD])
    assert good.min() > bad.max()


def test_the_fit_is_ridge_regression_in_closed_form(reward):
    """The dual solution, from inner products of the texts' features alone."""
    kinds = (ngrams.word_features, ngrams.character_features)
    features = [[set(kind(text).tolist()) for kind in kinds] for text in TEXTS]

    def inner(first: list[set[int]], second: list[set[int]]) -> float:
        pairs = zip(first, second, strict=True)
        return sum(len(a & b) / (len(a) * len(b)) ** 0.5 for a, b in pairs)

    gram = np.array([[inner(first, second) for second in features] for first in features])
    fitted, heldout = FITTED_ROWS, HELDOUT_ROWS
    inside, rated = gram[np.ix_(fitted, fitted)], np.array(RATINGS)
    centre = np.eye(360) - 1 / 360
    mean = rated[fitted].mean()
    dual = np.linalg.solve(centre @ inside @ centre + np.eye(360), rated[fitted] - mean)
    expected = mean + (gram[:, fitted] - inside.mean(axis=0)) @ centre @ dual

    assert reward.score(TEXTS) == pytest.approx(expected, abs=1e-4)
    spearman = spearmanr(expected[heldout], rated[heldout]).statistic
    assert reward.settings.heldout.spearman == pytest.approx(spearman, abs=0.01)


def test_a_saved_reward_scores_the_same_and_equal_fits_give_equal_bytes(reward, tmp_path):
    reward.save(tmp_path / "first")
    ridge.fit(FITTED, CHECK, seed=0).save(tmp_path / "second")

    loaded = load_scorer(tmp_path / "first")
    assert loaded.score(TEXTS).tolist() == reward.score(TEXTS).tolist()
    assert loaded.settings == reward.settings
    for name in ("scorer.json", "weights.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_quality_is_of_all_texts_and_its_intervals_are_those_of_a_textbook():
    """Of many texts: Fisher's for the correlation (with Fieller's variance), Wald's for a share."""
    draw = np.random.default_rng(0)
    rated = draw.normal(size=2000)
    predicted = rated + draw.normal(size=2000)

    quality = measure(predicted, rated, seed=0)

    right = (predicted > 0) == (rated > 0)
    assert quality.texts == 2000
    assert quality.spearman == pytest.approx(spearmanr(predicted, rated).statistic)
    assert quality.sign_agreement == right.mean()
    half = 1.96 * (1.06 / 1997) ** 0.5
    expected = np.tanh(np.arctanh(quality.spearman) + np.array([-half, half]))
    assert quality.spearman_interval == pytest.approx(expected, abs=0.01)
    half = 1.96 * (right.mean() * (1 - right.mean()) / 2000) ** 0.5
    expected = right.mean() + np.array([-half, half])
    assert quality.sign_agreement_interval == pytest.approx(expected, abs=0.005)


def test_too_few_texts_to_fit_name_the_keys():
    with pytest.raises(UserError, match=r"99 rated texts .* prepare\.train_prompts"):
        ridge.fit(RatedTexts(TEXTS[:99], RATINGS[:99]), CHECK, seed=0)


@pytest.mark.parametrize("settings", [{"kind": "oracle"}, {}, []])
def test_an_unknown_kind_is_refused(tmp_path, settings):
    with pytest.raises(UserError, match=r"scorer\.json: missing"):
        load_scorer(tmp_path)
    (tmp_path / "scorer.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"scorer\.json: kind = .* classifier or python"):
        load_scorer(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "missing", "shape", "tensor", "settings", "features"])
def test_a_damaged_reward_is_refused(reward, tmp_path, damage):
    reward.save(tmp_path)
    weights, settings = tmp_path / "weights.safetensors", tmp_path / "scorer.json"
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "missing":
            weights.unlink()
        case "shape":
            save_file({"words": reward.words[1:], "characters": reward.characters}, weights)
        case "tensor":
            save_file({"words": reward.words}, weights)
        case "settings":
            settings.write_text('{"kind": "ridge"}')
        case "features":
            settings.write_text(settings.read_text().replace(str(ngrams.BUCKETS), "4096"))

    with pytest.raises(UserError, match=r"(weights|scorer)\.\w+: .*rebuild it"):
        load_scorer(tmp_path)
