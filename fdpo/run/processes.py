"""The processes that share a stage's work; `launch` in params.yaml says how they are started."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from fdpo.core.device import device
from fdpo.run import locks

Item = TypeVar("Item")
Result = TypeVar("Result")


def run(stage: str, main: Callable[[], None]) -> None:
    """`locks.run` for a stage that one or several processes run alike."""
    locks.run(stage, main)
    _state().destroy_process_group()


def count() -> int:
    """How many processes there are: 1 without a launcher."""
    return _state().num_processes


def is_main() -> bool:
    """Whether this is the one process that writes and reports."""
    return _state().is_main_process


def from_main(value: Item | None) -> Item:
    """The main process's `value`, on every process."""
    return broadcast_object_list([value])[0]


def wait() -> None:
    """Go on when every process has come here."""
    _state().wait_for_everyone()


def share_out(
    work: Callable[[Item], Result], items: Sequence[Item], title: str, done: int = 0
) -> Iterator[Result]:
    """`work(item)` of every item but the first `done`, on every process; each does its turns.

    Items stay whole and results come in order, so they are those of one process, to the bit. The
    main process shows a bar with `title`.
    """
    turn = _state().process_index
    with tqdm(desc=title, total=len(items), initial=done, disable=not is_main()) as bar:
        for start in range(done, len(items), count()):
            own = items[start : start + count()][turn : turn + 1]
            for result in gather_object([work(item) for item in own]):
                yield result
                bar.update()


def _state() -> PartialState:
    return PartialState(cpu=device().type == "cpu")
