"""A loaded model against its own plain forward pass: are packed log-probabilities the model's own?

Models differ in ways that a config does not tell: attention that is not Transformers' interface,
state that runs on from one branch into the next, logits that are scaled. So what is computed from
the model in packed rows is compared, on a few tokens, with what the model itself says of them, one
sequence at a time by its eager attention.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.core.errors import UserError
from fdpo.core.weights import reason
from fdpo.models.attention import CACHED
from fdpo.models.causal_lm import attention_implementation, position_limit
from fdpo.models.lm_head import lm_head
from fdpo.models.logprobs import completion_hidden, token_logps
from fdpo.models.packing import pack

COMPARED = 32  # tokens at the end of a sequence as long as allowed, where a window binds
EAGER_TOKENS = 2048  # beyond, eager attention's [heads, L, L] takes gigabytes
# Nats per token. Rounding stays below 1e-4 in the models that were tried; what is wrong, far above.
ABSOLUTE, RELATIVE = 1e-3, 1e-4


@dataclass(frozen=True)
class PlainForward:
    """Token ids, and what the model's own forward pass says of them."""

    prompts: list[tuple[list[int], list[list[int]]]]  # as `pack` takes them
    logps: list[Tensor]  # per completion, of its tokens, float32 in nats

    @property
    def sequences(self) -> list[tuple[list[int], list[int]]]:
        """(prompt, completion) in the order of `logps`."""
        return [(prompt, ids) for prompt, completions in self.prompts for ids in completions]


@torch.inference_mode()
def probe_packing(model: PreTrainedModel, longest: int) -> PlainForward:
    """Compare a packed row with plain forward passes.

    The row has a prompt with two branches, the first as long as `longest` allows, and a short
    prompt with a short branch. Full precision, whatever the device.

    Args:
        model: as `load_causal_lm` gives it.
        longest: tokens of the longest sequence that will be run.

    Returns: the plain forward passes, to compare other computations with.

    Raises:
        UserError: they differ, or the model cannot be run so.
    """
    prompts = _prompts(model, longest)
    plain = PlainForward(prompts, _plain_logps(model, prompts))
    try:
        branches = pack(prompts).to(model.device)
        hidden = completion_hidden(model, branches)
        packed = token_logps(hidden, lm_head(model), branches.targets)
    except Exception as error:  # what a model lacks shows in whatever its code then does
        raise refusal(model, f"does not run in packed rows ({reason(error)})") from None
    require_equal(model, "in packed rows", packed, torch.cat(plain.logps))
    return plain


def require_equal(model: PreTrainedModel, how: str, computed: Tensor, plain: Tensor) -> None:
    """Raise `UserError` where log-probabilities [N] are not the plain ones, NaN included."""
    difference = (computed - plain).abs()
    if not (difference <= ABSOLUTE + RELATIVE * plain.abs()).all():
        worst = difference.nan_to_num(nan=torch.inf).max().item()
        raise refusal(
            model,
            f"gives other log-probabilities {how} than by its own forward pass, by up to"
            f" {worst:.2g} nats per token",
        )


def refusal(model: PreTrainedModel, problem: str) -> UserError:
    """One line that names the model, what is wrong with it, and what to choose."""
    return UserError(
        f"{model.name_or_path}: {type(model).__name__} {problem}; choose a model of a family that"
        " docs/models.md lists"
    )


def _prompts(model: PreTrainedModel, longest: int) -> list[tuple[list[int], list[list[int]]]]:
    longest = max(2, min(longest, position_limit(model) or longest))
    compared = min(COMPARED, longest // 2)
    lengths = [
        (longest - compared, [compared, (compared + 1) // 2]),
        (min(3, longest - 1), [min(5, longest - min(3, longest - 1))]),
    ]
    generator = torch.Generator().manual_seed(0)
    vocabulary = len(lm_head(model).weight)

    def draw(count: int) -> list[int]:
        return torch.randint(vocabulary, (count,), generator=generator).tolist()

    return [(draw(prompt), [draw(count) for count in counts]) for prompt, counts in lengths]


def _plain_logps(
    model: PreTrainedModel, prompts: Sequence[tuple[list[int], list[list[int]]]]
) -> list[Tensor]:
    sequences = [(prompt, ids) for prompt, completions in prompts for ids in completions]
    longest = max(len(prompt) + len(ids) for prompt, ids in sequences)
    selects = "logits_to_keep" in inspect.signature(model.forward).parameters
    logps = []
    with attention_implementation(model, "eager" if longest <= EAGER_TOKENS else CACHED):
        for prompt, ids in sequences:
            keep = {"logits_to_keep": len(ids) + 1} if selects else {}
            inputs = torch.tensor([[*prompt, *ids]], device=model.device)
            logits = model(input_ids=inputs, use_cache=False, **keep).logits[0, -len(ids) - 1 : -1]
            targets = torch.tensor(ids, device=model.device)[:, None]
            logps.append(logits.float().log_softmax(dim=1).gather(1, targets)[:, 0])
    return logps
