"""Checks of weights before they are used: safetensors, complete, finite, enough rows."""

import re
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from fdpo.core.errors import UserError
from fdpo.core.files import read_json_object

if TYPE_CHECKING:  # importing torch takes seconds, and some callers load no model
    from torch import nn

# Older files hold what a model computes from its config: positions, causal masks, rotary angles.
_BUFFER = re.compile(
    r"(^|\.)(position_ids|token_type_ids|inv_freq|masked_bias|(attn|attention)\.bias)$"
)


def from_folder(auto_class: Any, folder: Path, what: str, remedy: str, **options: Any) -> Any:
    """`auto_class.from_pretrained` without the network or the folder's code.

    Raises `UserError` for any failure.
    """
    try:
        return auto_class.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:
        raise unreadable(folder, what, error, remedy) from None


def model_from_folder(
    auto_class: Any, folder: Path, what: str, rebuild: str, unused: str = ""
) -> Any:
    """A model in float32 and evaluation mode with exactly the weights of its file, all finite.

    `unused` is as for `require_exact`. Raises `UserError` for any failure.
    """
    import torch  # not above: it takes seconds, and some callers load no model

    require_safetensors(folder, "model.safetensors", rebuild)
    options = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
    options["ignore_mismatched_sizes"] = True  # they are refused next, by name
    model, loading = from_folder(auto_class, folder, what, rebuild, **options)
    require_exact(loading, folder, "correct it, or name another model", unused)
    require_finite(model, folder, rebuild)
    return model.eval()


def require_safetensors(folder: str | Path, name: str, remedy: str) -> None:
    """Raise `UserError` when `folder` has no file `name`, or holds quantised weights.

    Call this before a library loads the folder: the library would look for a pickle, or on the Hub.
    """
    if not Path(folder, name).is_file():
        raise UserError(f"{folder}/{name}: missing; {remedy}")
    config = Path(folder, "config.json")
    if config.is_file() and (quantised := read_json_object(config).get("quantization_config")):
        raise UserError(
            f"{config}: quantization_config = {quantised!r:.80}: quantised weights are not read;"
            " name the model in float32, float16 or bfloat16"
        )


def require_exact(
    loading: Mapping[str, Any],
    folder: str | Path,
    remedy: str,
    unused: str = "",
    config: str = "config.json",
) -> None:
    """Raise `UserError` unless file and model hold the same weights; the file may have buffers too.

    A weight that the model does not take is as wrong as one that it lacks: the file was then saved
    from another architecture, from a wrapper of the model (torch.compile, FSDP, …), or with other
    settings than its config's.

    Args:
        loading: what `from_pretrained(..., output_loading_info=True, ignore_mismatched_sizes=True)`
            returns beside the model.
        folder: named in the error.
        remedy: what to do about it.
        unused: prefix of weights that the caller never uses, so that either side may lack them.
        config: the file that says which weights the model has.
    """
    for name in sorted(loading["unexpected_keys"]):
        if not (unused and name.startswith(unused)) and not _BUFFER.search(name):
            raise UserError(
                f"{folder}: holds weights {name}, which its {config} does not name; {remedy}"
            )
    for name, stored, wanted in sorted(loading.get("mismatched_keys", ())):
        shapes = f"{list(stored)}, and {list(wanted)} by its {config}"
        raise UserError(f"{folder}: its weights {name} are {shapes}; {remedy}")
    for name in sorted(loading["missing_keys"]):
        if not (unused and name.startswith(unused)):
            raise UserError(f"{folder}: no weights for {name}, which its {config} names; {remedy}")


def unreadable(folder: str | Path, kind: str, error: Exception, rebuild: str) -> UserError:
    """One line for what a library raised over the `kind` of model in `folder`.

    `rebuild` is advised where a file is damaged or missing; else the library can't read the model.
    """
    is_there = Path(folder, "config.json").is_file()
    is_damaged = not is_there or isinstance(error, OSError | SafetensorError)
    remedy = rebuild if is_damaged else "correct it, or name another model"
    return UserError(f"{folder}: no readable {kind} ({short_message(error)}); {remedy}")


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
