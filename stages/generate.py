"""The reference's completions: of training prompts to rank, of held-out ones to compare with."""

from collections.abc import Iterator, Sequence

from fdpo.config.params import load_params
from fdpo.core import records
from fdpo.core.randomness import streams_of
from fdpo.core.records import Generation, Prompt
from fdpo.decoding import completions, engine_mismatch, tokenized_prompts
from fdpo.decoding.decoder_probe import probe_model
from fdpo.decoding.tokenized_prompts import TokenizedPrompt
from fdpo.models import causal_lm
from fdpo.run import partial_records, processes, resume
from stages import paths


def main() -> None:
    """Sample the completions that the study asks for."""
    settings = load_params()
    generate, streams = settings.active.generate, streams_of(settings.seed)
    prompts = list(records.read_prompt_unique(paths.PROMPTS, Prompt))
    tokenizer = causal_lm.load_tokenizer(paths.REFERENCE_MODEL)
    dtype = causal_lm.held_dtype(paths.REFERENCE_MODEL)
    model = causal_lm.load_causal_lm(paths.REFERENCE_MODEL, dtype=dtype)
    causal_lm.check_vocabulary(model, tokenizer, paths.REFERENCE_MODEL)

    fitting, left_out = tokenized_prompts.tokenize_prompts(
        tokenizer, prompts, generate.max_length, causal_lm.end_of_text_ids(model)
    )
    tokenized_prompts.check_roles(fitting, left_out)
    probe_model(model, tokenized_prompts.longest_sequence(fitting, generate, model))
    if lora := settings.active.train.lora:  # before hours of sampling, not after them
        causal_lm.check_modules(model, lora.target_modules)
    batches = completions.batches_by_length(fitting, generate.prompts_per_batch)

    bound = getattr(generate.train, "max_mismatch", 0.0)
    mismatch: list[float] = []

    def complete_batch(batch: Sequence[TokenizedPrompt]) -> list[Generation]:
        made = completions.complete(model, tokenizer, batch, generate, streams)
        if len(mismatch) < engine_mismatch.ENOUGH:  # a wrong reference ends here, not after hours
            mismatch.extend(mismatches(made))
            if len(mismatch) >= engine_mismatch.ENOUGH:
                engine_mismatch.require_small(mismatch, bound)
        return made

    with resume.folder("generate", settings.seed, generate) as work:
        made = partial_records.batch_by_batch(
            work / "generations.jsonl",
            Generation,
            batches,
            complete_batch,
            "generate",
            samples=lambda batch: completions.count(batch, generate),
        )
        if processes.is_main():
            whole = list(mismatches(made))
            engine_mismatch.require_small(whole, bound)
            records.write(paths.GENERATIONS, made)
            print(f"generate: the reference's completions of {len(fitting)} prompts", end="")
            print(f"; {tokenized_prompts.summary(left_out) or 'no prompt left out'}")
            if whole:
                by = engine_mismatch.summary(whole)
                print(f"generate: the engine's log-probabilities are off by {by}")


def mismatches(made: Sequence[Generation]) -> Iterator[float]:
    """How far the log-probabilities that came along with completions are off, each in nats."""
    for generation in made:
        yield from generation.mismatch or ()


if __name__ == "__main__":
    processes.run("generate", main)
