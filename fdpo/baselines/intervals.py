"""95 % intervals over prompts: the prompt is the unit that is drawn again.

Completions of one prompt resemble each other, so they never count as independent draws. The truth
that an interval holds is the number's expectation with as many prompts and samples: what depends on
the amount of data (plug-in entropy, calibration error) keeps that part. benchmarks/coverage.py
simulates how often each kind of interval holds the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes a second to import

CONFIDENCE = 0.95
SUBSAMPLES = 400  # the standard error is then itself known to about 4 %


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval, in the number's own unit.

    The ends are None where there is one prompt: one draw says nothing about the spread.
    """

    value: float
    low: float | None
    high: float | None


def interval(value: float, standard_error: float, prompts: int, share: bool = False) -> Interval:
    """The interval of a number whose standard error was measured over `prompts` prompts.

    value ± t · standard error, with Student's t of prompts - 1 degrees of freedom. A share, from 0
    to 1, has Wilson's interval (JASA 22, 1927) of p (1 - p) / standard error² draws, which stays
    in [0, 1] (effective sample size: Dean and Pagano, J. Surv. Stat. Methodol. 3, 2015). At 0 or 1
    without any spread each prompt counts as one draw.
    """
    if not np.isfinite(value):
        raise ValueError(f"the statistic is {value}")
    if prompts == 1:
        return Interval(value, None, None)
    quantile = float(stdtrit(prompts - 1, (1 + CONFIDENCE) / 2))  # Student's
    reach = quantile * standard_error
    if not share:
        return Interval(value, value - reach, value + reach)
    inner = value * (1 - value)
    per_draw = reach**2 / inner if inner > 0 else quantile**2 / prompts  # t² / draws
    centre = (value + per_draw / 2) / (1 + per_draw)
    half = float(np.sqrt(per_draw * inner + per_draw**2 / 4)) / (1 + per_draw)
    # Rounding alone could leave the value, or [0, 1], by 1e-17.
    return Interval(value, min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half)))


def mean_interval(per_prompt: np.ndarray, share: bool = False) -> Interval:
    """Mean over prompts, with Student's interval, or Wilson's for a share from 0 to 1.

    per_prompt: [P], any unit, one number per prompt (itself a mean over the prompt's completions).

    Raises ValueError when `per_prompt` is not a vector, is empty, or holds a NaN or an infinity.
    """
    per_prompt = np.asarray(per_prompt, dtype=np.float64)
    if per_prompt.ndim != 1 or per_prompt.size == 0:
        raise ValueError(f"one number per prompt is needed, not an array of {per_prompt.shape}")
    if not np.isfinite(per_prompt).all():
        raise ValueError(f"prompt {int(np.argmin(np.isfinite(per_prompt)))}: not a finite number")
    prompts = per_prompt.size
    if np.ptp(per_prompt) == 0:  # the mean of equal numbers can differ from them by its rounding
        return interval(float(per_prompt[0]), 0.0, prompts, share)
    standard_error = float(per_prompt.std(ddof=1) / np.sqrt(prompts))
    return interval(float(per_prompt.mean()), standard_error, prompts, share)


def paired_difference(policy_per_prompt: np.ndarray, reference_per_prompt: np.ndarray) -> Interval:
    """Mean over prompts of policy minus reference, with its interval.

    Both [P], the same prompts in the same order. Pairing removes what a prompt gives to both
    (some prompts earn any model a high reward), so the interval is narrower than that of two means.
    Raises ValueError when the shapes differ.
    """
    policy_per_prompt = np.asarray(policy_per_prompt, dtype=np.float64)
    reference_per_prompt = np.asarray(reference_per_prompt, dtype=np.float64)
    if policy_per_prompt.shape != reference_per_prompt.shape:
        raise ValueError(
            f"not the same prompts: {policy_per_prompt.shape} and {reference_per_prompt.shape}"
        )
    return mean_interval(policy_per_prompt - reference_per_prompt)


def statistic_interval(
    statistic: Callable[[np.ndarray], float],
    n_prompts: int,
    rng: np.random.Generator,
    share: bool = False,
    kept: float = 0.75,
) -> Interval:
    """A statistic of the prompts together (unigram entropy, calibration error), with its interval.

    `statistic` takes an index array into the prompts; the value is `statistic(arange(n_prompts))`.
    Its standard error comes from 400 subsamples: m = `kept` · P prompts drawn without replacement,
    whose spread times sqrt(m / (P - m)) estimates that of the whole (the delete-d jackknife, Shao
    and Wu, Annals of Statistics 17, 1989). Few prompts understate the spread of an entropy; many
    overstate that of a calibration error, which is not smooth. The usual bootstrap holds the same
    text twice, which lowers an entropy.

    Not for a count under a fixed budget: fewer prompts fill it with more samples of each
    (`fdpo.baselines.distinct.distinct_interval`).

    Raises ValueError when there is no prompt, or the statistic is not finite.
    """
    if n_prompts < 1:
        raise ValueError(f"{n_prompts} prompts: at least 1 is needed")
    value = float(statistic(np.arange(n_prompts)))
    if n_prompts == 1:
        return interval(value, 0.0, 1, share)
    size = min(max(1, round(kept * n_prompts)), n_prompts - 1)
    parts = (np.sort(rng.permutation(n_prompts)[:size]) for _ in range(SUBSAMPLES))
    draws = np.array([statistic(prompts) for prompts in parts])
    if not np.isfinite(draws).all():
        raise ValueError("the statistic is nan or infinite on some of the prompts")
    standard_error = float(draws.std(ddof=1) * np.sqrt(size / (n_prompts - size)))
    return interval(value, standard_error, n_prompts, share)
