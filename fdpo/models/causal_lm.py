"""Language models from local folders, and the parts of them that the stages call."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils.logging import disable_progress_bar

from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.core.weights import (
    require_all,
    require_finite,
    require_safetensors,
    require_vocabulary,
    short_message,
)
from fdpo.models.packing import ATTENTION

disable_progress_bar()  # weights load in a second

REBUILD_MODEL = "delete the folder and run `dvc repro` to rebuild it"


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in `folder`.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # what a damaged file leads to is not documented
        raise UserError(
            f"{folder}: no readable tokenizer ({short_message(error)}); {REBUILD_MODEL}"
        ) from None


def load_causal_lm(folder: str | Path) -> PreTrainedModel:
    """The causal language model saved in `folder`, float32, in evaluation mode, on the device.

    It attends within the branches of packed rows; `cached_attention` switches to cached decoding.

    Raises:
        UserError: files or weights are missing or damaged, it is no causal language model, or its
            logits are more than a linear head over its last hidden states.
    """
    require_safetensors(folder, "model.safetensors", REBUILD_MODEL)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
        )
        model, loading = loaded
    except Exception as error:  # what a damaged file leads to is not documented
        raise UserError(
            f"{folder}: no readable causal LM ({short_message(error)}); {REBUILD_MODEL}"
        ) from None
    require_all(loading["missing_keys"], folder, REBUILD_MODEL)
    require_finite(model, folder, REBUILD_MODEL)
    if model.get_output_embeddings() is None or getattr(model.lm_head, "bias", None) is not None:
        raise UserError(
            f"{folder}: {type(model).__name__} has no plain linear LM head; choose another"
        )
    return model.eval().to(device())


@contextmanager
def cached_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within, a model loaded for packed rows decodes with a cache instead."""
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(ATTENTION)


def backbone(model: PreTrainedModel) -> nn.Module:
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
    require_vocabulary(tokenizer, head_weight(model).shape[0], folder)


def check_token_ids(model: PreTrainedModel, path: str | Path, records: Sequence) -> None:
    """Check that prompts, alone or with either side of a pair, are ids and positions of the model.

    Args:
        model: the model that will read them.
        path: the file that they come from.
        records: its records, one per line.

    Raises:
        UserError: naming the first line that the model cannot read.
    """
    rows, folder = head_weight(model).shape[0], model.name_or_path
    positions = model.config.max_position_embeddings
    for number, record in enumerate(records, start=1):
        prompt = {"prompt_ids": record.prompt_ids}
        sides = {name: getattr(record, name, []) for name in ("chosen_ids", "rejected_ids")}
        for name, ids in (prompt | sides).items():
            length = len(ids) if ids is record.prompt_ids else len(record.prompt_ids) + len(ids)
            if max(ids, default=0) >= rows:
                problem = f"{name} has {max(ids)}, but {folder} has the ids 0 to {rows - 1}"
            elif length > positions:
                problem = (
                    f"prompt_ids and {name} are {length} tokens, but {folder} has {positions}"
                    " positions"
                )
            else:
                continue
            raise UserError(
                f"{path}:{number}: {problem}; correct the line or rebuild with `dvc repro`"
            )


def check_modules(model: PreTrainedModel, wanted: Sequence[str]) -> None:
    """Raise `UserError` when a name in train.lora.target_modules ends that of no linear layer."""
    linear = [name for name, module in backbone(model).named_modules() if _is_linear(module)]
    for name in wanted:
        if not any(f".{path}".endswith(f".{name}") for path in linear):
            choices = ", ".join(sorted({path.rsplit(".", 1)[-1] for path in linear}))
            raise UserError(
                f"train.lora.target_modules has {name!r}: no such module in {model.name_or_path};"
                f" choose from {choices}"
            )


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)  # GPT-2 has the latter
