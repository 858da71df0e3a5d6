"""Print samples of the reference and of the policy for a prompt, side by side.

    make sample PROMPT="The film was"
    python -m experiments.sample_prompt --samples 8 --temperature 0.7 --seed 3 -- "The film was"

The prompt is what the reference read in training: where the study has `chat: auto` it is put into
the chat template, and elsewhere it is taken as it is. Samples are as long as those of held-out
prompts. The same seed gives the same samples.
"""

import argparse
from typing import Annotated

from pydantic import Field, ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TemperatureLogitsWarper

from experiments.samples import column_width, on_one_line, print_beside
from experiments.trained_models import TrainedModels, load_trained_models
from fdpo.config.params import Params, load_params
from fdpo.config.sources import Models
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.core.files import read_json_object
from fdpo.core.printable import printable
from fdpo.core.randomness import streams_of
from fdpo.core.validation import Strict, Text, problems
from fdpo.decoding.sampling import sample, uniforms
from fdpo.evaluation.policy import require_trained_with
from fdpo.models.causal_lm import cached_attention, end_of_text_ids, position_limit
from fdpo.models.text_tokens import completion_text, prompt_tokens
from fdpo.sources.chat import ChatFormat
from stages import paths


class Asked(Strict):
    """What is asked for; the temperature's bounds are those of generate.train.temperature."""

    prompt: Text
    samples: Annotated[int, Field(ge=1, le=1000)]
    temperature: Annotated[float, Field(ge=1e-3, le=1e6)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


def main(arguments: list[str] | None = None) -> None:
    """Print what the command line asks for."""
    settings = load_params()
    parser = argparse.ArgumentParser(
        prog="experiments.sample_prompt", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("prompt", help="the text to complete")
    parser.add_argument("--samples", type=int, default=4, help="of each model (default: 4)")
    parser.add_argument("--temperature", type=float, default=1.0, help="(default: 1)")
    parser.add_argument(
        "--seed", type=int, default=settings.seed, help="(default: that of params.yaml)"
    )
    try:
        asked = Asked.model_validate(vars(parser.parse_args(arguments)))
    except ValidationError as error:
        raise UserError(*problems(error)) from None
    require_trained_with(paths.POLICY, {"study": settings.study})
    models = load_trained_models()
    steps = settings.active.generate.heldout.max_new_tokens
    ids = prompt_ids(models, as_read(asked.prompt, settings), steps)
    columns = [
        completions(model, models.tokenizer, ids, purpose, steps, asked)
        for purpose, model in (("reference", models.reference), ("policy", models.policy))
    ]
    trained, width = read_json_object(paths.POLICY / "objective.json"), column_width()
    print(printable(asked.prompt))
    print_beside("reference", f"policy ({trained['loss']}, beta {trained['beta']:g})", width)
    for left, right in zip(*columns, strict=True):
        print()
        print_beside(left, right, width)


def as_read(prompt: str, settings: Params) -> str:
    """The prompt as the reference of the study read those of training."""
    source = settings.active.prepare
    if not isinstance(source, Models):
        return prompt
    return ChatFormat(source.chat, source.system, paths.REFERENCE_MODEL).prompt(prompt)


def prompt_ids(models: TrainedModels, text: str, steps: int) -> list[int]:
    """The token ids of a prompt. Raises `UserError` unless `steps` tokens fit behind them."""
    ids = prompt_tokens(models.tokenizer, text)
    if not ids:
        raise UserError(f"prompt = {text!r}: no token; give some text")
    positions = position_limit(models.reference)
    if positions is not None and len(ids) + steps > positions:
        raise UserError(
            f"prompt: its {len(ids)} tokens and {steps} of a completion exceed the {positions}"
            f" positions of {paths.REFERENCE_MODEL}; give a shorter one"
        )
    return ids


def completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[int],
    purpose: str,
    steps: int,
    asked: Asked,
) -> list[str]:
    """The model's samples behind the prompt's token ids, each on one line.

    `purpose` names the random stream, and `steps` is the most tokens of a sample.
    """
    numbers = uniforms(streams_of(asked.seed), f"asked {purpose}", 0, asked.samples, steps)
    warp = TemperatureLogitsWarper(asked.temperature) if asked.temperature != 1 else None
    with cached_attention(model):
        (sampled,) = sample(model, [ids], [numbers], end_of_text_ids(model), warp)
    return [on_one_line(completion_text(tokenizer, ids, row.ids)) for row in sampled]


if __name__ == "__main__":
    errors.run(main)
