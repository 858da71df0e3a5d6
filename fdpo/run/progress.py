"""How far a stage's work has come: a bar in a terminal, elsewhere a line every so often."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Protocol, TypeVar

from tqdm import tqdm

Counted = TypeVar("Counted")

SECONDS_BETWEEN_LINES = 10.0
_BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit}"
    " [{elapsed}, {remaining} left{postfix}]"
)


class Progress(Protocol):
    """Shows on stderr how much of some work is done, and how long the rest will take."""

    note: str
    """What else is worth seeing, such as the loss."""

    def advance(self, count: int) -> None:
        """So many more are done."""
        ...

    def close(self) -> None:
        """The work has ended."""
        ...


def progress_of(
    title: str, total: int, unit: str, done: int = 0, leave: bool = True, shown: bool = True
) -> Progress:
    """A bar where stderr is a terminal, else lines.

    Args:
        title: the name of the work.
        total: how much there is to do.
        unit: what is counted, in the plural.
        done: how much of it was done before.
        leave: whether a bar stays in the terminal when the work has ended.
        shown: whether there is anything to see.
    """
    if shown and sys.stderr.isatty():
        return ProgressBar(title, total, unit, done, leave)
    return ProgressLines(title, total, unit, done, shown)


def counted(items: Iterable[Counted], title: str, total: int, unit: str) -> Iterator[Counted]:
    """`items`, `total` of them, as they are; each that is taken is progress."""
    with closing(progress_of(title, total, unit)) as progress:
        for item in items:
            yield item
            progress.advance(1)


class ProgressBar:
    """A bar that is drawn in place."""

    def __init__(self, title: str, total: int, unit: str, done: int, leave: bool):
        self.note = ""
        self._bar = tqdm(
            desc=title,
            total=total,
            initial=done,
            unit=f" {unit}",
            leave=leave,
            bar_format=_BAR,
            dynamic_ncols=True,
            disable=False,
        )

    def advance(self, count: int) -> None:
        """Count, and draw the bar a few times per second at most."""
        self._bar.set_postfix_str(self.note, refresh=False)
        self._bar.update(count)

    def close(self) -> None:
        """Draw the bar a last time, or remove it."""
        self._bar.set_postfix_str(self.note, refresh=False)
        self._bar.close()


class ProgressLines:
    """Whole lines: of a bar a file would keep every drawing."""

    def __init__(self, title: str, total: int, unit: str, done: int, shown: bool):
        self.note = ""
        self._title, self._total, self._unit = title, total, unit
        self._before = self._done = done
        self._begun = self._last_line = time.monotonic()
        self._shown = shown
        if shown and done:
            print(f"{title}: goes on after {done} of {total} {unit}", file=sys.stderr, flush=True)

    def advance(self, count: int) -> None:
        """Count, and write a line unless the last one is recent."""
        self._done += count
        now = time.monotonic()
        if not self._shown or now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        pace = (now - self._begun) / (self._done - self._before)
        left = tqdm.format_interval(pace * (self._total - self._done))
        words = (f"{self._done} of {self._total} {self._unit}", self.note, f"{left} left")
        print(f"{self._title}: {', '.join(filter(None, words))}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing: every line is whole."""
