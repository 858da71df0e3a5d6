"""What a sweep shows and does not show, in sentences computed from intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.report.analysis.baselines import BaselinePoint, best_at
from experiments.report.analysis.comparisons import Comparisons, MatchedBy
from experiments.report.analysis.estimates import SEEDS_FOR_SPREAD
from experiments.report.analysis.evidence import Evidence
from experiments.report.analysis.frontier import Standing
from experiments.report.analysis.nested import VarianceParts
from experiments.report.analysis.over_optimisation import OverOptimisation
from experiments.report.analysis.points import Point, curves
from experiments.report.analysis.published import Orderings
from experiments.report.analysis.verdict import (
    MARGIN,
    MOST_SEEDS,
    Outcome,
    PairVerdict,
    smallest_found,
)
from experiments.report.text import listed, number, plural, span, with_ends
from experiments.sweep.results import SweepResults


@dataclass(frozen=True)
class Findings:
    """The answer in a few sentences, and what else to know, in the order to read it."""

    verdict: str
    shown: list[str]
    not_shown: list[str]


def findings(evidence: Evidence) -> Findings:
    """All sentences about one sweep."""
    points, by_reward = evidence.points, evidence.by_reward
    shown = [
        rises(points),
        leads(by_reward),
        judged_pairs(by_reward, evidence.by_judge),
        other_matches(evidence.comparisons),
        frontier(evidence.standings),
        judged(points),
        parting(evidence.along_kl),
        displacement(points),
        untrained(evidence.baselines, points),
        ordering(points),
        published(evidence.orderings),
    ]
    not_shown = [
        power(by_reward, evidence.margin),
        open_pairs(by_reward),
        unmet(by_reward),
        noise(points),
        variance(evidence.variance),
        *confounded(points),
        sizes(evidence.sweep),
    ]
    return Findings(
        verdict=verdict(by_reward, evidence.by_judge, evidence.margin),
        shown=list(filter(None, shown)),
        not_shown=list(filter(None, not_shown)),
    )


def verdict(
    by_reward: Sequence[PairVerdict], by_judge: Sequence[PairVerdict], margin: float | None
) -> str:
    """Which losses are ahead at equal KL, which are equivalent, what stays open."""
    if not by_reward:
        return "Only one loss was run, so nothing can be said about which is better."
    compared = [pair for pair in by_reward if pair.difference]
    if not compared:
        return "The losses cannot be compared: no two of them reach a common range of KL."
    tested = [pair for pair in compared if pair.p is not None]
    widest = _widest(tested or compared)
    if not tested:
        return (
            "Too few seeds to say which loss is better, three at least are needed: of"
            f" {len(compared)} {plural(len(compared), 'pair')} of losses, the largest difference in"
            f" reward at equal KL is {_described(widest)}, over prompts alone."
        )
    ahead, equal, undecided = (
        _with_outcome(compared, outcome) for outcome in ("ahead", "equivalent", "undecided")
    )
    if ahead:
        sentences = [f"At equal KL {'; '.join(_order(by_reward))}."]
    else:
        sentences = [
            "No loss is ahead of another at equal KL as far as this sweep can tell: the largest"
            f" difference in reward is {_described(widest)}, {_why_noise(widest, len(tested))}."
        ]
    if equal and margin is not None:
        groups = "; ".join(map(listed, equal_groups(equal)))
        sentences.append(f"Equivalent, within ±{number(margin)} of each other: {groups}.")
    if undecided:
        few = f"{len(undecided)} of {len(compared)}"
        count = f"All {len(compared)}" if len(undecided) == len(compared) > 1 else few
        noun = plural(len(compared), "pair")
        verb = "stays" if len(undecided) == 1 else "stay"
        sentences.append(f"{count} {noun} of losses {verb} undecided.")
    if ahead and by_judge:
        same, confirmed = _agreement(ahead, by_judge)
        order = f"sees the same order in {same} of these {len(ahead)} pairs, in {confirmed}"
        if len(ahead) == 1:
            order = "sees the same order, but not" if same > confirmed else "sees the same order,"
        if not same:
            order = "does not see the same order" + (" in any of them" if len(ahead) > 1 else "")
        sure = " by more than noise" if same else ""
        sentences.append(f"The judge, which no loss was trained on, {order}{sure}.")
    return " ".join(sentences)


def _with_outcome(verdicts: Sequence[PairVerdict], outcome: Outcome) -> list[PairVerdict]:
    return [pair for pair in verdicts if pair.outcome == outcome]


def _widest(compared: Sequence[PairVerdict]) -> PairVerdict:
    """The pair that differs most."""
    return max(compared, key=lambda pair: abs(pair.difference.value) if pair.difference else 0.0)


def _described(pair: PairVerdict) -> str:
    """`0.01 [-0.1, 0.12] (sigmoid less fkl)`."""
    size = with_ends(pair.difference) if pair.difference else ""
    return f"{size} ({pair.pair.first} less {pair.pair.second})"


def _why_noise(pair: PairVerdict, pairs: int) -> str:
    """Why a difference does not count: its own interval holds 0, or one of so many may miss it."""
    low, high = (pair.difference.low, pair.difference.high) if pair.difference else (None, None)
    if pair.p is None or low is None or high is None or low <= 0 <= high:
        return "within noise"
    return f"which one of {pairs} pairs may show by chance (p = {pair.p:.2f} by Holm's correction)"


def _names(verdicts: Sequence[PairVerdict]) -> list[str]:
    pairs = [pair.pair for pair in verdicts]
    return list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))


def _order(verdicts: Sequence[PairVerdict]) -> list[str]:
    """`sigmoid and hinge earn more reward than fkl, by 0.1 to 0.2`, losses behind the same ones
    together."""
    names = _names(verdicts)
    behind = {
        name: tuple(pair.leader for pair in verdicts if pair.leader and pair.trailer == name)
        for name in names
    }
    parts = []
    for leaders in dict.fromkeys(leaders for leaders in behind.values() if leaders):
        trailers = [name for name in names if behind[name] == leaders]
        sizes = sorted(
            abs(pair.difference.value)
            for pair in verdicts
            if pair.difference and pair.leader in leaders and pair.trailer in trailers
        )
        every = len(leaders) == 1 and len(trailers) == len(names) - 1 > 1
        least, most = number(sizes[0]), number(sizes[-1])
        by = least if least == most else f"{least} to {most}"
        parts.append(
            f"{listed(str(name) for name in leaders)} {'earns' if len(leaders) == 1 else 'earn'}"
            f" more reward than {'every other loss' if every else listed(trailers)}, by {by}"
        )
    return parts


def equal_groups(equivalent: Sequence[PairVerdict]) -> list[list[str]]:
    """Losses that are equivalent each to each, together."""
    pairs = {frozenset((pair.pair.first, pair.pair.second)) for pair in equivalent}
    groups: list[list[str]] = []
    for name in _names(equivalent):
        for group in groups:
            if all(frozenset((name, other)) in pairs for other in group):
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]


def _agreement(ahead: Sequence[PairVerdict], by_judge: Sequence[PairVerdict]) -> tuple[int, int]:
    """Of pairs that differ in reward, in how many the judge has their order, and by a test."""
    judged_by = {(pair.pair.first, pair.pair.second): pair for pair in by_judge}
    same = confirmed = 0
    for pair in ahead:
        other = judged_by[pair.pair.first, pair.pair.second]
        if pair.difference and other.difference:
            same += (pair.difference.value > 0) == (other.difference.value > 0)
            confirmed += other.leader == pair.leader
    return same, confirmed


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


def leads(verdicts: Sequence[PairVerdict]) -> str:
    """Who is ahead of whom at equal KL, with sizes."""
    ahead = [lead(pair) for pair in verdicts if pair.leader]
    return f"Ahead at equal KL: {listed(ahead)}." if ahead else ""


def lead(pair: PairVerdict) -> str:
    """`sigmoid above fkl by 0.1 [0.05, 0.15]`."""
    if pair.difference is None:
        raise ValueError(f"{pair.pair.first} and {pair.pair.second}: nothing in common")
    size = pair.difference if pair.difference.value > 0 else pair.difference.negated
    return f"{pair.leader} above {pair.trailer} by {with_ends(size)}"


def judged_pairs(by_reward: Sequence[PairVerdict], by_judge: Sequence[PairVerdict]) -> str:
    """Whether the judge tells the losses apart at equal KL."""
    tested = [pair for pair in by_judge if pair.p is not None]
    if not tested:
        return ""
    ahead = [pair for pair in tested if pair.leader]
    text = (
        f"By the judge {len(ahead)} of {len(tested)} {plural(len(tested), 'pair')} of losses"
        " differ at equal KL by more than noise"
    )
    against = [
        judged_pair
        for judged_pair, pair in zip(by_judge, by_reward, strict=True)
        if judged_pair.leader and pair.leader and judged_pair.leader != pair.leader
    ]
    parts = [lead(pair) for pair in ahead]
    text = f"{text}: {listed(parts)}" if parts else text
    contrary = listed(f"{pair.pair.first} and {pair.pair.second}" for pair in against)
    return (
        f"{text}. It has the opposite order to the reward's in {contrary}."
        if against
        else f"{text}."
    )


def other_matches(comparisons: Comparisons) -> str:
    """Whether losses that are ahead at equal KL are so at equal entropy and distinct-2."""
    first = {
        (pair.pair.first, pair.pair.second): pair.leader for pair in comparisons["reward", "kl"]
    }
    titles: dict[MatchedBy, str] = {"entropy": "entropy", "distinct_2": "distinct-2"}
    parts = []
    for by, title in titles.items():
        tested = [pair for pair in comparisons.get(("reward", by), []) if pair.p is not None]
        if not tested:
            continue
        ahead = [pair for pair in tested if pair.leader]
        kept = sum(pair.leader == first[pair.pair.first, pair.pair.second] for pair in ahead)
        parts.append(
            f"at equal {title} {len(ahead)} of {len(tested)} pairs of losses differ in reward by"
            f" more than noise{f', {kept} of them as at equal KL' if ahead else ''}"
        )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


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
    if not all(
        "judge_difference" in row.metrics for point in points for row in point.rows.values()
    ):
        return ""
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


def parting(along_kl: Sequence[OverOptimisation]) -> str:
    """Where along KL the judge stops following the reward."""
    if not along_kl:
        return ""
    parted = [
        f"{curve.curve} at a KL of about {number(curve.parts_at)} nats"
        for curve in along_kl
        if curve.parts_at is not None
    ]
    if not parted:
        return (
            "Over-optimisation: within the KL that was reached, the judge is not seen to turn down"
            f" while the reward goes on rising, under any of {len(along_kl)} losses."
        )
    return (
        "Over-optimisation: the judge turns down while the reward goes on rising, under"
        f" {listed(parted)}, of {len(along_kl)} losses."
    )


def displacement(points: Sequence[Point]) -> str:
    """Whether training made even the chosen completions less likely."""
    measured = [
        point
        for point in points
        if all("chosen_logp_change" in row.metrics for row in point.rows.values())
    ]
    if not measured:
        return ""
    down = [point for point in measured if point.estimate("chosen_logp_change").below]
    farthest = [max(curve, key=lambda point: point.kl.value) for curve in curves(measured).values()]
    changes = [
        f"{point.curve} {number(point.estimate('chosen_logp_change').value)} and"
        f" {number(point.estimate('rejected_logp_change').value)}"
        for point in farthest
    ]
    return (
        "Displacement: on test pairs the chosen completions become less likely by more than noise"
        f" in {len(down)} of {len(measured)} points. Change of log-probability of chosen and"
        f" rejected ones in nats, at each loss's largest KL: {listed(changes)}."
    )


def untrained(baselines: Sequence[BaselinePoint], points: Sequence[Point]) -> str:
    """What sampling from the reference alone reaches, and the losses at that KL."""
    reached = [
        (baseline, best)
        for baseline in baselines
        if baseline.kl_is_bound and (best := best_at(curves(points), baseline.kl.value))
    ]
    if not reached:
        return ""
    baseline, (name, reward) = reached[-1]
    return (
        f"Without training, the {baseline.label} samples of the reference has"
        f" {with_ends(baseline.metrics['reward_difference'])} more reward than it at a KL of at"
        f" most {number(baseline.kl.value)}; of the losses {name} has most there,"
        f" {with_ends(reward)}."
    )


def ordering(points: Sequence[Point]) -> str:
    """In how many points the implicit reward orders test pairs better than chance."""
    measured = [p for p in points if all("accuracy" in row.metrics for row in p.rows.values())]
    better = sum((point.estimate("accuracy").low or 0) > 0.5 for point in measured)
    return (
        f"The implicit reward orders test pairs better than chance by more than noise in"
        f" {better} of {len(measured)} points."
    )


def published(orderings: Orderings | None) -> str:
    """Which orderings of the published table hold here."""
    if orderings is None:
        return ""
    pairs = orderings.same + orderings.opposite + orderings.untold
    return (
        f"Of the {pairs} pairs of rows that the published table orders by reward, {orderings.same}"
        f" have the same order here by more than noise over prompts and {orderings.opposite} the"
        f" opposite one; {orderings.untold} cannot be told."
    )


def power(verdicts: Sequence[PairVerdict], margin: float | None) -> str:
    """What size of difference the sweep could find, and what counts as none."""
    smallest = smallest_found(verdicts)
    if smallest is None:
        return ""
    if margin is None:
        equal = (
            "No pair can be called equivalent: the rows' samples, which the margin is measured by,"
            " were not kept."
        )
    else:
        equal = (
            f"Equivalent are losses whose 90 % interval lies within ±{number(margin)}, which is"
            f" {MARGIN:g} standard deviations of the reference's reward, fixed beforehand."
        )
    return (
        f"The sweep finds a difference in reward of {number(smallest)} 8 times in 10; most smaller"
        f" ones it misses. {equal}"
    )


def open_pairs(verdicts: Sequence[PairVerdict]) -> str:
    """The pairs that stay undecided, with the seeds that would decide them."""
    undecided = [pair for pair in verdicts if pair.outcome == "undecided" and pair.p is not None]
    near = sorted(
        (pair for pair in undecided if pair.seeds_needed),
        key=lambda pair: pair.seeds_needed or MOST_SEEDS,
    )
    if not undecided:
        return ""
    parts = [
        f"{pair.pair.first} and {pair.pair.second} (about {pair.seeds_needed})" for pair in near
    ]
    far = len(undecided) - len(near)
    rest = f"{far} {plural(far, 'pair')} would take more than {MOST_SEEDS}" if far else ""
    said = [f"seeds that would decide: {listed(parts)}"] if parts else []
    return f"Of the undecided, {'; '.join(filter(None, [*said, rest]))}."


def unmet(verdicts: Sequence[PairVerdict]) -> str:
    """The pairs that have no KL in common."""
    apart = [
        f"{pair.pair.first} and {pair.pair.second}"
        for pair in verdicts
        if pair.outcome == "not compared"
    ]
    if not apart or len(apart) == len(verdicts):
        return ""
    return f"No common range of KL, so not comparable: {listed(apart)}."


def noise(points: Sequence[Point]) -> str:
    """What the intervals hold."""
    counts = sorted({len(point.seeds) for point in points})
    if counts[0] >= SEEDS_FOR_SPREAD:
        return (
            f"Intervals are Student's over {span(counts)} seeds, each a repeat of everything the"
            " sweep does not hold fixed; those of differences take their spread from all pairs"
            " together. Few seeds make wide intervals: a larger sweep may tell apart what this one"
            " cannot."
        )
    seeds = f"{counts[0]} {plural(counts[0], 'seed')}"
    return (
        f"With {seeds} for {'every point' if len(counts) == 1 else 'some points'}, the spread"
        " between repeats cannot be estimated. There, the intervals are over held-out prompts"
        " alone and hold no noise of training, so a difference beyond them may still be chance."
    )


def variance(parts: VarianceParts | None) -> str:
    """Where the noise of a difference comes from, and so what to add."""
    if parts is None or not parts.total:
        return ""
    shares = {"seeds": parts.seed, "held-out prompts": parts.prompt, "samples": parts.sample}
    said = [f"{100 * share / parts.total:.0f} % from {name}" for name, share in shares.items()]
    largest = max(shares, key=lambda name: shares[name])
    return (
        f"Of the variance of a difference at equal KL, {listed(said)}: more {largest} would narrow"
        " the intervals most."
    )


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
