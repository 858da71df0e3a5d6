"""fdpo.scoring.classifier, with Transformers' own text-classification pipeline as the oracle."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    pipeline,
)

from fdpo.config.sources import Classifier
from fdpo.core.errors import UserError
from fdpo.core.records import ChatMessage
from fdpo.scoring import classifier
from fdpo.scoring.loading import load_scorer
from fdpo.scoring.scorer import PromptedText, scores_of
from tests.support import hub_repos
from tests.support.chat_templates import QWEN3

TEXTS = [
    "The movie was great",
    "",
    "The plot felt dull, the ending cool. " * 40,  # longer than the models read
    "The cast",
    *hub_repos.sentences(40, "texts"),  # so that there is more than one batch
]


def write(folder: Path, label: str | int | None, too_long: str = "cut", **more) -> list[str]:
    return classifier.write(
        folder, Classifier(path="reward", label=label, too_long=too_long, **more)
    )


@pytest.fixture(scope="module", params=["distilbert", "roberta"])
def folder(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifiers") / request.param
    getattr(hub_repos, request.param)(folder)
    write(folder, "POSITIVE")
    return folder


def test_the_score_is_the_logit_of_the_class(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=64)
    oracle = pipeline("text-classification", str(folder), tokenizer=tokenizer, device="cpu")
    answers = oracle(TEXTS, top_k=None, function_to_apply="none", truncation=True)
    expected = [next(a["score"] for a in answer if a["label"] == "POSITIVE") for answer in answers]
    scores = load_scorer(folder).score(TEXTS)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(scores) > 0.5


def test_a_class_is_named_or_numbered(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    named = classifier.load(copy).score(TEXTS)
    write(copy, 1)
    assert json.loads((copy / "scorer.json").read_text()) == {
        "kind": "classifier",
        "label": 1,
        "too_long": "cut",
    }
    np.testing.assert_array_equal(classifier.load(copy).score(TEXTS), named)
    write(copy, "NEGATIVE")
    assert not np.allclose(classifier.load(copy).score(TEXTS), named)


@pytest.mark.parametrize("label", ["positive", 2, None])
def test_an_unknown_class_is_refused(folder, label):
    with pytest.raises(UserError, match=r"label = .*choose one of NEGATIVE \(0\), POSITIVE \(1\)"):
        write(folder, label)
    assert json.loads((folder / "scorer.json").read_text())["label"] == "POSITIVE"


def test_a_model_without_a_classification_head_is_refused(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    head = {name: tensor for name, tensor in weights.items() if "classifier" not in name}
    save_file(head, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"no weights for .*classifier"):
        classifier.load(copy)


TEMPLATE = (
    "[CLS]{% for message in messages %}{% if message.role == 'user' %}the , {% endif %}"
    "{{ message.content }}[SEP]{% endfor %}"
)
TURNS = tuple(
    ChatMessage(role=role, content=content)
    for role, content in (("user", "The cast"), ("assistant", "felt"), ("user", "The plot"))
)
CHAT = [
    PromptedText("The movie", "was great"),
    PromptedText("", "a dull plot. " * 40),
    PromptedText("the chat as one text", "great", TURNS),
]


@pytest.fixture
def distilbert(tmp_path) -> Path:
    folder = tmp_path / "classifier"
    hub_repos.distilbert(folder)
    return folder


def test_a_chat_is_read_in_the_classifiers_own_template(distilbert):
    (distilbert / "chat_template.jinja").write_text(TEMPLATE)
    write(distilbert, "POSITIVE", input="chat")

    scores = scores_of(load_scorer(distilbert), CHAT)

    tokenizer = AutoTokenizer.from_pretrained(distilbert)
    model = AutoModelForSequenceClassification.from_pretrained(distilbert).eval()
    for item, score in zip(CHAT, scores, strict=True):
        turns = item.messages or [ChatMessage(role="user", content=item.prompt)]
        messages = [*turns, ChatMessage(role="assistant", content=item.completion)]
        ids = tokenizer.apply_chat_template(
            [message.model_dump() for message in messages], return_dict=False
        )[:64]
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor([ids])).logits[0, 1].item()
        assert score == pytest.approx(expected, abs=1e-5)
    plain = load_scorer(distilbert).score([item.text for item in CHAT])
    assert not np.allclose(plain, scores, atol=1e-3)


def test_a_chat_without_a_template_and_one_that_it_refuses_are_named(distilbert):
    with pytest.raises(UserError, match=r"input = 'chat', but its tokenizer has no chat template"):
        write(distilbert, 1, input="chat")

    (distilbert / "chat_template.jinja").write_text("{{ raise_exception('no such role') }}")
    with pytest.raises(UserError, match=r"refuses the turns user, assistant \(no such role\); set"):
        write(distilbert, 1, input="chat")


def test_what_a_chat_template_does_to_a_chat_is_refused_or_said(distilbert):
    known = TEMPLATE.replace("in messages", "in messages if message.role in ['user', 'assistant']")
    (distilbert / "chat_template.jinja").write_text(known)
    assert write(distilbert, 1, input="chat") == []
    briefed = PromptedText("", "great", (ChatMessage(role="developer", content="Be brief"), *TURNS))
    with pytest.raises(UserError, match="leaves out messages of the role 'developer', of ''; set"):
        scores_of(load_scorer(distilbert), [briefed])

    (distilbert / "chat_template.jinja").write_text(QWEN3 + "{{ strftime_now('%Y') }}")
    notes = write(distilbert, 1, input="chat")
    assert [note.partition(" ")[2].split(" ")[2] for note in notes] == ["puts", "shows"]
    scorer = load_scorer(distilbert)
    thinking = [PromptedText("", f"{mumble}<think>So</think>great") for mumble in ("", "the plot")]
    first, second = scores_of(scorer, thinking)
    assert first == second
    assert scorer.texts_dropped == 1


def test_a_dialogue_as_a_prompt_is_read_as_its_turns(distilbert):
    (distilbert / "chat_template.jinja").write_text(TEMPLATE)
    write(distilbert, 1, input="chat")
    text = "\n\nHuman: The cast\n\nAssistant: felt\n\nHuman: The plot\n\nAssistant:"
    one, several = scores_of(
        load_scorer(distilbert), [PromptedText(text, "great"), PromptedText("", "great", TURNS)]
    )
    assert one == several


def test_the_most_tokens_may_be_set_below_what_it_was_made_for(distilbert):
    tokenizer = AutoTokenizer.from_pretrained(distilbert)
    text = "the plot was dull and the ending great"
    short = tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids[:3])
    write(distilbert, 1, max_length=5)
    scorer = classifier.load(distilbert)

    assert scorer.score([text])[0] == pytest.approx(scorer.score([short])[0], abs=1e-5)
    assert scorer.texts_cut == 1
    write(distilbert, 1, "refuse", max_length=5)
    with pytest.raises(UserError, match=r"has \d+ tokens and the model reads 5"):
        classifier.load(distilbert).score([text])


def test_a_name_of_two_classes_is_refused(tmp_path):
    config = PretrainedConfig(id2label={0: "other", 1: "good", 2: "good"})
    with pytest.raises(UserError, match=r"classes \[1, 2\] have that name; choose one of other"):
        classifier.label_index(config, "good", tmp_path)
    assert classifier.label_index(config, 2, tmp_path) == 2


def test_a_model_with_one_output_needs_no_label(distilbert):
    config = AutoConfig.from_pretrained(distilbert, num_labels=1)
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(distilbert)

    write(distilbert, None)

    scores = classifier.load(distilbert).score(TEXTS)
    write(distilbert, 0)
    assert classifier.load(distilbert).score(TEXTS).tolist() == scores.tolist()


def test_weights_that_the_model_does_not_take_are_refused(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file(weights | {"head.bias": torch.ones(2)}, other / "model.safetensors", {"format": "pt"})

    with pytest.raises(UserError, match=r"head\.bias"):
        classifier.load(other)
