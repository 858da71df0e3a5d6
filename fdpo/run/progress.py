"""How far a stage's work has come: a bar in a terminal, elsewhere a line every so often."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

Counted = TypeVar("Counted")

SECONDS_BETWEEN_LINES = 10.0


class Progress(tqdm):
    """tqdm's bar; where stderr is a file, which would keep every drawing, whole lines of it."""

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draw the bar in place, or write a line."""
        if sys.stderr.isatty():
            return super().display(msg, pos)
        if self.n > self.initial:
            print(str(self) if msg is None else msg, file=sys.stderr, flush=True)
        return None

    def note(self, text: str) -> None:
        """Say what else is worth seeing, such as the loss, the next time the bar is drawn."""
        self.set_postfix_str(text, refresh=False)


def progress_of(
    title: str, total: int, unit: str, done: int = 0, leave: bool = True, shown: bool = True
) -> Progress:
    """The progress of the work `title`, of which `done` of `total` units were done before.

    `unit` is in the plural. With `leave` a bar stays in the terminal when the work has ended.
    """
    in_terminal = sys.stderr.isatty()
    return Progress(
        desc=title,
        total=total,
        initial=done,
        unit=f" {unit}",
        leave=leave and in_terminal,
        disable=not shown,
        dynamic_ncols=in_terminal,
        mininterval=0.1 if in_terminal else SECONDS_BETWEEN_LINES,
        maxinterval=SECONDS_BETWEEN_LINES,
        bar_format=None
        if in_terminal
        else "{desc}: {n_fmt} of {total_fmt}{unit}, {remaining} left{postfix}",
    )


def counted(items: Iterable[Counted], title: str, total: int, unit: str) -> Iterator[Counted]:
    """`items`, `total` of them, as they are; each that is taken is progress."""
    with progress_of(title, total, unit) as progress:
        for item in items:
            yield item
            progress.update(1)
