"""Numbers, intervals and lists as people read them."""

from collections.abc import Iterable

from fdpo.baselines.intervals import Interval


def number(value: float) -> str:
    """Three decimals, fewer where the number is large."""
    return f"{value:.{3 if abs(value) < 10 else 2 if abs(value) < 100 else 1}f}"


def with_ends(value: float, low: float | None, high: float | None) -> str:
    """A value with the ends of its interval, where it has one."""
    return number(value) + (
        "" if low is None or high is None else f" [{number(low)}, {number(high)}]"
    )


def interval(value: Interval | None) -> str:
    """An interval, or a dash."""
    return "–" if value is None else with_ends(value.value, value.low, value.high)


def listed(parts: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = list(parts) or ["none"]
    return f"{', '.join(most)} and {last}" if most else last
