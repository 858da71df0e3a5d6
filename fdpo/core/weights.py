"""What weights must be before they are used: safetensors, all there, finite, enough rows."""

from collections.abc import Iterable, Sized
from pathlib import Path

from torch import nn

from fdpo.core.errors import UserError

_PICKLED = {
    "model.safetensors": "pytorch_model.bin",
    "adapter_model.safetensors": "adapter_model.bin",
}


def require_safetensors(folder: str | Path, name: str, remedy: str) -> None:
    """Raise `UserError` when `folder` has no file `name`, be there a pickle in its place or not.

    Asked before a library is, which would look for a pickle, or for the folder on the Hub.
    """
    if (Path(folder) / name).is_file():
        return
    pickled = _PICKLED[name]
    found = (Path(folder) / pickled).exists()
    also = f", and pickled weights ({pickled}) are never loaded" if found else ""
    raise UserError(f"{folder}/{name}: missing{also}; {remedy}")


def require_all(missing: Iterable[str], folder: str | Path, remedy: str) -> None:
    """Raise `UserError` when the file lacked weights, which the library has drawn at random."""
    for name in sorted(missing):
        raise UserError(f"{folder}: no weights for {name}; {remedy}")


def require_finite(model: nn.Module, folder: str | Path, remedy: str) -> None:
    """Raise `UserError` when a weight is NaN or infinite; so would be all that it computes."""
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


def reason(error: Exception) -> str:
    """The beginning of what a library says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
