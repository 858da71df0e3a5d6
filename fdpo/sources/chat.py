"""Prompts and completions as a chat model reads them, by its tokenizer's or another template."""

from collections import Counter
from collections.abc import Iterable, Iterator
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

    A mark that an editor put before the text is left out, as it would begin every prompt. Raises
    `UserError` where there is no such file, or it is not UTF-8.
    """
    if isinstance(chat, ChatTemplate):
        try:
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
    """Renders prompts: as they are with `none`, and else in the chat template of a folder.

    Args:
        chat: as params.yaml has it; the template of a file has been installed in `folder`.
        system: the message that every chat begins with, unless it has one of its own.
        folder: of the reference, whose tokenizer has the template.
        end: whether the end-of-text is put behind given completions that are no answers of a chat.
        skipped: counts pairs that can't be rendered, by reason; without it they are refused.
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
        if chat == "none":
            return
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
        try:
            return self._prompt(prompt)
        except Unrendered as problem:
            raise _refusal(prompt, problem) from None

    def prompts(self, prompts: Iterable[Turns]) -> Iterator[str]:
        """As `prompt` of each; those that can't be rendered are counted where such are skipped."""
        for prompt in prompts:
            try:
                yield self._prompt(prompt)
            except Unrendered as problem:
                self._skip(prompt, problem)

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
        try:
            prompt = self._prompt(pair.prompt)
            sides = [
                self._completion(prompt, pair.prompt, side) for side in (pair.chosen, pair.rejected)
            ]
        except Unrendered as problem:
            self._skip(pair.prompt, problem)
            return None
        return prompt, TextPair(chosen=sides[0], rejected=sides[1])

    def completed(self, turns: Turns, completion: GivenCompletion) -> GivenCompletion | None:
        """A completion of a prompt as the reference is to read it: token ids are as they are.

        Text ends as that of a pair does. None and errors are as of `pair`.
        """
        if completion.text is None:
            return completion
        try:
            text = self._completion(self._prompt(turns), turns, completion.text)
        except Unrendered as problem:
            self._skip(turns, problem)
            return None
        return completion.model_copy(update={"text": text})

    def notes(self) -> list[str]:
        """What to know of the rendering, a line each, once everything has been rendered."""
        lines = []
        if self._appended:
            lines.append(
                f"given completions end in {self.end_of_turn!r}, as in TRL; set end to given to"
                " leave them as they are"
            )
        if self.template and self.template.dated:
            lines.append(f"the chat template shows the date; it is rendered as of {TODAY:%Y-%m-%d}")
        if self.template and self.template.opens_thought():
            lines.append(
                f"the generation prompt opens {THOUGHT}: completions begin with a thought, and"
                " scorers read it"
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
        tokens = [token for token in self._special_tokens() if token.strip() and token in behind]
        if not tokens:
            return ""
        first = min(tokens, key=lambda token: (behind.find(token), -len(token)))
        return behind[: behind.find(first) + len(first)]

    def end_generation_with_turn(self, folder: Path) -> None:
        """Make the token that ends a turn one of those that end a completion of the reference."""
        if not self.end_of_turn:
            return
        end = self.tokenizer(self.end_of_turn, add_special_tokens=False).input_ids[-1]
        path = folder / "generation_config.json"
        config = read_json_object(path) if path.exists() else {}
        models = read_json_object(folder / "config.json").get("eos_token_id")
        ids = config.get("eos_token_id", models)
        ids = ids if isinstance(ids, list) else [] if ids is None else [ids]
        if end not in ids:
            write_json(path, config | {"eos_token_id": [*ids, end]})

    def _special_tokens(self) -> set[str]:
        added = self.tokenizer.added_tokens_decoder.values()
        return {str(token) for token in added} | set(self.tokenizer.all_special_tokens)

    def _prompt(self, prompt: Turns) -> str:
        if self.template is not None:
            turns = dialogue_turns(prompt) if isinstance(prompt, str) else list(prompt)
            rendered = self._begun_once(self.template.prompt(self._with_system(turns)))
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
                raise UserError(
                    f"end = 'append': the tokenizer of {self.folder} has no eos_token; set it to"
                    " given"
                )
            self._appended = True
            return answer.removesuffix(self.end_of_turn) + self.end_of_turn
        said = self._turns_of[prompt]
        if isinstance(given, str) and said != [("user", given)]:
            answer = answer.strip()  # of a dialogue, where a space follows each name
        opened = prompt.rstrip().endswith(THOUGHT)
        thinks = opened and THOUGHT_END in answer
        turns = self._with_system(said)
        try:
            whole = self._begun_once(self.template.whole([*turns, ("assistant", answer)]))
        except Unrendered:
            if not thinks:  # templates may leave out thoughts of the past
                raise
            whole = ""
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
            raise Unrendered(
                f"the generation prompt opens {THOUGHT}, so an answer without {THOUGHT_END} would"
                " be a thought"
            )
        return text

    def _skip(self, prompt: Turns, problem: Unrendered) -> None:
        if self.skipped is None:
            raise _refusal(prompt, problem) from None
        self.skipped[str(problem)] += 1

    def _with_system(self, turns: list[Turn]) -> list[Turn]:
        if self.system is not None and turns[0][0] != "system":
            return [("system", self.system), *turns]
        return turns

    def _begun_once(self, text: str) -> str:
        """Without the begin-of-text that the tokenizer puts before every prompt."""
        return text.removeprefix(self._begin)

    @cached_property
    def _begin(self) -> str:
        begin = self.tokenizer.bos_token
        adds = begin and self.tokenizer("").input_ids[:1] == [self.tokenizer.bos_token_id]
        return str(begin) if adds else ""


def _refusal(prompt: Turns, problem: Unrendered) -> UserError:
    return UserError(
        f"prompt {str(prompt)[:60]!r}: {problem}; correct it, name another template by its path, or"
        " of pairs set bad_rows to skip"
    )
