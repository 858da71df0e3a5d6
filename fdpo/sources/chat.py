"""Prompts and completions as a chat model reads them, by its tokenizer's or another template."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fdpo.config.sources import ChatTemplate
from fdpo.core.errors import UserError
from fdpo.core.files import read_json_object, write_json
from fdpo.core.local_files import local_file
from fdpo.core.records import ChatMessage, GivenCompletion, Prompt, TextPair
from fdpo.core.weights import short_message
from fdpo.sources.pair_formats import GivenPair, Turns

TEMPLATE_FILE = "chat_template.jinja"  # where Transformers looks first
ANSWER = "fdpo-answer"  # stands for an answer, to see what a template puts behind one


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
    """

    def __init__(
        self, chat: Literal["none", "auto"] | ChatTemplate, system: str | None, folder: Path
    ) -> None:
        self.system = system
        self._folder = folder
        self._turns_of: dict[str, list[tuple[str, str]]] = {}
        self.tokenizer: Any = None
        if chat != "none":
            from transformers import AutoTokenizer  # not above: it takes seconds

            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            if not self.tokenizer.chat_template:
                raise UserError(
                    f"prepare.chat = 'auto': the tokenizer of {folder} has no chat template;"
                    " set it to none, or take a chat model, or a template by its path"
                )

    def prompt(self, prompt: Turns) -> str:
        """The text before the assistant's answer. Raises `UserError` for messages without chat."""
        if self.tokenizer is not None:
            turns = self._turns(prompt)
            rendered = self._rendered(turns)
            self._turns_of[rendered] = turns
            return rendered
        if isinstance(prompt, str):
            return prompt
        raise UserError("prepare.chat = 'none', but the prompts are messages; set it to auto")

    def with_messages(self, row: Prompt) -> Prompt:
        """The record with the turns that its prompt renders, without the study's system message.

        Scorers read those: the template is the reference's.
        """
        if self.tokenizer is None:
            return row
        turns = self._turns_of[row.prompt]
        messages = [ChatMessage(role=role, content=content) for role, content in turns]
        return row.model_copy(update={"messages": messages})

    def pair(self, pair: GivenPair) -> tuple[str, TextPair]:
        """A pair's prompt, and its completions, each beginning where the prompt ends.

        A completion of a chat is what the template makes of the answer, and ends the turn.
        """
        prompt = self.prompt(pair.prompt)
        chosen, rejected = (
            self._completion(prompt, pair.prompt, answer) for answer in (pair.chosen, pair.rejected)
        )
        return prompt, TextPair(chosen=chosen, rejected=rejected)

    def completed(self, turns: Turns, completion: GivenCompletion) -> GivenCompletion:
        """A completion of a prompt as the reference is to read it: token ids are as they are.

        Text ends its turn in a chat, and else in the tokenizer's end-of-text, as TRL has it.
        """
        if completion.text is None:
            return completion
        text = self._completion(self.prompt(turns), turns, completion.text)
        if self.tokenizer is None and not text.endswith(self._end_of_text):
            text += self._end_of_text
        return completion.model_copy(update={"text": text})

    @cached_property
    def _end_of_text(self) -> str:
        from transformers import AutoTokenizer  # not above: it takes seconds

        tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
        return tokenizer.eos_token or ""

    @cached_property
    def end_of_turn(self) -> str:
        """What ends the assistant's turn, up to its first token of the tokenizer's own.

        It is empty where the template has no such token behind an answer, and without a chat.
        """
        if self.tokenizer is None:
            return ""
        turns = [("user", "?"), ("assistant", ANSWER)]
        behind = self._rendered(turns, answered=True).rpartition(ANSWER)[2]
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

    def _completion(self, prompt: str, turns: Turns, answer: str) -> str:
        if self.tokenizer is None:
            return answer
        answered = [*self._turns(turns), ("assistant", answer)]
        whole = self._rendered(answered, answered=True)
        end = whole.rfind(self.end_of_turn) + len(self.end_of_turn) if self.end_of_turn else None
        if whole.startswith(prompt) and (end is None or end > len(prompt)):
            return whole[len(prompt) : end]
        return answer + self.end_of_turn  # the template shows answers of the past otherwise

    def _turns(self, prompt: Turns) -> list[tuple[str, str]]:
        return [("user", prompt)] if isinstance(prompt, str) else list(prompt)

    def _rendered(self, turns: list[tuple[str, str]], answered: bool = False) -> str:
        if self.system is not None and turns[0][0] != "system":
            turns = [("system", self.system), *turns]
        messages = [{"role": role, "content": content} for role, content in turns]
        try:
            text = str(
                self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=not answered
                )
            )
        except Exception as error:  # a template may raise what it likes
            raise UserError(
                f"the chat template refuses {turns[0]!r} ({short_message(error)}); correct the"
                " prompts, or set prepare.chat to none"
            ) from None
        # The tokenizer puts its begin-of-text before every prompt; the template must not add one.
        begin = self.tokenizer.bos_token
        adds = begin and self.tokenizer("").input_ids[:1] == [self.tokenizer.bos_token_id]
        return text.removeprefix(begin) if adds else text
