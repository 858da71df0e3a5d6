"""How well implicit rewards order the test pairs, and how well their odds can be believed.

All functions take the implicit rewards β·g(ρ) of the chosen and the rejected completions: [N]
each, one pair a place, where ρ is summed over completion tokens. They raise ValueError for vectors
that are empty, unequal or not finite.
"""

import numpy as np


def win_rate(policy_rewards: np.ndarray, reference_rewards: np.ndarray) -> np.ndarray:
    """Each prompt's probability that a policy sample beats a reference sample: [P], 0 to 1.

    policy_rewards: [P, S]; reference_rewards: [P, R]; the same prompts in the same order. The
    share of a prompt's S x R pairs that the policy's reward wins, a tie counting half (the
    Mann-Whitney U statistic over S R). Its mean over prompts is the win rate.

    Raises ValueError when the shapes do not fit or a reward is NaN, which would count as a loss.
    """
    policy, reference = np.asarray(policy_rewards), np.asarray(reference_rewards)
    if policy.ndim != 2 or reference.ndim != 2 or len(policy) != len(reference):
        raise ValueError(f"[P, S] and [P, R] are needed, not {policy.shape} and {reference.shape}")
    if policy.size == 0 or reference.size == 0:
        raise ValueError(f"no rewards to compare: {policy.shape} and {reference.shape}")
    if np.isnan(policy).any() or np.isnan(reference).any():
        raise ValueError("a reward is NaN")
    policy, reference = policy[:, :, None], reference[:, None, :]
    return ((policy > reference) + 0.5 * (policy == reference)).mean(axis=(1, 2))


def accuracy(chosen: np.ndarray, rejected: np.ndarray) -> float:
    """Share of pairs whose chosen completion has the higher implicit reward, ties half: 0 to 1."""
    margins = _margins(chosen, rejected)
    return float(((margins > 0) + 0.5 * (margins == 0)).mean())


def margin(chosen: np.ndarray, rejected: np.ndarray) -> float:
    """Mean of chosen minus rejected implicit reward: the log-odds (nats) that the loss models."""
    return float(_margins(chosen, rejected).mean())


def calibration_error(chosen: np.ndarray, rejected: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of p = σ(chosen - rejected): 0 (calibrated) to 1.

    sum_b (N_b / N) |accuracy_b - confidence_b| (Guo et al. 2017, arXiv 1706.04599, equation 3),
    where confidence = max(p, 1 - p) is the probability given to the answer that p favours, and an
    answer is right when that is the chosen completion. A tie has confidence 1/2 and is half
    right. `bins` equal bins from 1/2 to 1, where all confidences lie. Biased upwards: even a
    calibrated policy shows about sqrt(bins / N) / 3, so compare equal N only.

    torchmetrics bins [0, 1] and compares the mean input with the mean target of a bin. Given p
    with targets that are all 1 it would return 1 - mean p, which is no calibration error. So it
    gets confidence and rightness and twice the bins, of which the lower half stay empty.
    """
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    confidence, right = _judged_twice(chosen, rejected)
    error = binary_calibration_error(
        torch.from_numpy(confidence), torch.from_numpy(right), n_bins=2 * bins, norm="l1"
    )
    return float(error)


def reliability_curve(
    chosen: np.ndarray, rejected: np.ndarray, bins: int = 10
) -> list[dict[str, float]]:
    """The bins behind `calibration_error`, for a plot: one row per non-empty bin, ascending.

    confidence: mean of max(p, 1 - p) in the bin; accuracy: share that is right, ties half; count:
    pairs. The calibration error is the count-weighted mean of |accuracy - confidence|.
    """
    confidence, right = _judged_twice(chosen, rejected)
    edges = np.linspace(0, 1, 2 * bins + 1)
    places = np.searchsorted(edges, confidence, side="right")
    rows = []
    for place in np.unique(places):
        inside = places == place
        rows.append(
            {
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(right[inside].mean()),
                "count": int(inside.sum()) // 2,
            }
        )
    return rows


def _judged_twice(chosen: np.ndarray, rejected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence in [1/2, 1) and whether it was right (0, 1), each pair in two places: [2N] both.

    Twice, so that a tie can be right once and wrong once: targets must be whole.
    """
    margins = _margins(chosen, rejected)
    confidence = 1 / (1 + np.exp(-np.abs(margins)))
    confidence = np.minimum(confidence, np.nextafter(1, 0))  # 1 itself would open a bin of its own
    right = np.concatenate([margins > 0, margins >= 0]).astype(np.int64)
    return np.concatenate([confidence, confidence]), right


def _margins(chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    chosen, rejected = (np.asarray(side, dtype=np.float64) for side in (chosen, rejected))
    if chosen.ndim != 1 or chosen.shape != rejected.shape or chosen.size == 0:
        raise ValueError(f"two equal vectors are needed, not {chosen.shape} and {rejected.shape}")
    if not (np.isfinite(chosen).all() and np.isfinite(rejected).all()):
        raise ValueError("an implicit reward is NaN or infinite")
    return chosen - rejected
