"""What a sweep shows and does not show, in sentences computed from intervals."""

import math
from collections.abc import Sequence

from experiments.report.compare import ERROR, MARGIN, Difference, smallest_found
from experiments.report.evidence import (
    PRIMARY,
    PUBLISHED_SWEEP,
    Evidence,
    Level,
    control_variate,
    published_order,
)
from experiments.report.points import SEEDS_FOR_SPREAD
from experiments.report.text import interval, listed, number, with_ends

LITTLE_KL = 0.05  # nats: a policy nearer than that has hardly moved


def verdict(evidence: Evidence) -> str:
    """Which losses are ahead at equal KL, which are equivalent, what stays open."""
    if max(point.mean("kl").value for point in evidence.points) < LITTLE_KL:
        return (
            "The learning rate is too low: no row moved from the reference, with a KL of at most"
            f" {LITTLE_KL:g}. Raise `lr`."
        )
    level = evidence.primary
    if level is None:
        return "No two losses reach a common KL of 1 or 2 in the same seed: nothing is compared."
    tested = [pair for pair in level.differences if pair.low is not None]
    if not tested:
        return (
            f"No pair of losses has the {SEEDS_FOR_SPREAD} seeds in common that a comparison needs."
        )
    sentences = [f"At a KL of {level.kl:g}, {_ahead(tested)}."]
    if evidence.missing:
        total = evidence.missing + len(evidence.sweep.rows)
        sentences.insert(0, f"Interim: {evidence.missing} of {total} rows are not run yet.")
    if equal := [pair for pair in tested if pair.outcome == "equivalent"]:
        margin = number(evidence.margin[PRIMARY] or 0)
        sentences.append(
            f"Equivalent, within ±{margin}: {listed(f'{p.first}–{p.second}' for p in equal)}."
        )
    undecided = sum(pair.outcome == "undecided" for pair in tested)
    sentences.append(f"{undecided} of {len(tested)} pairs stay undecided.")
    if untested := math.comb(len(evidence.curves), 2) - len(tested):
        sentences.append(
            f"Not tested: {untested}, without {SEEDS_FOR_SPREAD} seeds in which both reach this KL."
        )
    return " ".join(sentences)


def _ahead(tested: Sequence[Difference]) -> str:
    ahead = [pair for pair in tested if pair.outcome == "ahead"]
    if not ahead:
        nearest = max(tested, key=lambda x: abs(x.value) / ((x.high or 0.0) - (x.low or 0.0)))
        size = with_ends(nearest.value, nearest.low, nearest.high)
        return (
            "no loss is shown to be ahead of another: nearest to it is a difference in reward of"
            f" {size} ({nearest.name})"
        )
    parts = []
    for pair in ahead:
        behind = pair.second if pair.leader == pair.first else pair.first
        value, ends = abs(pair.value), sorted(map(abs, (pair.low or 0.0, pair.high or 0.0)))
        parts.append(f"{pair.leader} is ahead of {behind} by {with_ends(value, *ends)}")
    return "; ".join(parts)


def shown(evidence: Evidence) -> list[str]:
    """What the data shows."""
    sentences = [_rises(evidence), _test(evidence.primary), _control(evidence)]
    sentences += [_untrained(evidence), _displacement(evidence)]
    if evidence.sweep.sweep == PUBLISHED_SWEEP and (order := published_order(evidence.points)):
        correlation, count = order
        sentences.append(
            f"Over {count} points, reward here and in the published table have a rank correlation"
            f" of {correlation:.2f}."
        )
    return [sentence for sentence in sentences if sentence]


def not_shown(evidence: Evidence) -> list[str]:
    """What limits it."""
    sentences = []
    level = evidence.primary
    if level and (found := smallest_found(level.scores)):
        difference, seeds = found
        sentences.append(
            f"With {seeds} seeds a difference in reward of {number(difference)} between two losses"
            " that reach the KL in all of them is found with 80 % power; smaller ones, and those of"
            " losses with fewer seeds, are mostly missed. The chance of any false “ahead” among all"
            f" pairs at one KL is {100 * ERROR:.0f} %. Losses are equivalent where the whole"
            f" interval lies within {MARGIN:g} standard deviations of the reference's reward."
        )
    yes, no, unknown = evidence.optimised()
    sentences.append(
        f"Own objective: {yes} of {yes + no + unknown} rows lowered the capped loss of their test"
        f" pairs, {no} did not and are left out of comparisons, {unknown} did not record it."
    )
    if unknown:
        sentences.append(
            "Where that is not recorded, a loss's deficit may be that of its learning rate."
        )
    made = [row.made for row in evidence.sweep.rows.values()]
    processors = {one.get("processor") or one.get("machine") for one in made}
    if len(processors) > 1:
        sentences.append(
            f"Rows come from {len(processors)} kinds of processor, on which samples differ."
        )
    row = next(iter(evidence.sweep.rows.values()))
    sentences.append(
        f"One study ({evidence.sweep.study}), one reference, one reward model:"
        f" {row.counts['train_pairs']} training pairs and {row.counts['heldout_prompts']} held-out"
        " prompts per seed."
    )
    return sentences


def _rises(evidence: Evidence) -> str:
    rewards = {point.label: point.mean("reward_difference") for point in evidence.points}
    known = [value.low for value in rewards.values() if value.low is not None]
    label = max(rewards, key=lambda name: rewards[name].value)
    kl = next(point for point in evidence.points if point.label == label).mean("kl")
    largest = (
        f"The largest mean rise in reward is {interval(rewards[label])}, of {label}, at a KL of"
        f" {number(kl.value)}."
    )
    if not known:
        return largest
    risen = sum(low > 0 for low in known)
    return (
        f"Tuning raises the reward in {risen} of {len(known)} points by its 95 % interval over"
        f" seeds. {largest}"
    )


def _test(level: Level | None) -> str:
    if level is None or level.omnibus is None:
        return ""
    p, by_signs, losses, seeds = level.omnibus
    return (
        f"Reward at a {level.at}: p = {p:.4f} that {losses} losses do not differ, by exchanging"
        f" labels within {seeds} seeds, which takes equal noise for granted; {by_signs:.2g} by"
        " turning the signs of whole seeds, which does not"
        f" ({level.omnibus.least:.2g} is its least)."
    )


def _control(evidence: Evidence) -> str:
    if (found := control_variate(evidence.sweep)) is None:
        return ""
    return (
        f"The control variate takes out {100 * found.share:.0f} % of the variance of reward among a"
        f" policy's samples of a prompt, and moves the mean by {interval(found.shift)}. The"
        f" standard error of a row's difference from the reference falls from"
        f" {number(found.before)} to {number(found.after)}, of which the reference's own samples,"
        f" which the losses of a seed share, make {number(found.reference)}."
    )


def _untrained(evidence: Evidence) -> str:
    best = [one for one in evidence.baselines if one.label.startswith("best of")]
    if not best:
        return ""
    last = best[-1]
    return (
        f"Without training, the {last.label} of the reference's samples has"
        f" {interval(last.metrics['reward_difference'])} more reward at a KL of at most"
        f" {number(last.kl)}."
    )


def _displacement(evidence: Evidence) -> str:
    changes = [point.mean("chosen_logp_change") for point in evidence.points]
    known = [value.high for value in changes if value.high is not None]
    if not known:
        return ""
    fallen = sum(high < 0 for high in known)
    return (
        f"On test pairs the chosen completions too become less likely in {fallen} of {len(known)}"
        " points."
    )
