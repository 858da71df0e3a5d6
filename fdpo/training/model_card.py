"""The policy's model card: metadata that the Hub reads, and what a reader needs to use it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from fdpo.core.origin import public_base, read_origin
from fdpo.losses import LOSSES

BODY = """
# {title}

{kind} of {base}, fine-tuned on preference pairs with the `{loss}` loss of f-DPO: {divergence}
({source}), β = {beta:g}.

## Use

```python
{usage}
```

## How it was trained

{settings}
{origin}
## Measured on held-out prompts

{metrics}
## Limits

The policy follows one reward model on one study's prompts. Reward, KL and the other numbers hold
for that study; another seed, β or loss gives others. It keeps the base model's limits, and the
licences of the base model and of the data apply.
"""
USAGE = """from {package} import {auto}
from transformers import AutoTokenizer

policy = {auto}.from_pretrained("{policy}")
tokenizer = AutoTokenizer.from_pretrained("{tokenizer}")
ids = policy.generate(**tokenizer("The film", return_tensors="pt"), do_sample=True)
print(tokenizer.decode(ids[0]))"""

Metrics = Mapping[str, Mapping[str, float | None]]


def model_card(
    training: Mapping[str, Any],
    reference: Path,
    policy: str,
    metrics: Metrics | None = None,
    facts: Mapping[str, str] | None = None,
    tokenizer: str | None = None,
    terms: Mapping[str, Any] | None = None,
) -> ModelCard:
    """The card of a policy.

    Args:
        training: the settings that the policy was trained with, as objective.json has them.
        reference: the folder of the model that it was trained from. Its source.json, where there is
            one, says where others find that model.
        policy: the name that the card's reader loads the policy by: a folder or user/name.
        metrics: value, low and high of each metric, once the policy is evaluated.
        facts: more about its origin.
        tokenizer: the name that its tokenizer is loaded by; by default the reference's.
        terms: metadata that others decide, under the Hub's names: license, language, datasets.
    """
    source = read_origin(reference)
    base = public_base(source)
    adapter = training.get("lora") is not None
    loss = LOSSES[training["loss"]]
    title = f"f-DPO policy: {loss.name}, β = {training['beta']:g}"
    data = ModelCardData(
        model_name=title,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        base_model=base,
        tags=["trl", "dpo", "f-dpo", loss.name, *(("peft", "lora") if adapter else ())],
        eval_results=_eval_results(metrics, training) if metrics else None,
        **dict(terms or {}),
    )
    origin = {f"base model, {key}": value for key, value in source.items()} | dict(facts or {})
    body = BODY.format(
        title=title,
        kind="A LoRA adapter" if adapter else "A whole model",
        base=f"`{base or source.get('name') or source.get('folder') or reference}`",
        loss=loss.name,
        divergence=loss.divergence,
        source=loss.source,
        beta=training["beta"],
        usage=USAGE.format(
            package="peft" if adapter else "transformers",
            auto="AutoPeftModelForCausalLM" if adapter else "AutoModelForCausalLM",
            policy=policy,
            tokenizer=tokenizer or base or reference,
        ),
        settings=_table(("setting", "value"), sorted(training.items())),
        origin=_table(("origin", "value"), origin.items()) if origin else "",
        metrics=(
            _table(("metric", "value", "95 % interval"), _metric_rows(metrics))
            if metrics
            else "Not measured when this card was written; `dvc repro` measures it.\n"
        ),
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n{body}")


def _eval_results(metrics: Metrics, training: Mapping[str, Any]) -> list[EvalResult]:
    """The metrics as the Hub's model-index has them, the interval among a metric's arguments."""
    study = str(training.get("study", "unknown"))
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=study,
            dataset_name=f"held-out prompts of the study {study}",
            metric_type=name,
            metric_value=metric["value"],
            metric_args={"low": metric["low"], "high": metric["high"], "confidence": 0.95},
        )
        for name, metric in metrics.items()
    ]


def _metric_rows(metrics: Metrics) -> Iterable[tuple[str, str, str]]:
    """Each metric's name, value and interval, empty where there is none, to four digits."""
    for name, metric in metrics.items():
        low, high = metric["low"], metric["high"]
        interval = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
        yield name, f"{metric['value']:.4g}", interval


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
