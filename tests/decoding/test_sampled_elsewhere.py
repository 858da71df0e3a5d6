"""Completions that were sampled elsewhere: their tokens, and how far their engine is off."""

import math

import pytest
import torch

from fdpo.config.study import Generate, Given, Heldout
from fdpo.core.errors import UserError
from fdpo.core.randomness import streams_of
from fdpo.core.records import GivenCompletion, Prompt
from fdpo.decoding import tokenized_prompts
from fdpo.decoding.completions import complete
from fdpo.decoding.engine_mismatch import distances, require_small
from fdpo.decoding.tokenized_prompts import TokenizedPrompt, tokenize_prompts
from tests.support import tiny

TOKENIZER = tiny.sentencepiece_like()
END = 2


def tokenized(*completions: GivenCompletion, max_length: int = 40):
    prompt = Prompt(id=7, prompt="explain", role="train", completions=list(completions))
    items, left_out = tokenize_prompts(TOKENIZER, [prompt], max_length, [END])
    return items, +left_out


def test_ids_stay_as_they_are_but_for_what_follows_an_end_and_the_limit():
    logps = [-1.0, -2.0, -3.0, -4.0]
    (item,), left_out = tokenized(
        GivenCompletion(ids=[9, 9, 9, 9], logps=logps),
        GivenCompletion(ids=[9, END, END, END], logps=logps),
        GivenCompletion(ids=[9, 9, 9, 9], logp=-10.0),
        GivenCompletion(text=" fine", score=1.0),
        max_length=len(TOKENIZER("explain").input_ids) + 3,
    )
    assert item.completions[:3] == [[9, 9, 9], [9, END], [9, 9, 9]]
    assert TOKENIZER.convert_ids_to_tokens(item.completions[3]) == ["▁fine"]
    assert [found.logps for found in item.sampled[:3]] == [logps[:3], logps[:2], None]
    assert item.sampled[2].logp is None  # a sum over more tokens than are left
    assert left_out == {tokenized_prompts.CUT_AT_END: 1}


@pytest.mark.parametrize(
    ("completion", "problem"),
    [
        ({"ids": [10_000]}, r"prompt 7: a completion has the token id 10000, and the reference's"),
        ({"ids": [9, 9], "logps": [-1.0]}, "prompt 7: 1 log-probabilities for a completion of 2 t"),
    ],
)
def test_what_is_of_another_tokenizer_is_refused(completion, problem):
    with pytest.raises(UserError, match=problem):
        tokenized(GivenCompletion(ids=[9]), GivenCompletion.model_validate(completion))


def test_distances_are_per_token_and_in_the_record_beside_the_scores():
    model = tiny.llama(torch.float32)
    prompt, rows = [5, 7, 11], [[13, 17, 19], [23, 29], [31]]
    plain = tiny.llama(torch.float64)
    plain.set_attn_implementation("sdpa")
    with torch.inference_mode():
        by_token = [tiny.plain_token_logps(plain, prompt, row).tolist() for row in rows]
    sampled = [
        GivenCompletion(ids=rows[0], score=3.0, logps=[logp - 0.25 for logp in by_token[0]]),
        GivenCompletion(ids=rows[1], score=1.0, logp=sum(by_token[1]) - 1.0),
        GivenCompletion(ids=rows[2], score=2.0),
    ]
    assert distances(sampled, by_token) == pytest.approx([0.25, 0.25, 0.25, 0.5])
    record = Prompt(id=0, prompt="x", role="train", completions=sampled)
    settings = Generate(
        max_length=9,
        train=Given(strategy="given"),
        heldout=Heldout(samples=2, max_new_tokens=2),
        prompts_per_batch=1,
    )
    item = TokenizedPrompt(record, prompt, rows, sampled=sampled)
    (made,) = complete(model, tiny.tokenizer(), [item], settings, streams_of(0))
    assert made.scores == [3.0, 1.0, 2.0]
    assert made.mismatch == pytest.approx([0.25, 0.25, 0.25, 0.5], abs=1e-4)
    assert [c.ref_logp for c in made.completions] == pytest.approx(
        [math.fsum(logps) for logps in by_token], abs=1e-4
    )


def test_a_mean_beyond_the_bound_is_refused():
    with pytest.raises(
        UserError, match=r"by 0\.3000 nats per token on average, 0\.3980 at the 99th"
    ):
        require_small([0.2, 0.4], 0.29)
    require_small([0.2, 0.4], 0.31)
    require_small([], 0.1)
