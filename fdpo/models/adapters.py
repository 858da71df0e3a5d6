"""LoRA adapters merged into their model, and compared with it unmerged."""

import copy
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.core.errors import UserError
from fdpo.core.files import read_json_object
from fdpo.core.weights import require_exact, require_finite, require_safetensors, short_message
from fdpo.models.causal_lm import attention_implementation, head_weight
from fdpo.models.packing_probe import worst_difference

FILE = "adapter_model.safetensors"
COMPARED = 32  # tokens of the text that both read


def merged(
    model: PreTrainedModel, folder: str | Path, remedy: str, name: str = ""
) -> PreTrainedModel:
    """A copy of `model` with the LoRA adapter in `folder` merged in; `model` stays as it is.

    It decodes as fast as `model`, and shares the memory of every weight that the adapter leaves
    alone. Merging need not mean the same: an adapter of one of two tied weights, for one, then
    changes both. So the log-probabilities of one forward pass are compared before and after.

    Args:
        model: in float32, in evaluation mode.
        folder: of `adapter_config.json` and `adapter_model.safetensors`.
        remedy: what an error advises.
        name: of the adapter in an error; `folder` if empty.

    Raises:
        UserError: the adapter is damaged, not LoRA, of another model, has weights that its config
            does not name, lacks some that it does, or means something else when merged.
    """
    name = name or str(folder)
    require_safetensors(folder, FILE, remedy)
    try:
        _require_mergeable(Path(folder), model, name, remedy)
        with warnings.catch_warnings(action="ignore"):  # what PEFT warns of is checked here
            config = LoraConfig.from_pretrained(str(folder))
            adapted = PeftModel(copy.deepcopy(model), config)
            loading: Any = adapted.load_adapter(str(folder), "default")
            require_exact(loading._asdict(), name, remedy, config="adapter_config.json")
            before = _log_probabilities(cast(PreTrainedModel, adapted.get_base_model()))
            result: Any = adapted.merge_and_unload()
        worst = worst_difference(_log_probabilities(result), before)
    except UserError:
        raise
    except Exception as error:  # what a damaged file leads to is not documented
        raise UserError(
            f"{name}: not an adapter of {model.name_or_path} ({short_message(error)}); {remedy}"
        ) from None
    require_finite(result, name, remedy)
    if worst:
        tied = " (its embeddings are tied)" if model.config.tie_word_embeddings else ""
        raise UserError(
            f"{name}: merged into {model.name_or_path}{tied}, it gives other log-probabilities than"
            f" unmerged, by up to {worst:.2g} nats per token; {remedy}"
        )
    _share_equal_weights(result, model)
    return result


def _require_mergeable(folder: Path, model: PreTrainedModel, name: str, remedy: str) -> None:
    """Raise `UserError` for what PEFT would not say of an adapter, or say by a size mismatch."""
    config = read_json_object(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise UserError(f"{name}: peft_type = {config.get('peft_type')!r}: must be LORA; {remedy}")
    if config.get("alora_invocation_tokens"):
        raise UserError(
            f"{name}: alora_invocation_tokens is set: an activated LoRA adapts only what follows"
            " these tokens, so it can't be merged; name another adapter"
        )
    trained = config.get("trainable_token_indices") or []
    lists = trained.values() if isinstance(trained, dict) else [trained]
    sizes = {index + 1 for ids in lists for index in ids}
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    names = {path.rsplit(".", 1)[-1] for path, module in model.named_modules() if module in ends}
    with safe_open(folder / FILE, "pt") as weights:
        for key in weights.keys():  # noqa: SIM118 - no mapping
            if names & {*key.split(".")}:
                sizes |= {*weights.get_slice(key).get_shape()}
    sizes -= {config.get("r"), model.config.get_text_config().hidden_size}
    rows = len(head_weight(model))
    if max(sizes, default=0) > rows:
        raise UserError(
            f"{name}: has weights for {max(sizes)} tokens, {model.name_or_path} for {rows}: it was"
            " trained after tokens were added; name the model that has them, or merge it yourself"
        )


@torch.inference_mode()
def _log_probabilities(model: PreTrainedModel) -> Tensor:
    """[tokens, vocabulary] of random tokens, by the model's own forward pass."""
    embeddings: Any = model.get_input_embeddings()
    vocabulary = embeddings.weight.shape[0]
    ids = torch.randint(vocabulary, (1, COMPARED), generator=torch.Generator().manual_seed(0))
    with attention_implementation(model, "eager"):
        logits = model(input_ids=ids.to(model.device), use_cache=False).logits[0]
    return logits.float().log_softmax(dim=1)


def _share_equal_weights(model: PreTrainedModel, original: PreTrainedModel) -> None:
    """Let parameters of `model` that equal those of `original` use their memory."""
    weights = dict(original.named_parameters(remove_duplicate=False))
    for name, weight in model.named_parameters():
        if name in weights and torch.equal(weight, weights[name]):
            weight.data = weights[name].data
