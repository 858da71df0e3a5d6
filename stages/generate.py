"""The reference's completions: several of each training prompt to rank, or those that were given,
and samples of the held-out prompts, the baseline of every experiment."""

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.config import params
from fdpo.config.study import Generate
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.records import Completion, Generation, Prompt
from fdpo.decoding import length_limit
from fdpo.decoding.sampling import Sampled
from fdpo.decoding.strategies import decode_heldout, decode_published, decode_train
from fdpo.models import causal_lm
from fdpo.run import processes, resume

PROMPTS = "data/prompts.jsonl"
REFERENCE = "models/reference"
GENERATIONS = "data/generations.jsonl"


def main() -> None:
    settings = params.load()
    generate = settings.active.generate
    prompts = list(records.read_prompt_unique(PROMPTS, Prompt))
    check_prompts(prompts)
    tokenizer = causal_lm.load_tokenizer(REFERENCE)
    model = causal_lm.load_causal_lm(REFERENCE)
    causal_lm.check_vocabulary(model, tokenizer, REFERENCE)

    tokenized = [(prompt, tokenizer(prompt.prompt)["input_ids"]) for prompt in prompts]
    fitting = [item for item in tokenized if len(item[1]) < generate.max_length]
    check_roles(fitting, generate.max_length)
    check_positions(fitting, generate, model)
    batches = batched(fitting, generate.prompts_per_batch)

    def completed(batch: Sequence[Tokenized]) -> list[Generation]:
        return complete(model, tokenizer, batch, generate, settings.seed)

    with resume.folder("generate", settings.seed, generate) as work:
        path = work / "generations.jsonl"
        made = resume.batch_by_batch(path, Generation, batches, completed, "generate")
        if processes.is_main():
            records.write(GENERATIONS, made)
            print(f"generate: the reference's completions of {len(fitting)} prompts", end="")
            print(f"; {len(prompts) - len(fitting)} prompts left out for their length")


Tokenized = tuple[Prompt, list[int]]


def check_prompts(prompts: Sequence[Prompt]) -> None:
    """Raise `UserError` where there is nothing to train on, or nothing to evaluate with."""
    for role in ("train", "heldout"):
        if not any(prompt.role == role for prompt in prompts):
            raise UserError(f"{PROMPTS}: no {role} prompt; rebuild it with `dvc repro`")


def check_roles(prompts: Sequence[Tokenized], max_length: int) -> None:
    """Raise `UserError` where length has left out all prompts of training or evaluation."""
    for role in ("train", "heldout"):
        if not any(prompt.role == role for prompt, _ in prompts):
            raise UserError(
                f"generate.max_length = {max_length}: every {role} prompt has as many tokens or"
                " more, so none has room for a completion; raise it"
            )


def check_positions(
    prompts: Sequence[Tokenized], generate: Generate, model: PreTrainedModel
) -> None:
    """Raise `UserError` where a completion could outgrow what the model was made for."""
    longest = max(len(ids) for _, ids in prompts)
    decoded = (generate.train, generate.heldout, generate.heldout.published)
    new = max(getattr(settings, "max_new_tokens", 0) for settings in decoded)
    positions = model.config.max_position_embeddings
    if longest + new > positions:
        raise UserError(
            f"generate: a prompt of {longest} tokens and max_new_tokens = {new} exceed the"
            f" {positions} positions of {REFERENCE}; lower max_new_tokens or max_length"
        )


def batched(prompts: Sequence[Tokenized], size: int) -> list[list[Tokenized]]:
    """Batches of one role and of like lengths, so that little is padded."""
    batches = []
    for role in ("train", "test", "heldout"):
        own = [item for item in prompts if item[0].role == role]
        own.sort(key=lambda item: (len(item[1]), item[0].id))
        batches += [own[start : start + size] for start in range(0, len(own), size)]
    return batches


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: Sequence[Tokenized],
    generate: Generate,
    seed: int,
) -> list[Generation]:
    if batch[0][0].role == "heldout":
        return heldout(model, tokenizer, batch, generate, seed)
    if generate.train.strategy == "given":
        return [given(model, tokenizer, *item, generate.max_length) for item in batch]
    ids = [prompt.id for prompt, _ in batch]
    tokens = [prompt_ids for _, prompt_ids in batch]
    with causal_lm.decoding(model):
        rows = decode_train(model, tokenizer, ids, tokens, generate.train, seed)
    return [
        generation(tokenizer, *item, length_limit.cut(model, item[1], row, generate.max_length))
        for item, row in zip(batch, rows, strict=True)
    ]


def heldout(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: Sequence[Tokenized],
    generate: Generate,
    seed: int,
) -> list[Generation]:
    """Plain samples and, where the study has published figures, one as they were made."""
    ids = [prompt.id for prompt, _ in batch]
    tokens = [prompt_ids for _, prompt_ids in batch]
    settings = generate.heldout
    with causal_lm.decoding(model):
        rows = decode_heldout(model, ids, tokens, settings, seed, purpose="reference")
        also = (
            decode_published(model, ids, tokens, settings.published, seed, purpose="reference")
            if settings.published
            else [None] * len(batch)
        )
    return [
        generation(tokenizer, *item, row, published=one and record(one, tokenizer))
        for item, row, one in zip(batch, rows, also, strict=True)
    ]


def given(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    prompt_ids: list[int],
    max_length: int,
) -> Generation:
    """The completions of a prompt's given pairs, each once.

    Prompt and completion are tokenised apart, so no token reaches across the boundary, and nothing
    is added: end-of-text ends a completion only where its text says so.
    """
    texts = [text for pair in prompt.given for text in (pair.chosen, pair.rejected)]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    room = max_length - len(prompt_ids)
    ids = [tokenizer(text, add_special_tokens=False).input_ids[:room] for text in places]
    ends = causal_lm.end_of_text_ids(model)
    logps = length_limit.forward_logps(model, prompt_ids, ids)
    completions = [
        Sampled(own, own[-1] in ends, logp) for own, logp in zip(ids, logps, strict=True)
    ]
    pairs = [[places[pair.chosen], places[pair.rejected]] for pair in prompt.given]
    return generation(tokenizer, prompt, prompt_ids, completions, given=pairs)


def generation(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    prompt_ids: list[int],
    completions: Sequence[Sampled],
    **more,
) -> Generation:
    return Generation(
        id=prompt.id,
        prompt=prompt.prompt,
        role=prompt.role,
        prompt_ids=prompt_ids,
        completions=[record(completion, tokenizer) for completion in completions],
        **more,
    )


def record(sampled: Sampled, tokenizer: PreTrainedTokenizerBase) -> Completion:
    return Completion(
        text=tokenizer.decode(sampled.ids, skip_special_tokens=True),
        ids=sampled.ids,
        finished=sampled.finished,
        ref_logp=sampled.logp,
    )


if __name__ == "__main__":
    processes.run("generate", main)
