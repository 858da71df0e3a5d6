"""From last hidden states to logits: the head, and what a model does to its outputs."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel


@dataclass(frozen=True)
class LMHead:
    """softcap·tanh(scale·(W·h + bias) / softcap), each part where the model has it."""

    weight: Tensor  # [vocabulary, hidden]
    bias: Tensor | None = None  # [vocabulary]
    scale: float = 1.0  # Granite divides logits by a number, Cohere multiplies them by one
    softcap: float | None = None  # bounds logits, as Gemma 2 does

    @property
    def requires_grad(self) -> bool:
        """Whether the head itself is trained."""
        return any(part is not None and part.requires_grad for part in (self.weight, self.bias))

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, hidden] → [N, vocabulary], float32 or wider."""
        products = hidden @ self.weight.T
        if self.bias is not None:
            products = products + self.bias
        products = products.to(torch.promote_types(products.dtype, torch.float32))
        return self.transform(products)

    def transform(self, products: Tensor) -> Tensor:
        """Logits from what weight and bias gave, which is returned where nothing is left to do."""
        if self.scale != 1:
            products = products * self.scale
        if self.softcap is not None:
            products = self.softcap * torch.tanh(products / self.softcap)
        return products

    def slope(self, logits: Tensor) -> Tensor | None:
        """What capping multiplies gradients by, of the size of `logits`; None where it is 1."""
        return None if self.softcap is None else 1 - (logits / self.softcap) ** 2


def lm_head(model: PreTrainedModel) -> LMHead:
    """The head of a causal language model; the probe at load tells whether it is all of it."""
    layer = model.get_output_embeddings()
    config = model.config.get_text_config()
    return LMHead(
        weight=layer.weight,
        bias=getattr(layer, "bias", None),
        scale=(getattr(config, "logit_scale", None) or 1.0)
        / (getattr(config, "logits_scaling", None) or 1.0),
        softcap=getattr(config, "final_logit_softcapping", None),
    )
