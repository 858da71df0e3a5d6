"""What a sweep shows and does not show, in sentences computed from intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.report.analysis.equal_kl import CurvePair
from experiments.report.analysis.estimates import SEEDS_FOR_SPREAD, Estimate
from experiments.report.analysis.frontier import Standing
from experiments.report.analysis.points import Point, curves
from experiments.report.text import listed, plural, span, with_ends
from experiments.sweep.results import SweepResults
from fdpo.evaluation.metrics.intervals import CONFIDENCE


@dataclass(frozen=True)
class Findings:
    """The answer in one sentence, and what else to know, in the order to read it."""

    verdict: str
    shown: list[str]
    not_shown: list[str]


def findings(
    sweep: SweepResults,
    points: Sequence[Point],
    standings: Sequence[Standing],
    pairs: Sequence[CurvePair],
) -> Findings:
    """All sentences about one sweep."""
    return Findings(
        verdict=verdict(pairs),
        shown=[rises(points), *apart(pairs), frontier(standings), judged(points), ordering(points)],
        not_shown=[*noise(points, pairs), *confounded(points), sizes(sweep)],
    )


def verdict(pairs: Sequence[CurvePair]) -> str:
    """Which loss earns the most reward at equal KL."""
    if not pairs:
        return "Only one loss was run, so nothing can be said about which is better."
    overlapping = [pair for pair in pairs if pair.overlap]
    if not overlapping:
        return "The losses cannot be compared: no two of them reach a common range of KL."
    for name in dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)):
        if all(pair.leader == name for pair in pairs if name in (pair.first, pair.second)):
            return f"At equal KL {name} earns more reward than every other loss."
    count = len(overlapping)
    decided = [pair for pair in overlapping if pair.leader]
    if decided:
        return (
            f"No loss beats all others: at equal KL {len(decided)} of {count} pairs of losses"
            " differ in reward by more than noise."
        )
    widest = max(overlapping, key=lambda pair: abs(_difference(pair).value))
    return (
        f"No loss is better than another as far as this sweep can tell: of {count}"
        f" {plural(count, 'pair')} of losses, the largest difference in reward at equal KL is"
        f" {with_ends(_difference(widest))} ({widest.first} less {widest.second}), within noise."
    )


def _difference(pair: CurvePair) -> Estimate:
    if pair.overlap is None:
        raise ValueError(f"{pair.first} and {pair.second}: no common range of KL")
    return pair.overlap.difference


def rises(points: Sequence[Point]) -> str:
    """How often the reward rises above the reference's, and by how much at most."""
    up = [point for point in points if point.reward.above]
    down = [point for point in points if point.reward.below]
    best = max(points, key=lambda point: point.reward.value)
    text = (
        f"Tuning raises the reward by more than noise in {len(up)} of {len(points)} points; the"
        f" largest rise is {with_ends(best.reward)}, of {best.label}, at a KL of"
        f" {with_ends(best.kl)} nats."
    )
    lowered = listed(point.label for point in down)
    return f"{text} It lowers it by more than noise in {lowered}." if down else text


def apart(pairs: Sequence[CurvePair]) -> list[str]:
    """Who is ahead of whom at equal KL, and who cannot be compared."""
    ahead = [lead(pair) for pair in pairs if pair.leader]
    unmet = [f"{pair.first} and {pair.second}" for pair in pairs if pair.overlap is None]
    sentences = [f"Ahead at equal KL: {listed(ahead)}."] if ahead else []
    if unmet and len(unmet) < len(pairs):
        sentences.append(f"No common range of KL, so not comparable: {listed(unmet)}.")
    return sentences


def lead(pair: CurvePair) -> str:
    """`sigmoid above fkl by 0.1 [0.05, 0.15]`."""
    difference = _difference(pair)
    size = difference if difference.above else difference.negated
    return f"{pair.leader} above {pair.trailer} by {with_ends(size)}"


def frontier(standings: Sequence[Standing]) -> str:
    """How many points are on the reward-KL frontier, and which lie below it for certain."""
    on = sum(standing.on for standing in standings)
    beaten = [
        f"{standing.point.label} ({with_ends(standing.gap)} below {standing.rival})"
        for standing in standings
        if standing.beaten and standing.gap
    ]
    text = (
        f"{on} of {len(standings)} points {'is' if on == 1 else 'are'} on the reward-KL frontier:"
        " no other point, nor the reference, has as much reward for as little KL"
    )
    below = f"below it by more than noise: {listed(beaten)}" if beaten else "none below it for sure"
    return f"{text}; {below}."


def judged(points: Sequence[Point]) -> str:
    """Whether the judge, which nothing was trained on, follows the reward."""
    up = [point for point in points if point.reward.above]
    if not up:
        return "No reward rises by more than noise, so there is nothing for the judge to confirm."
    judges = {point.label: point.estimate("judge_difference") for point in up}
    follow = sum(judge.above for judge in judges.values())
    fall = [f"{label} ({with_ends(judge)})" for label, judge in judges.items() if judge.below]
    text = (
        f"The judge, which no loss was trained on, confirms {follow} of these {len(up)}"
        f" {plural(len(up), 'rise')} by more than noise"
    )
    gamed = f"; it falls, so that the reward is gamed, in {listed(fall)}" if fall else ""
    return f"{text}{gamed}."


def ordering(points: Sequence[Point]) -> str:
    """In how many points the implicit reward orders test pairs better than chance."""
    measured = [p for p in points if all("accuracy" in row.metrics for row in p.rows.values())]
    better = sum((point.estimate("accuracy").low or 0) > 0.5 for point in measured)
    return (
        f"The implicit reward orders test pairs better than chance by more than noise in"
        f" {better} of {len(measured)} points."
    )


def noise(points: Sequence[Point], pairs: Sequence[CurvePair]) -> list[str]:
    """What the intervals hold, and how many false alarms to expect of them."""
    counts = sorted({len(point.seeds) for point in points})
    if counts[0] >= SEEDS_FOR_SPREAD:
        sentences = [
            f"Intervals are Student's over {span(counts)} seeds, each a repeat of everything the"
            " sweep does not hold fixed. Few seeds make wide intervals: a larger sweep may tell"
            " apart what this one cannot."
        ]
    else:
        seeds = f"{counts[0]} {plural(counts[0], 'seed')}"
        sentences = [
            f"With {seeds} for {'every point' if len(counts) == 1 else 'some points'}, the spread"
            " between repeats cannot be estimated. There, the intervals are over held-out prompts"
            " alone and hold no noise of training, so a difference beyond them may still be chance."
        ]
    compared = sum(pair.overlap is not None for pair in pairs)
    if compared > 1:
        expected = (1 - CONFIDENCE) * compared
        sentences.append(
            f"{compared} pairs of losses are compared: if there were no difference at all,"
            f" {expected:.2g} of them would still be expected to seem different by chance."
        )
    return sentences


def confounded(points: Sequence[Point]) -> list[str]:
    """What differs between losses besides the loss."""
    by_curve = curves(points)
    rates = {
        name: sorted({str(row.params.lr) for point in curve for row in point.rows.values()})
        for name, curve in by_curve.items()
    }
    short = [name for name, curve in by_curve.items() if len(curve) < 2]
    sentences = []
    if len({tuple(rate) for rate in rates.values()}) > 1:
        given = "; ".join(f"{name} {', '.join(rate)}" for name, rate in rates.items())
        sentences.append(
            f"Learning rates differ ({given}), so a difference between losses may be one of"
            " learning rates."
        )
    if short:
        sentences.append(f"Only one β, so no curve: {listed(short)}.")
    return sentences


def sizes(sweep: SweepResults) -> str:
    """On what the sweep rests."""
    rows = sweep.rows.values()
    train = span(sorted({row.counts.train_pairs for row in rows}))
    test = span(sorted({row.counts.test_pairs for row in rows}))
    heldout = span(sorted({row.counts.heldout_prompts for row in rows}))
    return (
        f"One study, {sweep.study}: one reference, one reward model, {train} training pairs,"
        f" {test} test pairs, {heldout} held-out prompts. Nothing here says how the losses compare"
        " on other models, data or sizes."
    )
