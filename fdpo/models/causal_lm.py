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
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D
from transformers.utils.logging import disable_progress_bar

from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.core.origin import read_origin
from fdpo.core.weights import (
    require_exact,
    require_finite,
    require_safetensors,
    require_vocabulary,
    unreadable,
)
from fdpo.models.attention import BRANCHES, CACHED
from fdpo.models.packing import pack

disable_progress_bar()  # weights load in a second

REBUILD_MODEL = "run `dvc repro` to rebuild it"
OTHER_MODEL = "correct it, or name another model"


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
        raise unreadable(folder, "tokenizer", error, REBUILD_MODEL) from None


def held_dtype(folder: str | Path) -> torch.dtype:
    """What the reference in `folder` is held in while it is sampled and a policy trained from it.

    It is what `prepare.reference.dtype` said; measuring is done in float32.
    """
    return {"bfloat16": torch.bfloat16}.get(
        read_origin(Path(folder)).get("dtype", ""), torch.float32
    )


def load_causal_lm(
    folder: str | Path, remedy: str = REBUILD_MODEL, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """The causal language model saved in `folder`, in evaluation mode, on the device.

    It attends within the branches of packed rows; `cached_attention` switches to cached decoding.
    What it computes is checked by `fdpo.models.packing_probe`, before anything is made of it.

    Raises:
        UserError: files are missing or damaged (`remedy` says what to do then), their weights are
            not those of the model, or it is no causal language model with a linear head.
    """
    require_safetensors(folder, "model.safetensors", remedy)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            use_safetensors=True,
            dtype=dtype,
        )
        model, loading = loaded
    except Exception as error:  # what a damaged file leads to is not documented
        raise unreadable(folder, "causal LM", error, remedy) from None
    require_exact(loading, folder, OTHER_MODEL)
    require_finite(model, folder, OTHER_MODEL)
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise UserError(
            f"{folder}: {type(model).__name__} has no linear LM head; choose a model of a family"
            " in docs/models.md"
        )
    if sum(p is head.weight for _, p in model.named_parameters(remove_duplicate=False)) == 1:
        # A file may hold a head of its own though its config ties it; nothing may tie it later.
        model.config.get_text_config().tie_word_embeddings = False
    model = model.eval().to(device())
    use_branch_attention(model)
    return model


def turn_off_randomness(model: PreTrainedModel) -> None:
    """Let a model in training compute what it does in evaluation: no dropout of any kind.

    Some models drop out by functions that ask their module's flag alone, skip whole layers, or add
    noise to the choice of experts. So all modules are in evaluation mode, but the outermost, whose
    flag trainers read, and layers that are to be run again in the backward pass, which happens in
    training mode alone: for them dropout is 0.
    """
    model.eval()
    model.training = True
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True
            for name, value in vars(module).items():
                if "drop" in name and isinstance(value, float):
                    setattr(module, name, 0.0)


@contextmanager
def full_precision(model: PreTrainedModel) -> Iterator[None]:
    """Within, parameters that are held in less are float32, to compare two ways of computing.

    Buffers stay: rotary frequencies, for one, are float32 in a model of any dtype.
    """
    held = {p: p.data for p in model.parameters() if p.dtype.itemsize < torch.float32.itemsize}
    with torch.inference_mode(False):  # else no gradient could flow through them afterwards
        for parameter in held:
            parameter.data = parameter.data.float()
    try:
        yield
    finally:
        for parameter, weights in held.items():
            parameter.data = weights


@contextmanager
def cached_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within, a model loaded for packed rows decodes with a cache instead."""
    with attention_implementation(model, CACHED):
        yield


def use_branch_attention(model: PreTrainedModel) -> None:
    """Let a model attend within the branches of packed rows, if its code leads there.

    It does where attention is Transformers' interface and keywords reach it. Other models stay as
    they are, and their sequences are run as rows of their own.
    """
    if not model._can_set_attn_implementation():  # the public setter would warn
        return
    before = model.config._attn_implementation
    model.set_attn_implementation(BRANCHES)
    branches = pack([([0], [[0, 0]])]).to(model.device)
    try:
        with torch.inference_mode():
            backbone(model)(branches.input_ids, use_cache=False, **branches.attention)
    except TypeError:  # the indices did not arrive
        model.set_attn_implementation(before)
    except Exception:  # noqa: S110 - what a model lacks, the probe says
        pass


@contextmanager
def attention_implementation(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Within, a model that has Transformers' attention interface attends by `name`."""
    before = model.config._attn_implementation
    if before != BRANCHES:  # a model without that interface has one attention
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def backbone(model: PreTrainedModel) -> nn.Module:
    """The part below the LM head, whose last hidden states the head projects to logits."""
    return model.base_model


def head_weight(model: PreTrainedModel) -> Tensor:
    """The LM head's weight, [vocabulary, hidden]."""
    return model.get_output_embeddings().weight


def position_limit(model: PreTrainedModel) -> int | None:
    """The most tokens of a sequence that the model was made for; None where its config has none."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def end_of_text_ids(model: PreTrainedModel) -> list[int]:
    """The ids that end a completion, as the model's generation config lists them.

    Raises:
        UserError: it lists none, so that no completion could end.
    """
    config = model.generation_config
    ids = config.eos_token_id if config is not None else None
    if ids is None or ids == []:
        raise UserError(
            f"{model.name_or_path}: generation_config.json has no eos_token_id, so no completion"
            " could end; set it to the id, or the list of ids, that ends a text"
        )
    return [ids] if isinstance(ids, int) else list(ids)


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder) -> None:
    """Raise `UserError` when the tokenizer can name ids that the model does not have."""
    require_vocabulary(tokenizer, head_weight(model).shape[0], folder)


def check_token_ids(model: PreTrainedModel, path: str | Path, records: Sequence) -> int:
    """Check that prompts, alone or with either side of a pair, are ids and positions of the model.

    Args:
        model: the model that will read them.
        path: the file that they come from.
        records: its records, one per line.

    Returns: the length of the longest in tokens.

    Raises:
        UserError: naming the first line that the model cannot read.
    """
    longest = 0
    rows, positions, folder = len(head_weight(model)), position_limit(model), model.name_or_path
    for number, record in enumerate(records, start=1):
        before = 0
        for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
            ids = getattr(record, name, [])
            length = before + len(ids)
            before = len(record.prompt_ids)
            longest = max(longest, length)
            if max(ids, default=0) >= rows:
                problem = f"{name} has {max(ids)}, but {folder} has the ids 0 to {rows - 1}"
            elif positions is not None and length > positions:
                problem = (
                    f"{name} ends after {length} tokens, but {folder} has {positions} positions"
                )
            else:
                continue
            raise UserError(
                f"{path}:{number}: {problem}; correct the line or rebuild with `dvc repro`"
            )
    return longest


def check_modules(model: PreTrainedModel, wanted: Sequence[str]) -> None:
    """Raise `UserError` when a name in train.lora.target_modules ends that of no linear layer.

    `wanted` may be `all-linear` instead of names, which every model has.
    """
    if wanted == "all-linear":
        return
    linear = [name for name, module in backbone(model).named_modules() if is_linear(module)]
    for name in wanted:
        if not any(f".{path}".endswith(f".{name}") for path in linear):
            choices = ", ".join(sorted({path.rsplit(".", 1)[-1] for path in linear}))
            raise UserError(
                f"train.lora.target_modules has {name!r}: no such module in {model.name_or_path};"
                f" choose from {choices}"
            )


def is_linear(module: nn.Module) -> bool:
    """Whether LoRA can adapt a module as a linear layer."""
    return isinstance(module, nn.Linear | Conv1D)  # GPT-2 has the latter
