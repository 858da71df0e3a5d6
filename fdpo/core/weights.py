"""Checks of weights before they are used: safetensors, complete, finite, enough rows."""

import re
from collections.abc import Iterable, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdpo.core.errors import UserError

if TYPE_CHECKING:  # importing torch takes seconds, and some callers load no model
    from torch import nn

_PICKLED = {
    "model.safetensors": "pytorch_model.bin",
    "adapter_model.safetensors": "adapter_model.bin",
}
# Older files hold what a model computes from its config: positions, causal masks, rotary angles.
_BUFFER = re.compile(
    r"(^|\.)(position_ids|token_type_ids|inv_freq|masked_bias|(attn|attention)\.bias)$"
)


def from_folder(auto_class: Any, folder: Path, what: str, remedy: str, **options: Any) -> Any:
    """`auto_class.from_pretrained` without the network or the folder's code.

    Raises `UserError`, whatever goes wrong: what a damaged file leads to is not documented.
    """
    try:
        return auto_class.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:
        raise UserError(
            f"{folder}: can't be loaded as {what} ({short_message(error)}); {remedy}"
        ) from None


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


def require_exact(
    loading: Mapping[str, Any], folder: str | Path, remedy: str, unused: str = ""
) -> None:
    """Raise `UserError` unless file and model hold the same weights; the file may have buffers too.

    A weight that the model does not take is as wrong as one that it lacks: the file was then saved
    from another architecture, or with other settings than its config's.

    Args:
        loading: what `from_pretrained(..., output_loading_info=True)` returns beside the model.
        folder: named in the error.
        remedy: what to do about weights that are missing.
        unused: prefix of weights that the caller never uses, so that either side may lack them.
    """

    def counted(key: str) -> list[str]:
        return sorted(n for n in loading[key] if not unused or not n.startswith(unused))

    require_all(counted("missing_keys"), folder, remedy)
    for name in counted("unexpected_keys"):
        if not _BUFFER.search(name):
            raise UserError(
                f"{folder}: its model has no place for the weights {name}; correct config.json,"
                " which describes another model than the file holds"
            )


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


def short_message(error: Exception | str) -> str:
    """The first 200 characters of a library's message, on one line, to quote in a `UserError`."""
    return " ".join(str(error).split())[:200] or type(error).__name__
