"""The processes that share a stage's work; `launch` in params.yaml says how they are started."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from fdpo.core.device import device
from fdpo.run import stage
from fdpo.run.progress import progress_of

Item = TypeVar("Item")
Result = TypeVar("Result")


def run(name: str, main: Callable[[], None]) -> None:
    """`stage.run` for a stage that one or several processes run alike."""
    stage.run(name, main)
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
    work: Callable[[Item], Result],
    items: Sequence[Item],
    title: str,
    size: Callable[[Item], int],
    unit: str,
    done: int = 0,
) -> Iterator[Result]:
    """`work(item)` of every item but the first `done`, on every process; each does its turns.

    Results come in order, those of one process to the bit. The main process shows the progress of
    the work `title`, in `unit`, of which an item has `size`.
    """
    turn = _state().process_index
    sizes = [size(item) for item in items]
    with progress_of(title, sum(sizes), unit, sum(sizes[:done]), shown=is_main()) as progress:
        for start in range(done, len(items), count()):
            own = items[start : start + count()][turn : turn + 1]
            results = gather_object([work(item) for item in own])
            for result, of_item in zip(results, sizes[start:], strict=False):
                yield result
                progress.update(of_item)


def _state() -> PartialState:
    return PartialState(cpu=device().type == "cpu")
