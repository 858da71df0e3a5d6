"""What a sweep shows and does not show, in sentences computed from intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.report.analysis.equal_kl import Matched
from experiments.report.analysis.estimates import SEEDS_FOR_SPREAD
from experiments.report.analysis.frontier import Standing, undominated
from experiments.report.analysis.points import Point, curves
from experiments.report.analysis.sweep_results import Sweep
from experiments.report.text import listed, number, plural, span, with_ends


@dataclass(frozen=True)
class Findings:
    """Sentences, in the order to read them."""

    shown: list[str]
    not_shown: list[str]


def findings(
    sweep: Sweep, points: Sequence[Point], found: Sequence[Standing], pairs: Sequence[Matched]
) -> Findings:
    return Findings(
        shown=[
            rises(points),
            *frontier(found),
            diverse(points),
            *at_equal_kl(pairs),
            *judged(points),
            ordering(points),
        ],
        not_shown=[*noise(points, pairs), *confounded(points), sizes(sweep)],
    )


def rises(points: Sequence[Point]) -> str:
    up = [p for p in points if p.reward.above]
    down = [p for p in points if p.reward.below]
    best = max(points, key=lambda p: p.reward.value)
    text = (
        f"The reward rises above the reference's by more than noise in {len(up)} of"
        f" {len(points)} points; the largest rise is {best.label}: {with_ends(best.reward)} at a KL"
        f" of {with_ends(best.kl)} nats."
    )
    return text + (
        f" It falls by more than noise in {listed(p.label for p in down)}." if down else ""
    )


def frontier(found: Sequence[Standing]) -> list[str]:
    """Which points are on the reward-KL frontier, how firmly, and who is surely below it."""
    on = [standing for standing in found if standing.on]
    beaten = [standing for standing in found if standing.beaten]
    near = len(found) - len(on) - len(beaten)
    sentences = [
        f"On the reward-KL frontier (no other point, nor the reference, has as much reward for as"
        f" little KL) {'is' if len(on) == 1 else 'are'} {len(on)} of {len(found)} points"
        + (f": {places(on)}." if on else ".")
    ]
    if near:
        sentences.append(
            f"{near} further {plural(near, 'point')} {'lies' if near == 1 else 'lie'} below the"
            " frontier, but within noise of the point that beats"
            f" {'it' if near == 1 else 'each'}: the data does not tell them apart."
        )
    if beaten:
        lost = listed(
            f"{s.point.label} ({with_ends(s.gap)} below {s.rival})" for s in beaten if s.gap
        )
        sentences.append(f"Below the frontier by more than noise: {lost}.")
    return sentences


def diverse(points: Sequence[Point]) -> str:
    """Who is on the frontiers of reward and diversity, on the means."""

    def on(metric: str) -> str:
        costs = [-point.estimate(metric).value for point in points]
        free = undominated(costs, [point.reward.value for point in points])
        return listed(p.label for p, keep in zip(points, free, strict=True) if keep)

    return (
        "On the means, no other point has as much reward at as much predictive entropy as"
        f" {on('entropy')}; nor at as much distinct-2 as {on('distinct_2')}."
    )


def places(on: Sequence[Standing]) -> str:
    """`sigmoid β=1 (3 of 3 seeds), β=0.1 (1 of 3 seeds); jsd β=1 (3 of 3 seeds)`."""
    by_curve: dict[str, list[str]] = {}
    for standing in on:
        point = standing.point
        share = f" ({standing.seeds_on} of {len(point.seeds)} seeds)"
        text = point.label.removeprefix(f"{point.curve} ")
        by_curve.setdefault(point.curve, []).append(text + (share if len(point.seeds) > 1 else ""))
    return "; ".join(f"{curve} {', '.join(parts)}" for curve, parts in by_curve.items())


def at_equal_kl(pairs: Sequence[Matched]) -> list[str]:
    """Who is ahead of whom where KL is equal, and by how much."""
    if not pairs:
        return ["There is one loss alone, so nothing to compare it with at equal KL."]
    met = [pair for pair in pairs if pair.difference is not None]
    apart = [pair for pair in met if pair.leader]
    if not met:
        return ["No two losses reach a common range of KL, so none can be compared at equal KL."]
    sentences = [
        f"At equal KL, {len(apart)} of {len(met)} comparable pairs of losses differ by more than"
        " noise" + (f": {listed(map(lead, apart))}." if apart else "; all are within noise.")
    ]
    within = [pair for pair in met if not pair.leader]
    if apart and within:
        sentences.append(
            "Within noise of each other: "
            + listed(f"{pair.first} and {pair.second}" for pair in within)
            + "."
        )
    unmet = [f"{pair.first} and {pair.second}" for pair in pairs if pair.difference is None]
    if unmet:
        sentences.append(f"No common range of KL, so not comparable: {listed(unmet)}.")
    return [*sentences, *champion(pairs)]


def lead(pair: Matched) -> str:
    """`sigmoid above fkl by 0.1 [0.05, 0.15]`."""
    behind = pair.second if pair.leader == pair.first else pair.first
    low, high = sorted((abs(pair.difference.low), abs(pair.difference.high)))
    size = f"{number(abs(pair.difference.value))} [{number(low)}, {number(high)}]"
    return (
        f"{pair.leader} above {behind} by {size} (KL {number(pair.low_kl)} to"
        f" {number(pair.high_kl)})"
    )


def champion(pairs: Sequence[Matched]) -> list[str]:
    """Whether one loss is ahead of every other by more than noise."""
    names = dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second))
    for name in names:
        own = [pair for pair in pairs if name in (pair.first, pair.second)]
        if all(pair.leader == name for pair in own):
            return [f"{name} is ahead of every other loss by more than noise."]
    return ["No loss is ahead of every other by more than noise."]


def judged(points: Sequence[Point]) -> list[str]:
    """Whether the judge, which nothing was trained on, follows the reward."""
    up = [point for point in points if point.reward.above]
    if not up:
        return ["No reward rises by more than noise, so there is nothing for the judge to confirm."]
    judges = {point.label: point.estimate("judge_difference") for point in up}
    follow = [label for label, judge in judges.items() if judge.above]
    fall = [f"{label} ({with_ends(judge)})" for label, judge in judges.items() if judge.below]
    rest = [label for label, judge in judges.items() if not (judge.above or judge.below)]
    sentences = [
        f"Where the reward rises by more than noise, the judge rises too in {len(follow)} of"
        f" {len(up)} points."
    ]
    if rest:
        sentences.append(
            f"The reward rises but the judge does not by more than noise in {listed(rest)}: there"
            " the rise is not confirmed."
        )
    if fall:
        sentences.append(
            f"The reward rises while the judge falls by more than noise in {listed(fall)}: there"
            " the reward is gamed."
        )
    return sentences


def ordering(points: Sequence[Point]) -> str:
    measured = [p for p in points if all("accuracy" in row.metrics for row in p.rows.values())]
    better = [p.label for p in measured if (p.estimate("accuracy").low or 0) > 0.5]
    return (
        f"The implicit reward orders test pairs better than chance by more than noise in"
        f" {len(better)} of {len(measured)} points."
    )


def noise(points: Sequence[Point], pairs: Sequence[Matched]) -> list[str]:
    """What the intervals hold, and how many false alarms to expect of them."""
    counts = sorted({len(point.seeds) for point in points})
    if counts[0] >= SEEDS_FOR_SPREAD:
        sentences = [
            f"Intervals of points and of differences are Student's over {span(counts)} seeds, each"
            " a repeat of everything the sweep does not hold fixed. Few seeds make wide intervals:"
            " what is within noise here may differ in a larger sweep."
        ]
    else:
        have = f"{counts[0]} {plural(counts[0], 'seed')}"
        sentences = [
            f"With {have} for {'every point' if len(counts) == 1 else 'some points'}, the spread"
            " between repeats cannot be estimated. There, the intervals are over held-out prompts"
            " alone: they hold no noise of training or of the choice of training prompts, so a"
            " difference beyond them may still be chance."
        ]
    met = sum(pair.difference is not None for pair in pairs)
    if met:
        sentences.append(
            f"{met} {plural(met, 'pair')} of losses {'is' if met == 1 else 'are'} compared: were"
            f" there no difference at all, {0.05 * met:.2g} would be expected to lie beyond a 95 %"
            " interval by chance. A point's rival is the best of many, so its lead is flattered."
        )
    return sentences


def confounded(points: Sequence[Point]) -> list[str]:
    """What differs between losses besides the loss."""
    rates = {
        name: sorted({str(row.params.lr) for point in own for row in point.rows.values()})
        for name, own in curves(points).items()
    }
    different = {tuple(rate) for rate in rates.values()}
    short = [name for name, own in curves(points).items() if len(own) < 2]
    sentences = []
    if len(different) > 1:
        given = "; ".join(f"{name} {', '.join(rate)}" for name, rate in rates.items())
        sentences.append(
            f"Learning rates differ ({given}), so a difference between losses may be one of"
            " learning rates."
        )
    if short:
        sentences.append(f"Only one β each, so no curve: {listed(short)}.")
    return sentences


def sizes(sweep: Sweep) -> str:
    rows = sweep.rows.values()
    held = span(sorted({row.counts.heldout_prompts for row in rows}))
    train = span(sorted({row.counts.train_pairs for row in rows}))
    test = span(sorted({row.counts.test_pairs for row in rows}))
    return (
        f"One study, {sweep.study}: one reference, one reward model, {train} training pairs,"
        f" {test} test pairs, {held} held-out prompts. Nothing here says how the losses compare on"
        " other models, data or sizes."
    )
