"""The policy's model card."""

from pathlib import Path
from typing import Any

CARD = """---
library_name: peft
{base_model}tags: [f-dpo, preference-tuning, lora]
---

# f-DPO policy: {loss}, β = {beta:g}

A LoRA adapter, fine-tuned on preference pairs with the `{loss}` loss of f-DPO (Wang et al., arXiv
2309.16240).

| setting | value |
|---|---|
{settings}
"""


def card(objective: dict[str, Any], base: str | None) -> str:
    """A card with the settings that the policy was trained with; `base` is the model it adapts."""
    settings = "\n".join(f"| {name} | {value} |" for name, value in sorted(objective.items()))
    base_model = f"base_model: {base}\n" if base else ""
    known = {name: objective[name] for name in ("loss", "beta")}
    return CARD.format(base_model=base_model, settings=settings, **known)


def write_card(folder: Path, objective: dict[str, Any], base: str = "models/reference") -> None:
    """Write README.md for the adapter in `folder`."""
    (folder / "README.md").write_text(card(objective, base), encoding="utf-8")
