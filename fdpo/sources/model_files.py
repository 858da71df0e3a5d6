"""Which files make a model's folder, and its weights as one file of safetensors."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from huggingface_hub import save_torch_state_dict

from fdpo.core.errors import UserError
from fdpo.core.files import read_json

# What text is tokenised and rendered with.
TOKENIZER_FILES = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
}
# What models need beside weights, where they have it. Never code: a .py is not fetched.
MODEL_FILES = TOKENIZER_FILES | {"config.json", "generation_config.json", "adapter_config.json"}
# The file of weights, and the pickle that has them where that is missing.
MODEL = ("model.safetensors", "pytorch_model.bin")
ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")


def gather(
    names: Iterable[str],
    fetch: Callable[[list[str]], None],
    folder: Path,
    kind: tuple[str, str],
    where: str,
) -> str:
    """Fetch a model's files into `folder`, and make its weights one file of safetensors.

    Shards are joined, which takes as much memory as the model; pickled weights, where there are no
    others, are loaded as plain tensors and saved.

    Args:
        names: the files that there are.
        fetch: puts files of these names into `folder`.
        folder: where the model is gathered.
        kind: `MODEL` or `ADAPTER`.
        where: names the model in an error.

    Returns: the format that the weights had. Raises `UserError` where there are none, an index
    lists no shards, or a pickle holds more than tensors.
    """
    names = set(names)
    safe, pickled = kind
    index = f"{safe}.index.json"
    weights = next((name for name in (safe, index, pickled) if name in names), None)
    if weights is None:
        if ADAPTER[0] in names:
            raise UserError(
                f"{where}: an adapter and no whole model; name its base here, and it as `adapter`"
            )
        raise UserError(f"{where}: has neither {safe} nor {pickled}; name another model")
    fetch([*sorted(MODEL_FILES & names), weights])
    if weights == index:
        shards = _shards(folder / index, f"{where}: {index}")
        fetch(shards)
        _make_one(folder, shards, safe, f"{where}: a shard")
        (folder / index).unlink(missing_ok=True)
    elif weights == pickled:
        _make_one(folder, [weights], safe, f"{where}: {weights}")
    return "pickle, loaded weights-only" if weights == pickled else "safetensors"


def _shards(index: Path, name: str) -> list[str]:
    content = read_json(index)
    listed = content.get("weight_map") if isinstance(content, dict) else None
    shards = sorted({str(shard) for shard in listed.values()}) if isinstance(listed, dict) else []
    if not shards or not all(re.fullmatch(r"[\w-][\w.-]*\.safetensors", s) for s in shards):
        raise UserError(f"{name} lists no safetensors of its own folder; pin another revision")
    return shards


def _make_one(folder: Path, files: list[str], safe: str, name: str) -> None:
    """Replace shards or a pickled state dict by one file; tensors under two names are kept once."""
    import torch  # not above: datasets need no torch, and it takes seconds
    from safetensors.torch import load_file

    tensors: dict[str, Any] = {}
    for file in files:
        try:
            if file.endswith(".safetensors"):
                found = load_file(folder / file)
            else:
                found = torch.load(folder / file, map_location="cpu", weights_only=True)
        except (UnpicklingError, RuntimeError, EOFError, ValueError):
            found = None
        if not isinstance(found, dict) or not all(map(torch.is_tensor, found.values())):
            raise UserError(
                f"{name} holds something other than plain tensors, so it was not loaded;"
                " pin a revision that has safetensors"
            )
        tensors |= found
    save_torch_state_dict(
        tensors,
        folder,
        filename_pattern=safe.replace(".", "{suffix}."),
        max_shard_size="100GB",
        metadata={"format": "pt"},
    )
    for file in files:
        (folder / file).unlink(missing_ok=True)  # the call above removes what it takes for old
