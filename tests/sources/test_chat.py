"""Chats: templates of a file, and answers that end their turn, against Transformers' own."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, GenerationConfig

from fdpo.config.sources import ChatTemplate, Models
from fdpo.core.errors import UserError
from fdpo.core.records import Prompt
from fdpo.decoding.tokenized_prompts import tokenize_prompts
from fdpo.sources.chat import ChatFormat, has_template, install_template
from fdpo.sources.pair_formats import GivenPair
from stages import paths, prepare
from tests.support import hub_repos, tiny_classifiers

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Shows what a chat's answers were in another way than it asks for one.
THINKING = CHATML.replace("<|im_start|>assistant\n{%", "<|im_start|>assistant\n<think>\n{%")
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
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
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
    Path("inputs/chat.jinja").write_text("{{ raise_exception('no') }}")
    install_template(ChatTemplate(path="inputs/chat.jinja"), reference)
    with pytest.raises(UserError, match=r"the chat template refuses .* \(no\); correct the"):
        ChatFormat("auto", None, reference).prompt("Hi")


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


def test_an_answer_that_the_template_shows_otherwise_is_as_given_and_ends_the_turn(reference):
    chat = format_of(reference, THINKING)
    prompt, pair = chat.pair(PAIR)
    assert prompt.endswith("<think>\n")
    assert pair.chosen == f"{PAIR.chosen}<|im_end|>"


def test_a_template_without_a_token_of_its_own_ends_nothing(reference):
    chat = format_of(
        reference, "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    before = {path.name: path.read_bytes() for path in reference.iterdir()}
    chat.end_generation_with_turn(reference)
    assert {path.name: path.read_bytes() for path in reference.iterdir()} == before
    assert chat.end_of_turn == ""
    assert chat.pair(PAIR)[1].rejected.startswith("assistant: The film was bad")


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


def test_chat_is_a_word_or_a_section():
    for right in ("none", "auto", {"path": "inputs/chat.jinja"}):
        assert Models.model_validate(MODELS | {"chat": right})
    for wrong in ("chatml", 1, {"template": "x"}, {}):
        with pytest.raises(ValueError, match=r"must be none, auto, or a section|path"):
            Models.model_validate(MODELS | {"chat": wrong})


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
