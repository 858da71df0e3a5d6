"""Chats as a tokenizer's template renders them, and whether all that was said is there."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from fdpo.core.weights import short_message

Turn = tuple[str, str]  # role, content

TODAY = datetime(2024, 7, 26)  # on any day; Llama's templates say it where they know no date
ANOTHER_DAY = datetime(2025, 12, 5)
THOUGHT, THOUGHT_END = "<think>", "</think>"
ANSWER = "fdpo-answer"  # stands for an answer, to see what a template puts around one
DIALOGUE = re.compile(r"\n\n(Human|Assistant):")  # begins a turn in dialogues that are one text
OTHER_DIALOGUE = re.compile(r"\s*(Human|User):.*\n\s*Assistant:\s*", re.DOTALL)


class Unrendered(ValueError):
    """What a template refuses, leaves out of a chat, or shows otherwise than it should."""


class Dropped(Unrendered):
    """A text that a template does not show, though it shows others of the role."""

    def __init__(self, role: str, rendering: str):
        super().__init__(f"the chat template leaves out some of what the {role} says")
        self.rendering = rendering


class RenderedChat:
    """Renders chats by the template of `tokenizer`, always as of `TODAY`, and checks each.

    A template is a program. So every text must be in what it makes of the messages, white space
    apart; and for each sequence of roles, with marks for the texts, so must every mark be, and an
    answer where the generation prompt ends.
    """

    def __init__(self, tokenizer: Any):
        # Not above: it takes seconds. Transformers has no public way to set the date.
        from transformers.utils.chat_template_utils import _compile_jinja_template

        self.tokenizer = tokenizer
        self.dated = False  # whether a rendering so far has had the date in it
        self._date = TODAY
        compiled = _compile_jinja_template(tokenizer.get_chat_template())
        compiled.globals["strftime_now"] = lambda format: self._date.strftime(format)
        self._marked = cache(self._marked_by)
        self._checked = cache(self._check_prompt_of)

    def prompt(self, turns: Sequence[Turn]) -> str:
        """The chat so far with the generation prompt behind it. Raises `Unrendered`."""
        self._checked(tuple(role for role, _ in turns))
        return self._complete(turns, answered=False)

    def whole(self, turns: Sequence[Turn]) -> str:
        """A chat that ends with an answer. Raises `Unrendered`."""
        self._marked(tuple(role for role, _ in turns), answered=True)
        return self._complete(turns, answered=True)

    def behind_answer(self) -> str:
        """What the template puts behind the answer to a user."""
        return self._marked(("user", "assistant"), answered=True).rpartition(ANSWER)[2]

    def opens_thought(self) -> bool:
        """Whether the generation prompt begins a thought, which the model then goes on with."""
        return self._tails(("user",))[0].rstrip().endswith(THOUGHT)

    def adds_thought(self) -> bool:
        """Whether the template puts a thought before an answer that has none."""
        return THOUGHT in self._tails(("user",))[1].partition(ANSWER)[0]

    def _complete(self, turns: Sequence[Turn], answered: bool) -> str:
        text = self._render(turns, answered)
        left = "".join(text.split())
        for role, content in sorted(turns, key=lambda turn: -len(turn[1])):
            wanted = "".join(content.split())
            if wanted not in left:  # a template may show a tool's answer as JSON
                wanted = "".join(json.dumps(content, ensure_ascii=False)[1:-1].split())
            if wanted not in left:
                raise Dropped(role, text)
            left = left.replace(wanted, "\0", 1)
        return text

    def _check_prompt_of(self, roles: tuple[str, ...]) -> None:
        """Raise `Unrendered` unless an answer may stand where the generation prompt ends."""
        prompt, whole = self._tails(roles)
        if prompt.rstrip().endswith(THOUGHT):
            return  # a thought, which templates show otherwise, or not at all, once it is over
        if not whole.startswith(prompt):
            raise Unrendered(f"the generation prompt {prompt!r} does not begin {whole!r}")
        header = whole.removeprefix(prompt).partition(ANSWER)[0]
        unbegun = self._render(_marks(roles), answered=True)
        if self._marked(roles, answered=False) == unbegun and re.search(r"\w", header):
            raise Unrendered(
                f"the chat template has no generation prompt, so a model would write {header!r}"
            )

    def _tails(self, roles: tuple[str, ...]) -> tuple[str, str]:
        """What is behind the last message: with the generation prompt, and with an answer."""
        last = _marks(roles)[-1][1]
        prompt = self._marked(roles, answered=False)
        whole = self._marked((*roles, "assistant"), answered=True)
        return prompt.rpartition(last)[2], whole.rpartition(last)[2]

    def _marked_by(self, roles: tuple[str, ...], answered: bool) -> str:
        """The rendering of marks in these roles. Raises `Unrendered` where one is missing."""
        marks = _marks(roles, answered)
        text = self._render(marks, answered)
        for role, mark in marks:
            if mark not in text:
                raise Unrendered(f"the chat template leaves out messages of the role {role!r}")
        self._date = ANOTHER_DAY
        self.dated |= text != self._render(marks, answered)
        self._date = TODAY
        if text != self._render(marks, answered):
            raise Unrendered("the chat template renders the same messages otherwise each time")
        return text

    def _render(self, turns: Sequence[Turn], answered: bool) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        options = {"tokenize": False, "add_generation_prompt": not answered}
        try:
            return str(self.tokenizer.apply_chat_template(messages, **options))
        except Exception as error:  # a template may raise what it likes
            refused = f"{', '.join(role for role, _ in turns)} ({short_message(error)})"
            raise Unrendered(f"the chat template refuses the turns {refused}") from None


def _marks(roles: tuple[str, ...], answered: bool = False) -> list[Turn]:
    marks = [(role, f"fdpo-turn-{number}.") for number, role in enumerate(roles)]
    return [*marks[:-1], (roles[-1], ANSWER)] if answered else marks


def dialogue_turns(text: str) -> list[Turn]:
    """A prompt of one text as turns: the user's, or those of a dialogue as hh-rlhf writes them.

    Its turns begin with "\\n\\nHuman:" and "\\n\\nAssistant:"; an answer to come may be begun.
    Raises `Unrendered` for a text that looks like a dialogue in another form.
    """
    before, *parts = DIALOGUE.split("\n\n" + text.strip())
    if before or parts[:1] != ["Human"] or "Assistant" not in parts:
        if OTHER_DIALOGUE.fullmatch(text):
            raise Unrendered(
                "a dialogue as one text would be one message; give a list of messages, or begin"
                " turns with '\\n\\nHuman:' and '\\n\\nAssistant:'"
            )
        return [("user", text)]
    names = {"Human": "user", "Assistant": "assistant"}
    turns = [
        (names[name], content.strip())
        for name, content in zip(parts[::2], parts[1::2], strict=True)
    ]
    if turns[-1] == ("assistant", ""):
        turns.pop()
    if turns[-1][0] == "assistant" or not all(content for _, content in turns):
        raise Unrendered("the dialogue has an empty turn, or ends with the assistant's")
    return turns
