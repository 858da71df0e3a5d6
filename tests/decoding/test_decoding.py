"""Each decoding strategy by its definition, and the length limit by a plain forward pass."""

from itertools import pairwise

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.config.study import DiverseBeam, Heldout, Published, Sampling
from fdpo.core.randomness import streams_of
from fdpo.decoding.completions import cut
from fdpo.decoding.sampling import Sampled
from fdpo.decoding.strategies import beam_settings, decode_heldout, decode_published, decode_train
from fdpo.models import causal_lm
from tests.support import hub_repos, tiny

NUMBERS = [40, 41, 42]
PROMPTS = [[5, 9, 2], [7], [3, 3, 8, 30, 11]]
SEARCH = DiverseBeam(
    strategy="diverse_beam",
    groups=3,
    diversity_penalty=50.0,
    no_repeat_ngram=2,
    max_new_tokens=30,
    bias=[{"weight": 1.5, "words": ["great"]}, {"weight": -1.5, "words": ["bad", "zzz"]}],
    banned=["<br", "**"],
)
MODEL = tiny.gpt2(torch.float32)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("gpt2")
    hub_repos.gpt2(folder)
    return causal_lm.load_tokenizer(folder)


def test_words_stand_behind_a_space_and_markup_behind_one_or_not(tokenizer):
    config = beam_settings(tokenizer, SEARCH)
    assert [(tokenizer.decode(ids), nats) for ids, nats in config.bias.items()] == [
        (" great", 1.5),
        (" bad", -1.5),
        (" zzz", -1.5),
    ]
    assert len(next(ids for ids in config.bias if tokenizer.decode(ids) == " zzz")) > 1
    assert [tokenizer.decode(ids) for ids in config.banned] == ["<br", " <br", "**", " **"]


def published(prompts: list[list[int]], numbers: list[int], **changes) -> list[Sampled]:
    settings = {"top_k": 3, "no_repeat_ngram": 2, "max_new_tokens": 25, **changes}
    with causal_lm.cached_attention(MODEL), torch.no_grad():
        return decode_published(
            MODEL, numbers, prompts, Published(**settings), streams_of(0), "policy"
        )


def test_published_decoding_takes_the_likeliest_tokens_that_repeat_no_bigram():
    sampled = published(PROMPTS, NUMBERS)
    beyond_the_likeliest = 0
    for prompt, completion in zip(PROMPTS, sampled, strict=True):
        text = list(prompt)
        with causal_lm.cached_attention(MODEL), torch.no_grad():
            logits = MODEL(torch.tensor([[*prompt, *completion.ids]])).logits[0]
        for position, token in enumerate(completion.ids, start=len(prompt) - 1):
            seen = set(pairwise(text))
            allowed = [t for t in range(tiny.VOCABULARY) if (text[-1], t) not in seen]
            likeliest = sorted(allowed, key=lambda t: -logits[position, t])[:3]
            assert token in likeliest
            beyond_the_likeliest += token != likeliest[0]
            text.append(token)
    assert beyond_the_likeliest > 0


def test_padding_counts_among_no_bigrams():
    prompts = [[5, 0]] * 200 + [[8, 9, 10, 11, 12]]  # padded with 0s, as if a 0 followed a 0
    sampled = published(prompts, list(range(201)), top_k=0, max_new_tokens=1)
    assert 0 in {completion.ids[0] for completion in sampled[:200]}


def test_a_cut_completion_is_recorded_as_what_is_left_of_it():
    prompt = [5, 9, 2]
    whole = [
        Sampled([4, 4, 7, 8, tiny.END], True, -1.0),  # 8 tokens with the prompt
        Sampled([4, 4, 7, tiny.END], True, -2.0),
        Sampled([6, 1, 3, 3, 9, 9], False, -3.0),
    ]
    short = cut(MODEL, prompt, whole, max_length=7)
    assert [one.ids for one in short] == [[4, 4, 7, 8], [4, 4, 7, tiny.END], [6, 1, 3, 3]]
    assert [one.finished for one in short] == [False, True, False]
    assert short[1] == whole[1]
    with causal_lm.cached_attention(MODEL), torch.no_grad():
        for index in (0, 2):
            expected = tiny.plain_logp(MODEL, prompt, short[index].ids).item()
            assert short[index].logp == pytest.approx(expected, rel=1e-5)


ENDS = [3, tiny.END, 30]


def ending_variously() -> PreTrainedModel:
    model = tiny.gpt2(torch.float32)
    model.generation_config.eos_token_id = ENDS
    return model


def test_every_id_that_ends_a_text_ends_it_in_every_strategy():
    model = ending_variously()
    plain = SEARCH.model_copy(update={"bias": [], "banned": []})
    sampling = Sampling(
        strategy="sample", completions=8, max_new_tokens=30, temperature=1.0, top_k=0, top_p=1.0
    )
    heldout = Heldout(samples=8, max_new_tokens=30)
    free = Published(top_k=0, no_repeat_ngram=0, max_new_tokens=30)
    where = (NUMBERS, PROMPTS)
    with causal_lm.cached_attention(model):
        rows = [
            *decode_train(model, tiny.tokenizer(), *where, plain, streams_of(0)),
            *decode_train(model, tiny.tokenizer(), *where, sampling, streams_of(0)),
            *decode_heldout(model, *where, heldout, streams_of(0), "policy"),
            decode_published(model, *where, free, streams_of(0), "policy"),
        ]
    completions = [completion for row in rows for completion in row]
    for completion in completions:
        *before, last = completion.ids
        assert not set(before) & set(ENDS)
        assert completion.finished == (last in ENDS)
        assert completion.finished or len(completion.ids) == 30
    assert len({one.ids[-1] for one in completions if one.finished}) > 1


def test_a_later_group_is_penalised_for_what_goes_on_when_an_earlier_one_ends():
    """As the search's module says, here with the two likeliest tokens both ends of a text."""
    model = ending_variously()
    with torch.no_grad(), causal_lm.cached_attention(model):
        logits = model(torch.tensor(PROMPTS[:1]), use_cache=False).logits[0, -1]
    first, second = logits.topk(2).indices.tolist()
    model.generation_config.eos_token_id = [second, first]
    update = {"bias": [], "banned": [], "no_repeat_ngram": 0, "groups": 2}
    with causal_lm.cached_attention(model):
        settings = SEARCH.model_copy(update=update)
        (row,) = decode_train(model, tiny.tokenizer(), [40], PROMPTS[:1], settings, streams_of(0))
    # Penalised for either end, the second group would take another token.
    assert [sampled.ids for sampled in row] == [[first], [first]]
