"""The policy's model card."""

from pathlib import Path
from typing import Any

CARD = """---
library_name: peft
base_model: {base}
tags: [f-dpo, preference-tuning, lora]
---

# f-DPO policy: {loss}, β = {beta:g}

A LoRA adapter, fine-tuned on preference pairs sampled from its own reference model, with the
`{loss}` loss of f-DPO (Wang et al., arXiv 2309.16240).

| setting | value |
|---|---|
{settings}
"""


def write_card(folder: Path, objective: dict[str, Any], base: str = "models/reference") -> None:
    """Write README.md for the adapter in `folder`, with the settings it was trained with."""
    settings = "\n".join(f"| {name} | {value} |" for name, value in sorted(objective.items()))
    text = CARD.format(base=base, settings=settings, **{k: objective[k] for k in ("loss", "beta")})
    (folder / "README.md").write_text(text, encoding="utf-8")
