"""The policy's model card."""

from pathlib import Path
from typing import Any

CARD = """---
library_name: {library}
{base_model}tags: [{tags}]
---

# f-DPO policy: {loss}, β = {beta:g}

{what}, fine-tuned on preference pairs with the `{loss}` loss of f-DPO (Wang et al., arXiv
2309.16240).

| setting | value |
|---|---|
{settings}
"""


def card(objective: dict[str, Any], base: str | None) -> str:
    """A card with the settings that the policy was trained with; `base` is the model it adapts."""
    settings = "\n".join(f"| {name} | {value} |" for name, value in sorted(objective.items()))
    base_model = f"base_model: {base}\n" if base else ""
    lora = objective.get("lora") is not None
    kind = {
        "library": "peft" if lora else "transformers",
        "tags": "f-dpo, preference-tuning" + (", lora" if lora else ""),
        "what": "A LoRA adapter" if lora else "A whole model",
    }
    known = {name: objective[name] for name in ("loss", "beta")}
    return CARD.format(base_model=base_model, settings=settings, **known, **kind)


def write_card(folder: Path, objective: dict[str, Any], base: str) -> None:
    """Write README.md for the policy in `folder`."""
    (folder / "README.md").write_text(card(objective, base), encoding="utf-8")
