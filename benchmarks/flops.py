"""The arithmetic that f-DPO with LoRA needs, however much a program spends on it."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from fdpo.core.records import Pair
from fdpo.models.causal_lm import head_weight


@dataclass(frozen=True)
class Sizes:
    """Weights that a token is multiplied with."""

    weights: int  # N, of the frozen matrices below the LM head, embeddings left out
    lora: int  # A, of the adapters, Σ r·(in + out)
    head: int  # H, hidden × vocabulary
    largest: tuple[int, int]  # the shape of the largest of the frozen matrices


def sizes(causal_lm: PreTrainedModel) -> Sizes:
    """Count a model's weights, LoRA layers in place."""
    embeddings = {
        id(module.weight) for module in causal_lm.modules() if isinstance(module, nn.Embedding)
    }
    head = head_weight(causal_lm)
    frozen, lora = [], 0
    for name, weight in causal_lm.named_parameters():
        if "lora_" in name:
            lora += weight.numel()
        elif weight.ndim == 2 and weight is not head and id(weight) not in embeddings:
            frozen.append(weight)
    largest = max(frozen, key=lambda weight: weight.numel())
    return Sizes(sum(w.numel() for w in frozen), lora, head.numel(), tuple(largest.shape))


def distinct(pairs: Iterable[Pair]) -> tuple[int, int]:
    """(T, C): tokens that must be read, and positions whose next token is scored.

    A prompt x is read once and each of its distinct completions y once, but for its last token,
    which is only ever predicted: T = Σ |x| + Σ (|y| − 1), C = Σ |y|. No padding. Holds for an epoch
    whose steps each take all pairs of a prompt; with other steps more is needed.
    """
    completions: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for pair in pairs:
        own = completions.setdefault(tuple(pair.prompt_ids), set())
        own |= {tuple(pair.chosen_ids), tuple(pair.rejected_ids)}
    positions = sum(len(y) for own in completions.values() for y in own)
    sequences = sum(map(len, completions.values()))
    return sum(map(len, completions)) + positions - sequences, positions


def training_flops(tokens: int, positions: int, size: Sizes) -> int:
    """Floating-point operations of an epoch: 4·N·T + 6·A·T + 4·H·C.

    A matrix costs 2 a weight and token forward, and 2 backward to its input. The frozen ones get
    no gradient of their own; LoRA's matrices do, 2 more. The head counts where a completion token
    is predicted, forward and backward.

    The attention's own products, softmax, norms and activations are left out (a few per cent of
    all); that nothing below the first adapter needs a gradient, and that the last layer is needed
    at C positions alone, is not deducted (below 1 % with short prompts).
    """
    return 4 * size.weights * tokens + 6 * size.lora * tokens + 4 * size.head * positions
