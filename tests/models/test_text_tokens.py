"""Texts to token ids and back, with a tokenizer like Llama 2's and with GPT-2's kind."""

import pytest

from fdpo.models import causal_lm
from fdpo.models.text_tokens import (
    completion_text,
    completion_tokens,
    prompt_text,
    prompt_tokens,
)
from tests.support import hub_repos, tiny

BEGIN, END = 1, 2
COMPLETIONS = ["number", " number", "ber", "\nfine", " fine.", "  fine", ".", " ", "né"]


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    hub_repos.gpt2(folder)
    return causal_lm.load_tokenizer(folder)


@pytest.mark.parametrize("append_end", [False, True])
def test_a_prompt_begins_as_the_tokenizer_says_and_does_not_end(append_end):
    tokenizer = tiny.sentencepiece_like(append_end)
    ids = prompt_tokens(tokenizer, "explain number")
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "▁explain", "▁number"]
    assert (tokenizer("explain number").input_ids[-1] == END) == append_end
    assert prompt_text(tokenizer, ids) == "explain number"


def test_a_begin_or_end_of_text_that_the_prompt_spells_is_not_doubled():
    tokenizer = tiny.sentencepiece_like(append_end=True)
    assert tokenizer("<s>explain").input_ids[:2] == [BEGIN, BEGIN]
    ids = prompt_tokens(tokenizer, "<s>explain")
    assert (ids[0], ids.count(BEGIN), ids.count(END)) == (BEGIN, 1, 0)
    assert prompt_tokens(tokenizer, "fine</s>").count(END) == 1


@pytest.mark.parametrize("text", COMPLETIONS)
@pytest.mark.parametrize("append_end", [False, True])
def test_a_completion_s_ids_give_back_its_text_behind_the_prompt(text, append_end):
    tokenizer = tiny.sentencepiece_like(append_end)
    prompt = prompt_tokens(tokenizer, "explain")
    ids = completion_tokens(tokenizer, prompt, text)
    assert completion_text(tokenizer, prompt, ids) == text
    assert END not in ids
    assert tokenizer.decode([*prompt, *ids], skip_special_tokens=True) == f"explain{text}"


@pytest.mark.parametrize("text", [*COMPLETIONS, " 日本", "💡 great"])
def test_byte_level_completions_are_tokenised_apart_as_they_are(byte_level, text):
    prompt = prompt_tokens(byte_level, "It was")
    ids = completion_tokens(byte_level, prompt, text)
    assert prompt == byte_level("It was").input_ids
    assert ids == byte_level(text, add_special_tokens=False).input_ids
    assert completion_text(byte_level, prompt, ids) == byte_level.decode(ids) == text


def test_special_tokens_are_no_text():
    tokenizer = tiny.sentencepiece_like()
    prompt = prompt_tokens(tokenizer, "explain")
    assert completion_text(tokenizer, prompt, [END]) == ""
    assert completion_text(tokenizer, prompt, []) == ""
