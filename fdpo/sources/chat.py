"""Prompts and completions as a chat model reads them, by its tokenizer's or another template."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fdpo.config.sources import ChatTemplate
from fdpo.core.chat_template import (
    THOUGHT,
    THOUGHT_END,
    TODAY,
    RenderedChat,
    Turn,
    Unrendered,
    dialogue_turns,
)
from fdpo.core.errors import UserError
from fdpo.core.files import read_json_object, write_json
from fdpo.core.local_files import local_file
from fdpo.core.records import ChatMessage, GivenCompletion, Prompt, TextPair
from fdpo.sources.pair_formats import GivenPair, Turns

TEMPLATE_FILE = "chat_template.jinja"  # where Transformers looks first


def install_template(chat: Literal["none", "auto"] | ChatTemplate, folder: Path) -> None:
    """Give the tokenizer in `folder` the template of a file, where `chat` names one.

    Raises `UserError` where there is no such file, or it is not UTF-8.
    """
    if isinstance(chat, ChatTemplate):
        try:  # without the mark that editors put before a text: it would begin every prompt
            template = local_file(chat.path).read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{chat.path}: not text in UTF-8 ({error}); save it as that") from None
        (folder / TEMPLATE_FILE).write_bytes(template.encode())


def has_template(folder: Path) -> bool:
    """Whether the tokenizer in `folder` has a chat template."""
    config = folder / "tokenizer_config.json"
    in_config = config.exists() and read_json_object(config).get("chat_template")
    return bool(in_config) or (folder / TEMPLATE_FILE).exists()


class ChatFormat:
    """Renders prompts: as they are with `none`, and else in the chat template of `folder`.

    `system` is the message that every chat begins with, unless it has one of its own. `end` says
    whether the end-of-text is put behind given completions that are no answers of a chat. `skipped`
    counts pairs that can't be rendered, by reason; without it they are refused.
    """

    def __init__(
        self,
        chat: Literal["none", "auto"] | ChatTemplate,
        system: str | None,
        folder: Path,
        end: Literal["given", "append"] = "given",
        skipped: Counter[str] | None = None,
    ) -> None:
        self.system, self.folder, self.skipped = system, folder, skipped
        self._appended = False
        self._turns_of: dict[str, list[Turn]] = {}
        self.tokenizer: Any = None
        self.template: RenderedChat | None = None
        if chat == "none" and end == "given":
            return
        from transformers import AutoTokenizer  # not above: it takes seconds

        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if chat != "none":
            if not self.tokenizer.chat_template:
                raise UserError(
                    f"prepare.chat = 'auto': the tokenizer of {folder} has no chat template;"
                    " set it to none, or take a chat model, or a template by its path"
                )
            self.template = RenderedChat(self.tokenizer)

    def prompt(self, prompt: Turns) -> str:
        """The text before the assistant's answer.

        Raises `UserError` for messages without chat, and where the template does not render all.
        """
        (text,) = self.prompts([prompt])
        return text

    def prompts(self, prompts: Iterable[Turns]) -> Iterator[str]:
        """As `prompt` of each; those that can't be rendered are counted where such are skipped."""
        for prompt in prompts:
            with self._skipping(prompt):
                yield self._prompt(prompt)

    def with_messages(self, row: Prompt) -> Prompt:
        """The record with the turns that its prompt renders, without the study's system message.

        Scorers read those: the template is the reference's.
        """
        if self.template is None:
            return row
        turns = self._turns_of[row.prompt]
        messages = [ChatMessage(role=role, content=content) for role, content in turns]
        return row.model_copy(update={"messages": messages})

    def pair(self, pair: GivenPair) -> tuple[str, TextPair] | None:
        """A pair's prompt, and its completions, each beginning where the prompt ends.

        A completion of a chat is what the template makes of the answer, and ends the turn. None
        where the pair can't be rendered and such are skipped; else raises `UserError`.
        """
        with self._skipping(pair.prompt):
            prompt = self._prompt(pair.prompt)
            chosen = self._completion(prompt, pair.prompt, pair.chosen)
            rejected = self._completion(prompt, pair.prompt, pair.rejected)
            return prompt, TextPair(chosen=chosen, rejected=rejected)
        return None

    def completed(self, turns: Turns, completion: GivenCompletion) -> GivenCompletion | None:
        """A completion of a prompt as the reference is to read it: token ids are as they are.

        Text ends as that of a pair does. None and errors are as of `pair`.
        """
        if completion.text is None:
            return completion
        with self._skipping(turns):
            text = self._completion(self._prompt(turns), turns, completion.text)
            return completion.model_copy(update={"text": text})
        return None

    def notes(self) -> list[str]:
        """What to know of the rendering, a line each, once everything has been rendered."""
        lines = []
        if self._appended:
            lines.append(
                f"given completions end in {self.end_of_turn!r}, as in TRL; without: end: given"
            )
        if self.template and self.template.dated:
            lines.append(f"the chat template shows the date; it is rendered as of {TODAY:%Y-%m-%d}")
        if self.template and self.template.opens_thought():
            lines.append(
                f"the generation prompt opens {THOUGHT}: scorers read the thought in completions"
            )
        return lines

    @cached_property
    def end_of_turn(self) -> str:
        """What ends a completion: in a chat the turn, up to its first token of the tokenizer's own.

        It is empty where the template has no such token behind an answer, or nothing is appended.
        """
        if self.tokenizer is None:
            return ""
        if self.template is None:
            return self.tokenizer.eos_token or ""
        behind = self.template.behind_answer()
        special = {str(token) for token in self.tokenizer.added_tokens_decoder.values()}
        special |= set(self.tokenizer.all_special_tokens)
        ends = [(behind.find(t), -len(t)) for t in special if t.strip() and t in behind]
        start, length = min(ends, default=(0, 0))
        return behind[: start - length]

    def end_generation_with_turn(self, folder: Path) -> None:
        """Make the token that ends a turn one of those that end a completion of the reference."""
        if not self.end_of_turn:
            return
        end = self.tokenizer(self.end_of_turn, add_special_tokens=False).input_ids[-1]
        path = folder / "generation_config.json"
        config = read_json_object(path) if path.exists() else {}
        model = read_json_object(folder / "config.json")
        ids = config.get("eos_token_id", model.get("eos_token_id"))
        ids = ids if isinstance(ids, list) else [] if ids is None else [ids]
        if end not in ids:
            write_json(path, config | {"eos_token_id": [*ids, end]})

    def _prompt(self, prompt: Turns) -> str:
        if self.template is not None:
            turns = dialogue_turns(prompt) if isinstance(prompt, str) else list(prompt)
            rendered = self.template.prompt(self._with_system(turns)).removeprefix(self._begin)
            self._turns_of[rendered] = turns
            return rendered
        if isinstance(prompt, str):
            return prompt
        raise UserError("prepare.chat = 'none', but the prompts are messages; set it to auto")

    def _completion(self, prompt: str, given: Turns, answer: str) -> str:
        if self.tokenizer is None:
            return answer
        if self.template is None:
            if not self.end_of_turn:
                no_end = f"the tokenizer of {self.folder} has no eos_token"
                raise UserError(f"end = 'append': {no_end}; set it to given")
            self._appended = True
            return answer.removesuffix(self.end_of_turn) + self.end_of_turn
        said = self._turns_of[prompt]
        if isinstance(given, str) and said != [("user", given)]:
            answer = answer.strip()  # of a dialogue, where a space follows each name
        opened = prompt.rstrip().endswith(THOUGHT)
        thinks = opened and THOUGHT_END in answer
        turns = self._with_system(said)
        try:
            whole = self.template.whole([*turns, ("assistant", answer)])
        except Unrendered:
            if not thinks:  # templates may leave out thoughts of the past
                raise
            whole = ""
        whole = whole.removeprefix(self._begin)
        if whole.startswith(prompt):
            text = whole[len(prompt) :]
            end = text.rfind(self.end_of_turn) if self.end_of_turn else -1
            text = text[: end + len(self.end_of_turn)] if end >= 0 else text
        elif thinks:
            text = answer.lstrip().removeprefix(THOUGHT).lstrip("\n") + self.end_of_turn
        elif opened:
            text = ""
        else:
            raise Unrendered("the generation prompt does not begin the chat with its answer")
        if opened and THOUGHT_END not in text:
            thought = f"an answer without {THOUGHT_END} would be a thought"
            raise Unrendered(f"the generation prompt opens {THOUGHT}, so {thought}")
        return text

    @contextmanager
    def _skipping(self, prompt: Turns) -> Iterator[None]:
        try:
            yield
        except Unrendered as problem:
            if self.skipped is None:
                raise UserError(
                    f"prompt {str(prompt)[:60]!r}: {problem}; correct it, name another template by"
                    " its path, or of pairs set bad_rows to skip"
                ) from None
            self.skipped[str(problem)] += 1

    def _with_system(self, turns: list[Turn]) -> list[Turn]:
        own = self.system is None or turns[0][0] == "system"
        return turns if own else [("system", self.system or ""), *turns]

    @cached_property
    def _begin(self) -> str:
        """What the tokenizer begins every text with, so that a rendering must not."""
        begin = self.tokenizer.bos_token
        adds = begin and self.tokenizer("").input_ids[:1] == [self.tokenizer.bos_token_id]
        return str(begin) if adds else ""
