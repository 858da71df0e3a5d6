"""Each decoding strategy by its definition, and the length limit by a plain forward pass."""

from itertools import pairwise

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from fdpo.config.study import DiverseBeam, Generate, Heldout, Published
from fdpo.core.errors import UserError
from fdpo.core.randomness import streams_of
from fdpo.core.records import Prompt
from fdpo.decoding import completions, length_limit
from fdpo.decoding.completions import TokenizedPrompt
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


def test_searched_completions_say_whether_they_ended():
    plain = SEARCH.model_copy(update={"bias": [], "banned": []})
    with causal_lm.cached_attention(MODEL):
        rows = decode_train(MODEL, tiny.tokenizer(), NUMBERS, PROMPTS, plain, streams_of(0))
        found = [completion for row in rows for completion in row]
        ended = [completion.ids[-1] == tiny.END for completion in found]
        assert [completion.finished for completion in found] == ended
        assert set(ended) == {True, False}
        for prompt, row in zip(PROMPTS, rows, strict=True):
            assert len(row) == 3
            for one in row:
                assert one.logp == pytest.approx(tiny.plain_logp(MODEL, prompt, one.ids).item())


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


def test_published_decoding_of_a_prompt_does_not_depend_on_its_neighbours():
    together = published(PROMPTS, NUMBERS)
    for prompt, number, completion in zip(PROMPTS, NUMBERS, together, strict=True):
        (alone,) = published([prompt], [number])
        assert alone.ids == completion.ids
        assert alone.logp == pytest.approx(completion.logp)


def test_padding_counts_among_no_bigrams():
    prompts = [[5, 0]] * 200 + [[8, 9, 10, 11, 12]]  # padded with 0s, as if a 0 followed a 0
    sampled = published(prompts, list(range(201)), top_k=0, max_new_tokens=1)
    assert 0 in {completion.ids[0] for completion in sampled[:200]}


def test_published_and_plain_samples_are_independent_draws():
    plain = Heldout(samples=2, max_new_tokens=25)
    with causal_lm.cached_attention(MODEL):
        rows = decode_heldout(MODEL, NUMBERS, PROMPTS, plain, streams_of(0), "policy")
    (unrestricted,) = published(PROMPTS[:1], NUMBERS[:1], top_k=0, no_repeat_ngram=0)
    assert unrestricted.ids not in [completion.ids for completion in rows[0]]


def test_a_cut_completion_is_recorded_as_what_is_left_of_it():
    prompt = [5, 9, 2]
    whole = [
        Sampled([4, 4, 7, 8, tiny.END], True, -1.0),  # 8 tokens with the prompt
        Sampled([4, 4, 7, tiny.END], True, -2.0),
        Sampled([6, 1, 3, 3, 9, 9], False, -3.0),
    ]
    cut = length_limit.cut(MODEL, prompt, whole, max_length=7)
    assert [one.ids for one in cut] == [[4, 4, 7, 8], [4, 4, 7, tiny.END], [6, 1, 3, 3]]
    assert [one.finished for one in cut] == [False, True, False]
    assert cut[1] == whole[1]
    with causal_lm.cached_attention(MODEL), torch.no_grad():
        for index in (0, 2):
            expected = tiny.plain_logp(MODEL, prompt, cut[index].ids).item()
            assert cut[index].logp == pytest.approx(expected, rel=1e-5)


def test_what_fits_is_left_alone():
    whole = [Sampled([4, 4, 7, 8], False, -1.0), Sampled([1], False, -2.0)]
    assert length_limit.cut(MODEL, [5, 9, 2], whole, max_length=7) == whole


def prompts_of(roles: str, tokens: int) -> list[TokenizedPrompt]:
    return [
        TokenizedPrompt(Prompt(id=i, prompt="x", role=role), [1] * tokens)
        for i, role in enumerate(roles.split())
    ]


def test_a_limit_that_no_prompt_of_a_role_keeps_is_named():
    completions.check_roles(prompts_of("train heldout", 3), max_length=4)
    with pytest.raises(UserError, match="max_length = 4: every heldout prompt has as many tokens"):
        completions.check_roles(prompts_of("train train", 3), max_length=4)


def test_completions_beyond_the_positions_of_the_model_are_refused_at_once():
    settings = Generate(
        max_length=150,
        train=SEARCH,  # 30 new tokens
        heldout=Heldout(samples=2, max_new_tokens=20),
        prompts_per_batch=2,
    )
    completions.check_positions(prompts_of("train", 98), settings, MODEL)
    with pytest.raises(
        UserError, match="prompt of 99 tokens and max_new_tokens = 30 exceed the 128"
    ):
        completions.check_positions(prompts_of("train", 99), settings, MODEL)
