"""Language models from local folders, and the parts of them that the stages call."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from fdpo.device import device
from fdpo.errors import UserError
from fdpo.packing import ATTENTION

disable_progress_bar()  # weights load in a second

REBUILD = "delete the folder and run `dvc repro` to rebuild it"


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in `folder`. Raises `UserError` when it cannot be read."""
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no readable tokenizer ({_brief(error)}); {REBUILD}") from None


def load_causal_lm(folder: str | Path) -> PreTrainedModel:
    """The causal language model saved in `folder`, float32, in evaluation mode, on the device.

    It attends within the branches of packed rows; `decoding` switches to cached decoding.
    Raises `UserError` when files are missing or damaged, when it is no causal language model, or
    when its logits are more than a linear head over its last hidden states.
    """
    if not (Path(folder) / "model.safetensors").is_file():
        raise UserError(f"{folder}/model.safetensors: missing; {REBUILD}")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder}: no readable causal LM ({_brief(error)}); {REBUILD}") from None
    if model.get_output_embeddings() is None or getattr(model.lm_head, "bias", None) is not None:
        raise UserError(
            f"{folder}: {type(model).__name__} has no plain linear LM head; choose another"
        )
    return model.eval().to(device())


@contextmanager
def decoding(model: PreTrainedModel) -> Iterator[None]:
    """Within, a model loaded for packed rows decodes with a cache instead."""
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(ATTENTION)


def decoder(model: PreTrainedModel) -> nn.Module:
    """The part below the LM head, whose last hidden states the head projects to logits."""
    return model.base_model


def head_weight(model: PreTrainedModel) -> Tensor:
    """The LM head's weight, [vocabulary, hidden]."""
    return model.get_output_embeddings().weight


def end_of_text_ids(model: PreTrainedModel) -> list[int]:
    """The ids that end a completion, as the model's generation config lists them."""
    ids = model.generation_config.eos_token_id
    return [ids] if isinstance(ids, int) else list(ids or [])


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder) -> None:
    """Raise `UserError` when the tokenizer can name ids that the model does not have."""
    rows = head_weight(model).shape[0]
    if len(tokenizer) > rows:
        raise UserError(
            f"{folder}: the tokenizer has {len(tokenizer)} ids, the model {rows}; "
            "use the tokenizer that the model was trained with"
        )


def _brief(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
