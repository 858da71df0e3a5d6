"""A GGUF file as a model folder that anything in the Transformers family can load."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from fdpo.core.weights import short_message


def convert(gguf_file: Path, destination: Path) -> None:
    """De-quantise `gguf_file` to float32 safetensors in `destination`, with its tokenizer.

    The same file gives the same bytes. Raises `UserError` when the file can't be read.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            gguf_file.parent,
            gguf_file=gguf_file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    except Exception as error:  # what a damaged file leads to is not documented
        message = short_message(error)
        raise UserError(f"{gguf_file.name}: no readable GGUF ({message})") from None
    with replacing(destination) as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
