"""Numbers, intervals and lists as people read them."""

from collections.abc import Iterable, Sequence

from experiments.report.analysis.estimates import Estimate
from fdpo.baselines.intervals import Interval

LONGEST = 10  # items of a list in a sentence


def number(value: float) -> str:
    """Three decimals, fewer where the number is large."""
    return f"{value:.{3 if abs(value) < 10 else 2 if abs(value) < 100 else 1}f}"


def ends(interval: Interval | Estimate) -> str:
    """An interval's two ends, in brackets."""
    if interval.low is None or interval.high is None:
        return "[no interval]"
    return f"[{number(interval.low)}, {number(interval.high)}]"


def with_ends(interval: Interval | Estimate) -> str:
    """A value with the ends of its interval."""
    return f"{number(interval.value)} {ends(interval)}"


def span(values: Sequence[int]) -> str:
    """The first and the last of sorted values, or the one where they are equal."""
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def plural(count: int, noun: str) -> str:
    """The noun, with an s unless it counts one."""
    return noun if count == 1 else f"{noun}s"


def listed(parts: Iterable[str]) -> str:
    """`a, b and c`; of more than `LONGEST` the first, and how many more there are."""
    every = list(parts)
    if len(every) > LONGEST:
        every = [*every[: LONGEST - 1], f"{len(every) - LONGEST + 1} more"]
    *most, last = every or [""]
    return f"{', '.join(most)} and {last}" if most else last
