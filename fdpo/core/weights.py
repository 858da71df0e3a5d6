"""Checks of weights before they are used: safetensors, complete, finite, enough rows."""

from collections.abc import Iterable, Sized
from pathlib import Path
from typing import TYPE_CHECKING

from fdpo.core.errors import UserError

if TYPE_CHECKING:  # importing torch takes seconds, and some callers load no model
    from torch import nn

_PICKLED = {
    "model.safetensors": "pytorch_model.bin",
    "adapter_model.safetensors": "adapter_model.bin",
}


def require_safetensors(folder: str | Path, name: str, remedy: str) -> None:
    """Raise `UserError` when `folder` has no file `name`, even if it has a pickle instead.

    Call this before a library loads the folder: the library would look for a pickle, or on the Hub.
    """
    if (Path(folder) / name).is_file():
        return
    pickled = _PICKLED[name]
    has_pickle = (Path(folder) / pickled).exists()
    note = f", and pickled weights ({pickled}) are never loaded" if has_pickle else ""
    raise UserError(f"{folder}/{name}: missing{note}; {remedy}")


def require_all(missing: Iterable[str], folder: str | Path, remedy: str) -> None:
    """Raise `UserError` when the file lacked weights: the library has drawn those at random."""
    for name in sorted(missing):
        raise UserError(f"{folder}: no weights for {name}; {remedy}")


def require_finite(model: "nn.Module", folder: str | Path, remedy: str) -> None:
    """Raise `UserError` when a weight is NaN or infinite, as everything computed would be too."""
    for name, weights in model.named_parameters():
        if not weights.isfinite().all():
            raise UserError(f"{folder}: {name} holds a value that is not finite; {remedy}")


def require_vocabulary(tokenizer: Sized, rows: int, folder: str | Path) -> None:
    """Raise `UserError` when the tokenizer can name more ids than the model has `rows` for."""
    if len(tokenizer) > rows:
        raise UserError(
            f"{folder}: the tokenizer has {len(tokenizer)} ids, the model {rows};"
            " use the tokenizer that the model was trained with"
        )


def short_message(error: Exception) -> str:
    """The first 200 characters of a library's message, on one line, to quote in a `UserError`."""
    return " ".join(str(error).split())[:200] or type(error).__name__
