"""What evaluation puts together: each entry by hand on two or three prompts."""

import json

import numpy as np
import pytest
import torch

from fdpo.core.randomness import streams_of
from fdpo.core.records import ScoredCompletion, ScoredGeneration
from fdpo.decoding.sampling import Sampled
from fdpo.evaluation import metric_groups, outputs
from fdpo.evaluation.metric_groups import PairMeasures, Scores
from fdpo.evaluation.metric_registry import ALL_METRICS, MetricGroup
from fdpo.evaluation.metrics.divergence import TokenDivergences

STREAMS = streams_of(0)
SCORES = Scores(
    policy=np.array([[1.0, 3.0], [0.0, 0.0]]), reference=np.array([[1.0, 1.0], [0.0, -2.0]])
)
SAMPLES = [
    [Sampled([1, 2, 3, 0], True, -4.0), Sampled([1, 2], False, -3.0)],
    [Sampled([1, 2, 1, 2], False, -5.0), Sampled([4, 0], True, -2.0)],
]
CONTROL = np.array([[-1.0, 1.0], [0.5, -0.5]])
RATIOS = np.array([[0.0, -1.0], [-2.0, -1.0]])  # of the reference's samples
TEXTS = [[" a b c", " a b"], [" a b a b", " d"]]
PAIRS = PairMeasures(
    chosen_reward=np.array([1.0, 2.0, 0.0]),
    rejected_reward=np.array([0.0, 3.0, -2.0]),
    chosen_logp_change=np.array([0.5, -1.0, -1.0]),
    rejected_logp_change=np.array([-2.0, -3.0, -4.0]),
    loss_capped=np.array([0.5, 1.4, 0.2]),
    loss_reference=np.array([0.7, 0.7, 0.7]),
    prompts=np.array([7, 7, 9]),
)


def values(table: metric_groups.MetricTable) -> dict[str, float]:
    assert all(interval.low <= interval.value <= interval.high for interval in table.values())
    return {name: interval.value for name, interval in table.items()}


def tokens(*kl: float) -> TokenDivergences:
    """Divergences of one prompt's tokens; the others are multiples of the first."""
    column = torch.tensor(kl, dtype=torch.float64)
    return TokenDivergences(
        kl=column,
        forward_kl=2 * column,
        jsd=column / 4,
        entropy=column + 1,
        policy_logp=-column,
        reference_logp=-3 * column,
        control=column - 1,
    )


def whole_table() -> metric_groups.MetricTable:
    return {
        **metric_groups.score_metrics("reward", SCORES, CONTROL),
        **metric_groups.score_metrics("judge", SCORES, CONTROL),
        **metric_groups.divergence_metrics(
            SAMPLES, [tokens(*[0.5] * 6), tokens(*[0.25] * 6)], RATIOS
        ),
        **metric_groups.diversity_metrics(
            SAMPLES, TEXTS, [[[1], [2]], [[1], [1]]], 8, STREAMS, np.array([0.4, np.nan, 0.6])
        ),
        **metric_groups.preference_metrics(PAIRS, STREAMS),
    }


def test_scores_are_means_over_prompts_and_ties_win_half():
    assert values(metric_groups.score_metrics("reward", SCORES, CONTROL)) == {
        "reward": 1.0,
        "reward_reference": 0.0,
        "reward_difference": 1.0,
        # Every policy sample against every reference sample: (½+½+1+1)/4 and (½+1+½+1)/4.
        "reward_win_rate": 0.75,
        "reward_best": 1.5,
        # Slope (2 + 0) / 2.5 within prompts; the control's own mean is 0.
        "reward_difference_adjusted": 1.0,
    }


def test_the_control_takes_out_its_share_and_none_without_values():
    """By hand: slope 0.8 from (-1·1 + 1·3 + ½·0 - ½·0) / 2.5, control's mean ½ in prompt one."""
    control = np.array([[-0.5, 1.5], [0.5, -0.5]])
    assert metric_groups.control_slope(SCORES.policy, control) == pytest.approx(0.8)
    table = metric_groups.score_metrics("reward", SCORES, control)
    assert table["reward_difference_adjusted"].value == pytest.approx(1 - 0.8 * 0.25)
    assert "reward_difference_adjusted" not in metric_groups.score_metrics(
        "reward", SCORES, np.zeros((2, 2))
    )


def test_divergences_are_sums_over_tokens_and_means_over_samples():
    found = values(
        metric_groups.divergence_metrics(
            SAMPLES, [tokens(1, 1, 1, 1, 2, 2), tokens(0, 0, 0, 4, 1, 1)], RATIOS
        )
    )
    # Samples have 4 and 2 tokens: sums (4, 4) and (4, 2).
    assert found["kl"] == pytest.approx((4 + 3) / 2)
    assert found["kl_monte_carlo"] == pytest.approx(2 * (4 + 3) / 2)  # log π - log π_ref
    assert found["forward_kl_token_sum"] == pytest.approx(4 + 3)
    assert found["forward_kl"] == pytest.approx(1)  # of the means ½ and 3/2
    assert found["jsd_token_sum"] == pytest.approx((4 + 3) / 8)


def test_diversity_counts_tokens_of_completions():
    found = values(
        metric_groups.diversity_metrics(
            SAMPLES, TEXTS, [[[1], [2]], [[1], [1]]], 8, STREAMS, np.array([0.4, np.nan, 0.6])
        )
    )
    assert found["good_distance"] == 0.5  # of the prompts with two good samples
    assert found["length"] == 3.0
    assert found["finished"] == 0.5
    assert found["repeated_4grams"] == 0.0
    assert found["unigram_entropy"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert 0 < found["distinct_1"] < found["distinct_2"] <= 1


def test_preferences_count_pairs():
    found = values(metric_groups.preference_metrics(PAIRS, STREAMS))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["margin"] == pytest.approx((1 - 1 + 2) / 3)
    assert 0 <= found["calibration_error"] <= 1
    assert found["chosen_logp_change"] == pytest.approx(-0.5)
    assert found["rejected_logp_change"] == pytest.approx(-3.0)
    assert found["loss_capped"] == pytest.approx(0.7)
    assert found["loss_reference"] == pytest.approx(0.7)


def test_the_table_has_every_declared_metric_and_equal_seeds_give_it_again():
    table = whole_table()
    assert set(table) == {m.name for m in ALL_METRICS if m.group is not MetricGroup.PUBLISHED}
    written = metric_groups.as_json(table)
    assert written == metric_groups.as_json(whole_table())
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    headline = metric_groups.headline(table)
    assert headline == {name: round(table[name].value, 4) for name in headline}
    assert len(headline) == 8


BASELINE = [
    ScoredGeneration(
        id=number,
        prompt=f"Film {number}",
        role="heldout",
        prompt_ids=[1],
        completions=[
            ScoredCompletion(
                text=f" r{i}", ids=[2], finished=False, ref_logp=-1.0, reward=reward, judge=-reward
            )
            for i, reward in enumerate(rewards)
        ],
    )
    for number, rewards in enumerate(SCORES.reference.tolist())
]


def test_samples_stand_side_by_side():
    judgements = Scores(policy=SCORES.policy / 10, reference=-SCORES.reference)
    divergences = metric_groups.sample_divergences(
        SAMPLES, [tokens(1, 1, 1, 1, 2, 2), tokens(0, 0, 0, 4, 1, 1)]
    )
    first, second = outputs.samples_of_prompts(BASELINE, TEXTS, SCORES, judgements, divergences)
    # Samples have 4 and 2 tokens; KL is their sum.
    assert [[s.kl for s in row.policy] for row in (first, second)] == [[4.0, 4.0], [4.0, 2.0]]
    assert first.prompt == "Film 0"
    assert [(s.text, s.reward, s.judge) for s in first.policy] == [
        (" a b c", 1.0, 0.1),
        (" a b", 3.0, 0.3),
    ]
    assert [(s.text, s.reward, s.judge) for s in second.reference] == [
        (" r0", 0.0, -0.0),
        (" r1", -2.0, 2.0),
    ]


def test_plots_are_lists_of_rows():
    rewards = outputs.reward_values(SCORES)
    assert rewards[:3] == [
        {"model": "policy", "reward": 1.0},
        {"model": "policy", "reward": 3.0},
        {"model": "policy", "reward": 0.0},
    ]
    assert len(rewards) == 8
    prompts = outputs.rewards_by_prompt(BASELINE, SCORES)
    assert prompts[1] == {"prompt": "Film 1", "policy": 0.0, "reference": -1.0}


def test_one_prompt_has_no_interval_and_a_summary_all_the_same():
    one = Scores(policy=np.array([[1.0, 3.0]]), reference=np.array([[1.0, 1.0]]))
    table = {
        **metric_groups.score_metrics("reward", one, CONTROL[:1]),
        **metric_groups.score_metrics("judge", one, CONTROL[:1]),
        **metric_groups.divergence_metrics(SAMPLES[:1], [tokens(*[0.5] * 6)], RATIOS[:1]),
    }
    assert metric_groups.summary(table) == (
        "reward 2.000, +1.000 to the reference; judge +1.000; KL 1.50 nats"
    )
