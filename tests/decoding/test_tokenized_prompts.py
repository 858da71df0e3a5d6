"""Which prompts and given completions are used, which are left out, and the limits of all."""

from collections import Counter

import pytest
import torch

from fdpo.config.study import Generate, Given, Heldout, Published, Sampling
from fdpo.core.errors import UserError
from fdpo.core.randomness import streams_of
from fdpo.core.records import Prompt, TextPair
from fdpo.decoding import tokenized_prompts
from fdpo.decoding.completions import complete
from fdpo.decoding.tokenized_prompts import (
    TokenizedPrompt,
    check_roles,
    longest_sequence,
    tokenize_prompts,
)
from tests.support import tiny

TOKENIZER = tiny.sentencepiece_like()
END = 2
SAME = ("explain é", "explain e\u0301")  # equal once normalised


def prompt(number: int, text: str, role: str = "train", *pairs: tuple[str, str]) -> Prompt:
    given = [TextPair(chosen=chosen, rejected=rejected) for chosen, rejected in pairs]
    return Prompt(id=number, prompt=text, role=role, given=given or None)


def tokenized(*prompts: Prompt, max_length: int = 40):
    items, left_out = tokenize_prompts(TOKENIZER, prompts, max_length, [END])
    return [item.prompt.id for item in items], +left_out, items


def test_prompts_are_the_same_when_their_ids_are():
    texts = (SAME[0], "fine", SAME[1], "number")
    ids, left_out, _ = tokenized(*map(prompt, range(4), texts))
    assert ids == [0, 1, 3]
    assert left_out == {tokenized_prompts.REPEATED: 1}


@pytest.mark.parametrize(
    ("roles", "kept"),
    [("train heldout", "heldout"), ("heldout train", "heldout"), ("train test", "test"),
     ("test heldout", "heldout")],
)  # fmt: skip
def test_of_equal_prompts_that_for_evaluation_is_kept(roles, kept):
    pairs = {"test": [(" fine", " number")]}
    _, left_out, (item,) = tokenized(
        *(
            prompt(number, text, role, *pairs.get(role, []))
            for number, text, role in zip((0, 1), SAME, roles.split(), strict=True)
        )
    )
    assert item.prompt.role == kept
    assert left_out == {tokenized_prompts.REPEATED: 1}


@pytest.mark.parametrize(
    ("pairs", "names", "given", "counted"),
    [
        (
            [(" fine", "number"), (" fine", " number</s>")],
            [["▁fine"], ["number"], ["▁number", "</s>"]],
            [[0, 1], [0, 2]],
            {},
        ),
        (
            [(" fine</s> number", " number</s>")],
            [["▁fine", "</s>"], ["▁number", "</s>"]],
            [[0, 1]],
            {tokenized_prompts.CUT_AT_END: 1},
        ),
    ],
)
def test_given_completions_stand_once_and_end_at_an_end_of_text(pairs, names, given, counted):
    _, left_out, (item,) = tokenized(prompt(0, "explain", "train", *pairs))
    assert [TOKENIZER.convert_ids_to_tokens(ids) for ids in item.completions] == names
    assert item.given == given
    assert left_out == counted


def test_a_completion_without_a_token_takes_its_pairs_with_it(monkeypatch):
    tokens = tokenized_prompts.completion_tokens

    def nothing_of_blanks(tokenizer, prompt_ids, text):
        return tokens(tokenizer, prompt_ids, text) if text.strip() else []

    monkeypatch.setattr(tokenized_prompts, "completion_tokens", nothing_of_blanks)
    ids, left_out, items = tokenized(
        prompt(0, "explain", "train", (" ", " fine"), (" number", " fine")),
        prompt(1, "number", "train", (" ", " fine")),
    )
    assert ids == [0]
    assert items[0].given == [[0, 1]]
    assert left_out == {tokenized_prompts.EMPTY_COMPLETION: 2, tokenized_prompts.UNPAIRED: 1}


def settings(train, max_length: int = 150, published: Published | None = None) -> Generate:
    heldout = Heldout(samples=2, max_new_tokens=20, published=published)
    return Generate(max_length=max_length, train=train, heldout=heldout, prompts_per_batch=2)


SAMPLING = Sampling(
    strategy="sample", completions=4, max_new_tokens=30, temperature=1.0, top_k=0, top_p=1.0
)
GIVEN = Given(strategy="given")
MODEL = tiny.gpt2(torch.float32)  # 128 positions


def items_of(roles: str, tokens: int, *completions: int) -> list[TokenizedPrompt]:
    rows, given = [[1] * count for count in completions], [[0, 1]] if completions else []
    return [
        TokenizedPrompt(Prompt(id=i, prompt="x", role=role), [1] * tokens, rows, given)
        for i, role in enumerate(roles.split())
    ]


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ("heldout heldout", "0 train prompts are left, and 1 at least"),
        ("train train", "0 heldout prompts are left, and 2 at least"),
        ("train heldout", "1 heldout prompts are left, and 2 at least"),
    ],
)
def test_too_few_prompts_of_a_role_are_named_before_any_work(roles, problem):
    check_roles(items_of("train heldout heldout", 3), Counter())
    left_out = Counter({tokenized_prompts.TOO_LONG: 3})
    with pytest.raises(UserError, match=rf"{problem} .*\(3 prompts left out for their length\)"):
        check_roles(items_of(roles, 3), left_out)


@pytest.mark.parametrize(
    ("train", "fits", "exceeds", "problem"),
    [
        (SAMPLING, ("train", 98), ("train", 99), "lower max_new_tokens or"),  # 30 new tokens
        (SAMPLING, ("heldout", 108), ("heldout", 109), "lower max_new_tokens or"),  # 20
        (GIVEN, ("train", 100, 28, 5), ("train", 100, 29, 5), "lower generate.max_length"),
    ],
)
def test_completions_beyond_the_positions_of_the_model_are_refused_at_once(
    train, fits, exceeds, problem
):
    assert longest_sequence(items_of(*fits), settings(train), MODEL) == 128
    with pytest.raises(UserError, match=f"exceed the 128 positions .*; {problem}"):
        longest_sequence(items_of(*exceeds), settings(train), MODEL)


def test_records_have_the_text_that_was_generated_behind_the_prompt():
    """A tokenizer like Llama 2's, whose words would lose their space if decoded alone."""
    model = tiny.llama(torch.float32, vocabulary=len(TOKENIZER))
    model.generation_config.eos_token_id = END
    items, _ = tokenize_prompts(
        TOKENIZER,
        [
            prompt(0, "explain", "train", (" number</s>", "number")),
            prompt(1, "fine", "heldout"),
            prompt(2, "number", "heldout"),
        ],
        30,
        [END],
    )
    generate = settings(GIVEN, max_length=30)
    (given,) = complete(model, TOKENIZER, items[:1], generate, streams_of(0))
    assert [completion.text for completion in given.completions] == [" number", "number"]
    assert [completion.finished for completion in given.completions] == [True, False]
    for record in complete(model, TOKENIZER, items[1:], generate, streams_of(0)):
        for completion in record.completions:
            decoded = TOKENIZER.decode(
                [*record.prompt_ids, *completion.ids], skip_special_tokens=True
            )
            assert decoded == record.prompt + completion.text
