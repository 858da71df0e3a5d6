"""A loaded model against its own plain forward pass: are packed log-probabilities the model's own?

Models differ in ways that a config does not tell: attention that is not Transformers' interface,
state that runs on from one branch into the next, logits that are scaled. So what is computed from
the model in packed rows is compared, on a few tokens, with what the model itself says of them, one
sequence at a time by its eager attention.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.core.errors import UserError
from fdpo.core.weights import short_message
from fdpo.models.attention import CACHED
from fdpo.models.causal_lm import (
    attention_implementation,
    backbone,
    full_precision,
    position_limit,
)
from fdpo.models.lm_head import lm_head
from fdpo.models.logprobs import completion_hidden, token_logps
from fdpo.models.packing import pack

COMPARED = 32  # tokens at the end of the long branch, where a window binds
EAGER_TOKENS = 2048  # beyond, eager attention's [heads, L, L] takes gigabytes
# Nats per token. Rounding stays below 1e-4 in the models that were tried; what is wrong, far above.
ABSOLUTE, RELATIVE = 1e-3, 1e-4


@dataclass(frozen=True)
class PlainForward:
    """Sequences, and what the model's own forward pass says of the last tokens of each."""

    prompt: list[int]
    completions: list[list[int]]
    logps: list[Tensor]  # per completion, of its last tokens, float32 in nats


@torch.inference_mode()
def probe_packing(model: PreTrainedModel, longest: int) -> PlainForward:
    """Compare a packed row of two branches with plain forward passes, in full precision.

    One branch is as long as `longest` and the model allow, the other a few tokens.

    Args:
        model: as `load_causal_lm` gives it.
        longest: tokens of the longest sequence that will be run.

    Returns: the plain forward passes, to compare other computations with.

    Raises:
        UserError: they differ, or the model cannot be run so.
    """
    if backbone(model) is model:
        raise refusal(model, f"has no part {model.base_model_prefix!r} below its LM head")
    with full_precision(model):
        with refusing(model, "run one sequence at a time"):
            plain = _plain_forward(model, longest)
        with refusing(model, "run in packed rows"):
            branches = pack([(plain.prompt, plain.completions)]).to(model.device)
            hidden = completion_hidden(model, branches)
            logps = token_logps(hidden, lm_head(model), branches.targets)
    of_branches = logps.split([len(ids) for ids in plain.completions])
    packed = [branch[-len(last) :] for branch, last in zip(of_branches, plain.logps, strict=True)]
    require_equal(model, "in packed rows", torch.cat(packed), torch.cat(plain.logps))
    return plain


def require_equal(model: PreTrainedModel, how: str, computed: Tensor, plain: Tensor) -> None:
    """Raise `UserError` where log-probabilities are not the plain ones."""
    if worst := worst_difference(computed, plain):
        raise refusal(
            model,
            f"gives other log-probabilities {how} than by its own forward pass, by up to"
            f" {worst:.2g} nats per token",
        )


def worst_difference(computed: Tensor, plain: Tensor) -> float:
    """The largest difference of log-probabilities in nats where one exceeds rounding, else 0.

    A value that is not a number differs by infinity.
    """
    difference = (computed - plain).abs()
    if (difference <= ABSOLUTE + RELATIVE * plain.abs()).all():
        return 0.0
    return difference.nan_to_num(nan=torch.inf).max().item()


@contextmanager
def refusing(model: PreTrainedModel, doing: str) -> Iterator[None]:
    """Within, what a model lacks ends in one line; its own code raises errors of any kind."""
    try:
        yield
    except Exception as error:
        raise refusal(model, f"does not {doing} ({short_message(error)})") from None


def refusal(model: PreTrainedModel, problem: str) -> UserError:
    """One line: the model, what is wrong with it, the cause where a config shows it, what to do."""
    remedy = "choose a model of a family that docs/models.md lists"
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    for part in (rope, *rope.values()):  # one for all layers, or one for each kind of layer
        if isinstance(part, dict) and part.get("rope_type") == "longrope":
            problem += " (its rotary frequencies depend on the longest text of a pass)"
            limit = part.get("original_max_position_embeddings")
            remedy = f"keep prompt and completion within {limit} tokens, or choose another model"
            break
    return UserError(f"{model.name_or_path}: {type(model).__name__} {problem}; {remedy}")


def _plain_forward(model: PreTrainedModel, longest: int) -> PlainForward:
    longest = max(2, min(longest, position_limit(model) or longest))
    shared = min(3, longest - 1)
    vocabulary = len(lm_head(model).weight)
    ids = torch.randint(vocabulary, (longest + 5,), generator=torch.Generator().manual_seed(0))
    prompt, long, short = (part.tolist() for part in ids.split([shared, longest - shared, 5]))
    completions = [long, short[: len(long)]]
    with attention_implementation(model, "eager" if longest <= EAGER_TOKENS else CACHED):
        return PlainForward(
            prompt, completions, [_plain_logps(model, prompt, branch) for branch in completions]
        )


def _plain_logps(model: PreTrainedModel, prompt: list[int], completion: list[int]) -> Tensor:
    """log π of the completion's last tokens, from one forward pass of one sequence."""
    targets = torch.tensor(completion[-COMPARED:], device=model.device)
    selects = "logits_to_keep" in inspect.signature(model.forward).parameters
    keep = {"logits_to_keep": len(targets) + 1} if selects else {}
    sequence = torch.tensor([[*prompt, *completion]], device=model.device)
    logits = model(input_ids=sequence, use_cache=False, **keep).logits[0, -len(targets) - 1 : -1]
    return logits.float().log_softmax(dim=1).gather(1, targets[:, None])[:, 0]
