"""Sample the reference's completions: several of each training prompt to rank, and plain samples
of the held-out prompts, the baseline of every experiment."""

from collections.abc import Sequence

from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo import errors, models, params, records, resume
from fdpo.decoding import decode_heldout, decode_train
from fdpo.params import Generate
from fdpo.records import Completion, Generation, Prompt
from fdpo.sampling import Sampled

PROMPTS = "data/prompts.jsonl"
REFERENCE = "models/reference"
GENERATIONS = "data/generations.jsonl"


def main() -> None:
    settings = params.load()
    generate = settings.active.generate
    prompts = list(records.read_prompt_unique(PROMPTS, Prompt))
    tokenizer = models.load_tokenizer(REFERENCE)
    model = models.load_causal_lm(REFERENCE)
    models.check_vocabulary(model, tokenizer, REFERENCE)

    batches = batched(prompts, tokenizer, generate.prompts_per_batch)
    work = resume.folder("generate", settings.seed, generate)
    partial = resume.PartialRecords(work / "generations.jsonl", [len(batch) for batch in batches])
    remaining = tqdm(batches[partial.done :], "generate", initial=partial.done, total=len(batches))
    with models.decoding(model):
        for batch in remaining:
            partial.append(complete(model, tokenizer, batch, generate, settings.seed))
    partial.finish(GENERATIONS)
    print(f"generate: the reference's completions of {len(prompts)} prompts")


Tokenized = tuple[Prompt, list[int]]


def batched(
    prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase, size: int
) -> list[list[Tokenized]]:
    """Batches of one role and of like lengths, so that little is padded."""
    batches = []
    for role in ("train", "heldout"):
        own = [
            (prompt, tokenizer(prompt.prompt)["input_ids"])
            for prompt in prompts
            if prompt.role == role
        ]
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
    ids = [prompt.id for prompt, _ in batch]
    tokens = [prompt_ids for _, prompt_ids in batch]
    if batch[0][0].role == "train":
        sampled = decode_train(model, tokenizer, ids, tokens, generate.train, seed)
    else:
        sampled = decode_heldout(model, ids, tokens, generate.heldout, seed, purpose="reference")
    return [
        Generation(
            id=prompt.id,
            prompt=prompt.prompt,
            role=prompt.role,
            prompt_ids=prompt_ids,
            completions=[record(completion, tokenizer) for completion in completions],
        )
        for (prompt, prompt_ids), completions in zip(batch, sampled, strict=True)
    ]


def record(sampled: Sampled, tokenizer: PreTrainedTokenizerBase) -> Completion:
    return Completion(
        text=tokenizer.decode(sampled.ids, skip_special_tokens=True),
        ids=sampled.ids,
        finished=sampled.finished,
        ref_logp=sampled.logp,
    )


if __name__ == "__main__":
    errors.run(main)
