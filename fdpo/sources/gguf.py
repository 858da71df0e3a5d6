"""A GGUF file as a model folder that anything in the Transformers family can load."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from fdpo.core.weights import reason


def convert(gguf_file: Path, destination: Path) -> None:
    """De-quantise `gguf_file` to float32 safetensors in `destination`, with its tokeniser.

    Loading a GGUF takes half a minute, and a model that is still marked as quantised can be neither
    saved nor trained; the folder loads in a second like any other. The same file gives the same
    bytes. Raises `UserError` when it can't be read.
    """
    source = {"pretrained_model_name_or_path": gguf_file.parent, "gguf_file": gguf_file.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(**source)
    except Exception as error:  # what a damaged file leads to is not documented
        raise UserError(
            f"{gguf_file.name}: no readable GGUF ({reason(error)}); pin another model"
        ) from None
    with replacing(destination) as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
