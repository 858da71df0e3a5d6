"""Prompts and completions as a chat model reads them, by the template of its own tokenizer."""

from pathlib import Path
from typing import Literal

from fdpo.core.errors import UserError
from fdpo.core.records import TextPair
from fdpo.core.weights import short_message
from fdpo.sources.pair_formats import GivenPair, Turns


class ChatFormat:
    """Renders prompts: as they are with `none`, and in the chat template of a folder with `auto`.

    Args:
        chat: `none` or `auto`.
        system: the message that every chat begins with, unless it has one of its own.
        folder: of the reference, whose tokenizer has the template.
    """

    def __init__(self, chat: Literal["none", "auto"], system: str | None, folder: Path) -> None:
        self.system = system
        self.tokenizer = None
        if chat == "auto":
            from transformers import AutoTokenizer  # not above: it takes seconds

            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            if not self.tokenizer.chat_template:
                raise UserError(
                    f"prepare.chat = 'auto': the tokenizer of {folder} has no chat template;"
                    " set it to none, or take a chat model"
                )

    def prompt(self, prompt: Turns) -> str:
        """The text before the assistant's answer. Raises `UserError` for messages without chat."""
        turns = [("user", prompt)] if isinstance(prompt, str) else list(prompt)
        if self.tokenizer is not None:
            return self._rendered(turns)
        if isinstance(prompt, str):
            return prompt
        raise UserError("prepare.chat = 'none', but the prompts are messages; set it to auto")

    def pair(self, pair: GivenPair) -> tuple[str, TextPair]:
        """A pair's prompt, and its completions, each beginning where the prompt ends."""
        prompt = self.prompt(pair.prompt)
        return prompt, TextPair(chosen=pair.chosen, rejected=pair.rejected)

    def _rendered(self, turns: list[tuple[str, str]]) -> str:
        if self.system is not None and turns[0][0] != "system":
            turns = [("system", self.system), *turns]
        messages = [{"role": role, "content": content} for role, content in turns]
        assert self.tokenizer is not None  # noqa: S101 - asked by the only caller
        try:
            text = str(
                self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
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
