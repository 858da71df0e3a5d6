"""The reference as a folder: fetched or copied, an adapter merged in, its precision noted."""

import shutil
import tempfile
from pathlib import Path

from fdpo.config.sources import Place, Reference
from fdpo.core.errors import UserError
from fdpo.core.files import replacing, write_json
from fdpo.core.local_files import local_files, sha256_of
from fdpo.core.origin import ORIGIN_FILE, Origin, add_to_origin
from fdpo.sources import hub
from fdpo.sources.model_files import ADAPTER, MODEL, TOKENIZER_FILES, gather


def fetch_reference(wanted: Reference, destination: Path) -> None:
    """Put the reference into the folder `destination`, replacing it, with its adapter merged in.

    source.json says where it comes from and its `dtype`. Raises `UserError` as `fetch_folder`, or
    where the adapter is none of this model; `destination` is then as it was.
    """
    with replacing(destination) as scratch:
        fetch_folder(wanted, scratch)
        if wanted.adapter is not None:
            _merge(scratch, wanted.adapter)
        if wanted.dtype != "float32":
            add_to_origin(scratch, dtype=wanted.dtype)


def fetch_folder(wanted: Place, destination: Path, kind: tuple[str, str] = MODEL) -> Origin:
    """Put a model or an adapter of the Hub or of a local folder into `destination`, replacing it.

    Raises `UserError` where it can't be had, as `hub.fetch_model` does.
    """
    if wanted.repo:
        return hub.fetch_model(wanted.repo, wanted.revision, destination, kind)
    files = local_files(wanted.path)
    with replacing(destination) as scratch:
        scratch.mkdir()

        def copy(names: list[str]) -> None:
            for name in names:
                if name not in files:
                    raise UserError(f"{wanted.path}/{name}: missing, though an index lists it")
                shutil.copyfile(files[name], scratch / name)

        weights = gather(files, copy, scratch, kind, wanted.path)
        origin = {"folder": wanted.path, "sha256": sha256_of(wanted.path), "weights": weights}
        write_json(scratch / ORIGIN_FILE, origin)
    return origin


def _merge(model: Path, wanted: Place) -> None:
    """Merge an adapter into the weights in the folder `model`, in float32, by PEFT.

    The adapter's own tokenizer, where it has one, takes the place of the model's: it was trained
    with it.
    """
    from fdpo.models import adapters, causal_lm  # not above: these take seconds

    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        adapter, saved = Path(folder, "adapter"), Path(folder, "saved")
        origin = fetch_folder(wanted, adapter, ADAPTER)
        name = f"model {wanted.repo}" if wanted.repo else wanted.path
        base = causal_lm.load_causal_lm(model, "name another reference")
        result = adapters.merged(base, adapter, "name a LoRA adapter of this reference", name)
        result.save_pretrained(saved, max_shard_size="100TB")
        for file in ("config.json", MODEL[0]):
            shutil.move(saved / file, model / file)
        if (adapter / "tokenizer_config.json").exists():
            for file in TOKENIZER_FILES:
                (model / file).unlink(missing_ok=True)
                if (adapter / file).exists():
                    shutil.copyfile(adapter / file, model / file)
    add_to_origin(model, **{f"adapter_{key}": value for key, value in origin.items()})
