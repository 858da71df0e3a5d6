"""Chats: templates of a file, and answers that end their turn, against Transformers' own."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer, GenerationConfig

from fdpo.config.sources import ChatTemplate, Models
from fdpo.core.errors import UserError
from fdpo.core.records import ChatMessage, Prompt, TextPair
from fdpo.decoding.tokenized_prompts import tokenize_prompts
from fdpo.sources.chat import ChatFormat, has_template, install_template
from fdpo.sources.pair_formats import GivenPair
from stages import paths, prepare
from tests.support import hub_repos, tiny_classifiers
from tests.support.chat_templates import (
    BROKEN,
    CHATML,
    FORMATS,
    QWEN3_OPENED,
    R1,
    TOOLS,
    end_of,
)

PAIR = GivenPair((("user", "Was the film boring"),), " The film was great ", "The film was bad")
MODELS = {
    "reference": {"repo": "a/b", "revision": "main"},
    "reward": {"repo": "a/b", "revision": "main", "label": 1, "too_long": "cut"},
    "judge": {"repo": "a/b", "revision": "main", "label": 1, "too_long": "cut"},
}


@pytest.fixture
def reference(tmp_path, monkeypatch) -> Path:
    """A model whose tokenizer has ChatML's tokens and no template, and a file with one."""
    monkeypatch.chdir(tmp_path)
    folder = paths.REFERENCE_MODEL
    hub_repos.gpt2(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>"]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.save_pretrained(folder)
    Path("inputs").mkdir()
    Path("inputs/chat.jinja").write_text(CHATML)
    return folder


def messages(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def format_of(reference: Path, template: str, system: str | None = None) -> ChatFormat:
    Path("inputs/chat.jinja").write_text(template)
    chat = ChatTemplate(path="inputs/chat.jinja")
    install_template(chat, reference)
    return ChatFormat(chat, system, reference)


def test_the_template_of_a_file_travels_with_the_reference(reference):
    assert not has_template(reference)
    chat = format_of(reference, CHATML, "Be good")
    assert has_template(reference)
    tokenizer = AutoTokenizer.from_pretrained(reference)
    assert tokenizer.chat_template == CHATML
    turns = messages(("system", "Be good"), ("user", "Hi"))
    expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert chat.prompt("Hi") == expected
    with pytest.raises(UserError, match="inputs/none: missing or empty"):
        install_template(ChatTemplate(path="inputs/none"), reference)


def test_of_a_template_s_file_the_text_alone_counts(reference):
    """A mark that an editor puts before it would else begin every prompt."""
    Path("inputs/chat.jinja").write_bytes(CHATML.encode("utf-8-sig"))
    install_template(ChatTemplate(path="inputs/chat.jinja"), reference)
    assert AutoTokenizer.from_pretrained(reference).chat_template == CHATML
    Path("inputs/chat.jinja").write_bytes("é".encode("latin-1"))
    with pytest.raises(UserError, match=r"inputs/chat.jinja: not text in UTF-8 .*; save it as"):
        install_template(ChatTemplate(path="inputs/chat.jinja"), reference)


def test_a_given_answer_is_the_template_s_own_and_ends_the_turn(reference):
    chat = format_of(reference, CHATML)
    tokenizer = AutoTokenizer.from_pretrained(reference)
    assert chat.end_of_turn == "<|im_end|>"
    prompt, pair = chat.pair(PAIR)
    for text, answer in ((pair.chosen, PAIR.chosen), (pair.rejected, PAIR.rejected)):
        turns = messages(*PAIR.prompt, ("assistant", answer))
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        assert prompt + text == whole.removesuffix("\n")

    chat.end_generation_with_turn(reference)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    ends = GenerationConfig.from_pretrained(reference).eos_token_id
    assert ends == [0, end]
    chat.end_generation_with_turn(reference)  # twice is no more than once
    assert GenerationConfig.from_pretrained(reference).eos_token_id == ends
    record = Prompt(id=0, prompt=prompt, role="train", given=[pair])
    (tokenized,), left_out = tokenize_prompts(tokenizer, [record], 200, ends)
    assert left_out.total() == 0
    turns = messages(*PAIR.prompt, ("assistant", PAIR.chosen))
    whole = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False)).input_ids
    assert tokenized.ids + tokenized.completions[0] == whole[: len(whole) - 1]
    assert [ids[-1] for ids in tokenized.completions] == [end, end]


def whole_of(tokenizer, turns, answer: str) -> str:
    return tokenizer.apply_chat_template(messages(*turns, ("assistant", answer)), tokenize=False)


@pytest.mark.parametrize("name", FORMATS)
def test_a_well_known_format_is_rendered_as_its_own_template_does(reference, name):
    chat = format_of(reference, FORMATS[name])
    tokenizer = AutoTokenizer.from_pretrained(reference)
    before = (("user", "A film?"), ("assistant", "Yes."), ("user", "Which one ?"))
    prompt, pair = chat.pair(GivenPair(before, "The first.", "The last."))
    assert chat.end_of_turn == end_of(name)
    expected = whole_of(tokenizer, before, "The first.")
    today = "26 Jul 2024" if "date" in name else ""
    if today:
        expected = re.sub(r"\d\d \w{3} \d{4}", today, expected)
    assert prompt + pair.chosen == expected.rstrip("\n")
    assert today in prompt
    said = chat.notes()
    assert [line for line in said if "shows the date" in line] == said if today else True
    assert any("opens <think>" in line for line in said) == ("opened" in name)


@pytest.mark.parametrize("name", BROKEN)
def test_a_template_that_does_not_render_a_chat_is_refused_or_its_rows_counted(reference, name):
    template, problem = BROKEN[name]
    turns = (("system", "Be good."), ("user", "Was the film boring?"))
    chat = format_of(reference, template)
    pair = GivenPair(turns, "No, it was not.", "Yes, it was.")
    with pytest.raises(UserError, match=problem) as refused:
        chat.pair(pair)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(UserError, match=problem):
        chat.prompt(turns)
    skipped: Counter[str] = Counter()
    chat = ChatFormat("auto", None, reference, skipped=skipped)
    assert chat.pair(pair) is None
    assert list(chat.prompts([turns])) == []
    assert skipped.total() == 2


def test_an_opened_thought_gets_a_thought_or_is_refused(reference):
    turns = (("user", "Was it boring?"),)
    thinking = GivenPair(turns, "<think>\nHm.\n</think>\nNo.", "Hm.</think>Yes.")
    plain = GivenPair(turns, "No.", "Yes.")
    r1 = format_of(reference, R1)
    assert r1.pair(thinking)[1].chosen == "Hm.\n</think>\nNo.<|endoftext|>"
    with pytest.raises(UserError, match="opens <think>, so an answer without </think> would be"):
        r1.pair(plain)
    qwen = format_of(reference, QWEN3_OPENED)
    assert qwen.pair(thinking)[1].chosen == "Hm.\n</think>\n\nNo.<|im_end|>"
    assert qwen.pair(plain)[1].chosen == "\n</think>\n\nNo.<|im_end|>"


@pytest.mark.parametrize("role", ["developer", "tool", "critic"])
def test_a_role_that_a_template_does_not_know_is_named(reference, role):
    known = "{% for m in messages if m.role in ('system', 'user', 'assistant') %}"
    chat = format_of(reference, CHATML.replace("{% for m in messages %}", known))
    with pytest.raises(UserError, match=f"leaves out messages of the role '{role}'"):
        chat.prompt(((role, "Be brief."), ("user", "Hi")))
    shown = format_of(reference, TOOLS).prompt(((role, 'Be "brief".'), ("user", "Hi")))
    assert ('"Be \\"brief\\"."' if role == "tool" else 'Be "brief".') in shown


DIALOGUE = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: So\nbe it\n\nAssistant:"


def test_a_dialogue_of_one_text_becomes_its_turns(reference):
    turns = (("user", "Hi"), ("assistant", "Yes?"), ("user", "So\nbe it"))
    chat = format_of(reference, CHATML)
    whole, split = (
        chat.pair(GivenPair(prompt, *answers))
        for prompt, answers in ((DIALOGUE, (" A", " B")), (turns, ("A", "B")))
    )
    assert whole == split
    assert chat.with_messages(Prompt(id=0, prompt=whole[0], role="train")).messages == [
        ChatMessage(role=role, content=content) for role, content in turns
    ]
    plain = "Does Human: mean anything?\n\nAssistant: is a word."
    assert chat.prompt(plain) == chat.prompt((("user", plain),))
    for other in ("Human: Hi\nAssistant:", "\n\nHuman: \n\nAssistant:", DIALOGUE + " Well."):
        with pytest.raises(UserError, match=r"a dialogue as one text|an empty turn, or ends with"):
            chat.prompt(other)


def test_without_chat_the_end_of_text_follows_given_completions_as_in_trl(reference):
    (reference / "chat_template.jinja").unlink(missing_ok=True)
    pair = GivenPair("It was", " good", " bad<|endoftext|>")
    as_given = ChatFormat("none", None, reference)
    assert as_given.pair(pair) == ("It was", TextPair(chosen=" good", rejected=pair.rejected))
    appended = ChatFormat("none", None, reference, end="append")
    ended = TextPair(chosen=" good<|endoftext|>", rejected=" bad<|endoftext|>")
    assert appended.pair(pair) == ("It was", ended)
    assert "end in '<|endoftext|>', as in TRL" in appended.notes()[0]
    tokenizer = AutoTokenizer.from_pretrained(reference)
    record = Prompt(id=0, prompt="It was", role="train", given=[ended])
    (tokenized,), _ = tokenize_prompts(tokenizer, [record], 200, [tokenizer.eos_token_id])
    assert [ids[-1] for ids in tokenized.completions] == [tokenizer.eos_token_id] * 2
    tokenizer.eos_token = None
    tokenizer.save_pretrained(reference)
    with pytest.raises(UserError, match=r"end = 'append': .* has no eos_token; set it to given"):
        ChatFormat("none", None, reference, end="append").pair(pair)


def test_a_template_without_a_token_of_its_own_ends_nothing(reference):
    chat = format_of(
        reference,
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
    )
    before = {path.name: path.read_bytes() for path in reference.iterdir()}
    chat.end_generation_with_turn(reference)
    assert {path.name: path.read_bytes() for path in reference.iterdir()} == before
    assert chat.end_of_turn == ""
    assert chat.pair(PAIR)[1].rejected == "The film was bad\n"


def test_a_chat_model_that_reads_plain_text_is_said_in_one_line(reference, capsys):
    plain = Models.model_validate(MODELS)
    prepare.chat_format(plain)
    assert capsys.readouterr().err == ""
    (reference / "chat_template.jinja").write_text(CHATML)
    prepare.chat_format(plain)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("prepare: warning: the reference has a chat template, but prepare.chat")
    prepare.chat_format(Models.model_validate(MODELS | {"chat": "auto"}))
    assert capsys.readouterr().err == ""
    config = json.loads((reference / "generation_config.json").read_text())
    assert len(config["eos_token_id"]) == 2


BEGINNING = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)


@pytest.fixture
def chat_folder(tmp_path) -> Path:
    variant = tiny_classifiers.Variant("own", "right", "right", 1)
    tokenizer = tiny_classifiers.tokenizer(variant, appends_end=False)
    tokenizer.chat_template = BEGINNING
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_chat_prompt_is_the_templates_own_and_begins_once(chat_folder):
    tokenizer = AutoTokenizer.from_pretrained(chat_folder)
    chat = ChatFormat("auto", "Be good .", chat_folder)
    turns = [{"role": "system", "content": "Be good ."}, {"role": "user", "content": "the film"}]
    whole = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert chat.prompt("the film") == chat.prompt((("user", "the film"),))
    assert tokenizer.bos_token + chat.prompt("the film") == whole
    ids = tokenizer(chat.prompt("the film")).input_ids
    assert ids == tokenizer(whole, add_special_tokens=False).input_ids
    own = (("system", "No ."), ("user", "the film"))
    assert "Be good" not in chat.prompt(own)


def test_messages_need_a_template(chat_folder, tmp_path):
    plain = ChatFormat("none", None, tmp_path)
    assert plain.prompt("Why?") == "Why?"
    with pytest.raises(UserError, match=r"prepare.chat = 'none', but the prompts are messages"):
        plain.prompt(PAIR.prompt)
    (chat_folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template; set it to none, or take a chat"):
        ChatFormat("auto", None, chat_folder)
