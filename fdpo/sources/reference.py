"""The reference as a folder: fetched or copied, an adapter merged in, its precision noted."""

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from fdpo.config.sources import Place, Reference
from fdpo.core.errors import UserError
from fdpo.core.files import replacing, write_json
from fdpo.core.local_files import local_files, sha256_of
from fdpo.core.origin import ORIGIN_FILE, LocalOrigin, Origin, add_to_origin, present_fields
from fdpo.sources import hub
from fdpo.sources.model_files import ADAPTER, MODEL, TOKENIZER_FILES, WeightFiles, gather


def fetch_reference(wanted: Reference, destination: Path) -> None:
    """Put the reference into the folder `destination`, replacing it, with its adapter merged in.

    source.json says where it comes from, and `dtype` where its weights are to be held in bfloat16.
    Raises `UserError` as `fetch_folder` and `merge_adapter` do; `destination` is then left as it
    was.
    """
    with replacing(destination) as scratch:
        fetch_folder(wanted, scratch)
        if wanted.adapter is not None:
            with tempfile.TemporaryDirectory() as folder:
                adapter = Path(folder, "adapter")
                origin = fetch_folder(wanted.adapter, adapter, ADAPTER)
                name = (
                    f"model {wanted.adapter.repo}" if wanted.adapter.repo else wanted.adapter.path
                )
                merge_adapter(scratch, adapter, name)
            facts = present_fields(origin).items()
            add_to_origin(scratch, **{f"adapter_{key}": value for key, value in facts})
        if wanted.dtype != "float32":
            add_to_origin(scratch, dtype=wanted.dtype)


def fetch_folder(
    wanted: Place, destination: Path, kind: WeightFiles = MODEL
) -> Origin | LocalOrigin:
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
        origin = LocalOrigin(wanted.path, sha256_of(wanted.path), weights)
        write_json(scratch / ORIGIN_FILE, asdict(origin))
    return origin


def merge_adapter(model: Path, adapter: Path, name: str) -> None:
    """Merge the adapter in a folder into the weights in the folder `model`, in float32, by PEFT.

    The adapter's own tokenizer, where it has one, takes the place of the model's: it was trained
    with it. `name` names the adapter in an error.

    Raises:
        UserError: it is no LoRA adapter, one of another model, or one that merging would change.
    """
    from fdpo.models import adapters, causal_lm  # not above: these take seconds

    base = causal_lm.load_causal_lm(model, "name another reference")
    result = adapters.merged(base, adapter, "name a LoRA adapter of this reference", name)
    with tempfile.TemporaryDirectory(dir=model.parent) as scratch:
        result.save_pretrained(scratch, max_shard_size="100TB")
        for file in ("config.json", MODEL.safe):
            shutil.move(Path(scratch, file), model / file)
    if (adapter / "tokenizer_config.json").exists():
        for file in TOKENIZER_FILES:
            (model / file).unlink(missing_ok=True)
            if (adapter / file).exists():
                shutil.copyfile(adapter / file, model / file)
