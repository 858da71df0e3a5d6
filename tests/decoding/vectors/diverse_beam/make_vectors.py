"""Write expected.json: what Transformers 4.49's group beam search generates for small GPT-2s.

It needs an environment of its own, since Transformers 5 no longer has `num_beam_groups`:

    python3.11 -m venv /tmp/peer
    /tmp/peer/bin/pip install torch==2.13.0 transformers==4.49.0 "numpy<2.3"
    /tmp/peer/bin/python tests/decoding/vectors/diverse_beam/make_vectors.py

No weights are kept: both versions fill the same model from a NumPy stream (see `build`). Each
prompt is generated alone; where a case is `padded`, all are generated as one left-padded batch too,
and the two must agree. Choices closer than `MARGIN` are refused, so that another processor's
rounding doesn't change the outcome.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

EXPECTED = Path(__file__).with_name("expected.json")
MARGIN = 1e-4  # nats between a chosen token and the next best
EOS = 1


@dataclass(frozen=True)
class Case:
    """A model, prompts and settings."""

    seed: int  # of weights and prompts
    eos_shift: float  # added to the logit of end-of-text
    vocabulary: int = 90
    width: int = 32
    layers: int = 2
    groups: int = 6
    penalty: float = 50.0
    ngram: int = 2
    new_tokens: int = 24
    length_penalty: float = 1.0
    pad: int = EOS
    bias: dict[tuple[int, ...], float] = field(default_factory=dict)
    banned: tuple[tuple[int, ...], ...] = ()
    prompts: tuple[tuple[int, ...], ...] = ()  # by default eight, of 1 to 12 tokens
    padded: bool = True


WORDS = {(ids,): 1.5 for ids in range(10, 25)} | {(30, 31): 1.5, (40,): -1.5, (41, 42, 43): -1.5}
MARKUP = ((3,), (4, 5), (4, 6, 7), (8, 8), (50, 50, 50, 50), (60,))

CASES = {
    "never ends": Case(seed=11, eos_shift=-40.0),
    "never ends, bias and bans": Case(
        seed=2, eos_shift=-40.0, layers=3, vocabulary=70, bias=WORDS, banned=MARKUP
    ),
    "ends often": Case(seed=3, eos_shift=0.5, pad=0),
    "ends often, bias and bans": Case(
        seed=14, eos_shift=2.5, layers=3, vocabulary=75, pad=0, bias=WORDS, banned=MARKUP
    ),
    "ends often, padding is end-of-text": Case(seed=5, eos_shift=3.0),
    "bias alone, padding is end-of-text": Case(seed=6, eos_shift=4.0, bias=WORDS),
    "bans alone, weak penalty, trigrams": Case(
        seed=7, eos_shift=1.0, groups=4, penalty=0.7, ngram=3, pad=0, banned=MARKUP
    ),
    "shorter is better, no n-gram ban": Case(
        seed=8, eos_shift=3.0, penalty=3.0, ngram=0, length_penalty=-0.5, groups=3
    ),
    "end-of-text in the prompt": Case(
        seed=9,
        eos_shift=2.0,
        banned=((7, 9),),
        prompts=((1,), (1, 5), (5, 1), (1, 1), (9, 1, 9, 1), (7,), (2, 1, 7), (1, 6, 1, 6)),
        padded=False,  # there padding alters the result: it is part of the n-grams
    ),
}


def build(case: Case) -> GPT2LMHeadModel:
    """The case's model, its parameters drawn in the order of their names."""
    config = GPT2Config(
        vocab_size=case.vocabulary,
        n_positions=64,
        n_embd=case.width,
        n_layer=case.layers,
        n_head=4,
        bos_token_id=EOS,
        eos_token_id=EOS,
    )
    model = GPT2LMHeadModel(config).eval()
    draws = np.random.Generator(np.random.Philox(case.seed))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = draws.standard_normal(tuple(parameter.shape), dtype=np.float32)
            is_gain = ".ln_" in name and name.endswith("weight")
            spread = 0.1 if "bias" in name or is_gain else 0.35
            parameter.copy_(torch.from_numpy(values) * spread + is_gain)
        # No layer has a bias of the logits, so the final norm's moves them along one embedding.
        end = model.transformer.wte.weight[EOS]
        model.transformer.ln_f.bias.add_(case.eos_shift * end / end.square().sum())
    return model


def prompts_of(case: Case) -> list[list[int]]:
    """Eight prompts of unequal length, without end-of-text and padding unless the case says so."""
    if case.prompts:
        return [list(ids) for ids in case.prompts]
    draws = np.random.Generator(np.random.Philox(1000 + case.seed))
    lengths = [1, 2, 3, 5, 6, 8, 12, 4]
    return [draws.integers(2, case.vocabulary, length).tolist() for length in lengths]


def generate(model: GPT2LMHeadModel, case: Case, prompts: list[list[int]]) -> list[list[list[int]]]:
    """Transformers' completions of the prompts as one left-padded batch."""
    width = max(map(len, prompts))
    ids = torch.tensor([[case.pad] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    output = model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        num_beams=case.groups,
        num_beam_groups=case.groups,
        num_return_sequences=case.groups,
        diversity_penalty=case.penalty,
        no_repeat_ngram_size=case.ngram,
        max_new_tokens=case.new_tokens,
        length_penalty=case.length_penalty,
        early_stopping=False,
        sequence_bias=case.bias or None,
        bad_words_ids=[list(ids) for ids in case.banned] or None,
        eos_token_id=EOS,
        pad_token_id=case.pad,
        output_scores=True,
        return_dict_in_generate=True,
    )
    for step, scores in enumerate(output.scores):
        first, second = scores.topk(2).values.unbind(dim=1)
        if (first - second).min() < MARGIN:
            raise SystemExit(f"seed {case.seed}, step {step}: too close a choice; change the seed")
    sequences = [_without_padding(row) for row in output.sequences[:, width:].tolist()]
    return [sequences[i : i + case.groups] for i in range(0, len(sequences), case.groups)]


def _without_padding(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids


def main() -> None:
    lines = []
    for name, case in CASES.items():
        model, prompts = build(case), prompts_of(case)
        alone = [generate(model, case, [prompt])[0] for prompt in prompts]
        if case.padded and generate(model, case, prompts) != alone:
            raise SystemExit(f"{name}: the padded batch differs from prompt by prompt")
        lengths = [len(ids) for completions in alone for ids in completions]
        ended = sum(ids[-1] == EOS for completions in alone for ids in completions)
        print(f"{name}: {ended} of {len(lengths)} end, {sum(lengths) / len(lengths):.1f} tokens")
        lines.append(f"{json.dumps(name)}: {json.dumps(alone, separators=(',', ':'))}")
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
