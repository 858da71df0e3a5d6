"""A policy in training as it will be loaded: with its adapter merged into the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


@contextmanager
def merged_adapter(policy: nn.Module) -> Iterator[None]:
    """Within, a PEFT model's adapter is merged in; a model without one stays as it is.

    The weights are merged into copies and put back afterwards: PEFT takes a merged adapter out by
    subtraction, which leaves weights that differ by their rounding.
    """
    adapted: Any = policy
    weights = {
        weight: weight.data
        for module in policy.modules()
        if isinstance(module, BaseTunerLayer)
        for weight in module.get_base_layer().parameters()
    }
    if not weights:
        yield
        return
    for weight, values in weights.items():
        weight.data = values.clone()
    adapted.merge_adapter()
    try:
        yield
    finally:
        adapted.unmerge_adapter()
        for weight, values in weights.items():
            weight.data = values
