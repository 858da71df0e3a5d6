"""Prompts as token ids: which can be completed, and which are left out and why."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.config.study import Generate
from fdpo.core.errors import UserError
from fdpo.core.records import GivenCompletion, Prompt
from fdpo.models.causal_lm import position_limit
from fdpo.models.text_tokens import completion_tokens, prompt_tokens

TOO_LONG = "prompts left out for their length"
EMPTY_PROMPT = "prompts left out without a token"
REPEATED = "prompts left out with the tokens of another"
UNPAIRED = "prompts left out without a pair"
EMPTY_COMPLETION = "pairs left out for a completion without a token"
EMPTY_SAMPLE = "completions left out without a token"
CUT_AT_END = "given completions cut at an end-of-text within"


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt and its token ids, with the completions that were given, if any."""

    prompt: Prompt
    ids: list[int]
    completions: list[list[int]] = field(default_factory=list)
    given: list[list[int]] = field(default_factory=list)  # places [chosen, rejected] among them
    sampled: list[GivenCompletion] = field(default_factory=list)  # what came along with each


def tokenize_prompts(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    max_length: int,
    end_ids: Sequence[int],
) -> tuple[list[TokenizedPrompt], Counter[str]]:
    """The prompts that can be completed, in order, and how many of what were left out.

    Two prompts are the same when their token ids are: of these a held-out one is kept before one to
    test with, that before one to train on, and the first of equals. A given completion ends at its
    first end-of-text, and where prompt and completion reach `max_length` tokens; one without any
    token takes its pairs with it.
    """
    left_out: Counter[str] = Counter()
    kept: dict[int, TokenizedPrompt] = {}
    seen: set[tuple[int, ...]] = set()

    def ended(room: int, whole: list[int]) -> list[int]:
        end = next((i + 1 for i, token in enumerate(whole) if token in end_ids), len(whole))
        left_out[CUT_AT_END] += end < len(whole)
        return whole[:end][:room]

    order = sorted(prompts, key=lambda prompt: ("heldout", "test", "train").index(prompt.role))
    for prompt in order:
        ids = prompt_tokens(tokenizer, prompt.prompt)
        if not ids:
            left_out[EMPTY_PROMPT] += 1
        elif len(ids) >= max_length:
            left_out[TOO_LONG] += 1
        elif tuple(ids) in seen:
            left_out[REPEATED] += 1
        else:
            add = _with_sampled if prompt.completions else _with_given
            item = add(tokenizer, prompt, ids, partial(ended, max_length - len(ids)), left_out)
            if (prompt.given and not item.given) or (prompt.completions and not item.completions):
                left_out[UNPAIRED] += 1
            else:
                seen.add(tuple(ids))
                kept[id(prompt)] = item
    return [kept[id(prompt)] for prompt in prompts if id(prompt) in kept], left_out


def _with_sampled(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    ids: list[int],
    ended: Callable[[list[int]], list[int]],
    left_out: Counter[str],
) -> TokenizedPrompt:
    """Completions that were sampled elsewhere; log-probabilities of cut tokens go with them.

    Raises `UserError` for ids that the tokenizer lacks, or other than a log-probability per token.
    """
    rows, sampled = [], []
    for item in prompt.completions or []:
        whole = item.ids or completion_tokens(tokenizer, ids, item.text or "")
        if max(whole, default=0) >= len(tokenizer):
            raise UserError(
                f"prompt {prompt.id}: a completion has the token id {max(whole)}, and the"
                f" reference's tokenizer {len(tokenizer)}; name the model that it was sampled from"
            )
        if item.logps and len(item.logps) != len(whole):
            raise UserError(
                f"prompt {prompt.id}: {len(item.logps)} log-probabilities for a completion of"
                f" {len(whole)} tokens; give its token ids in place of text"
            )
        if kept := ended(whole):
            logps = item.logps and item.logps[: len(kept)]
            logp = item.logp if len(kept) == len(whole) else None
            rows.append(kept)
            sampled.append(item.model_copy(update={"logps": logps, "logp": logp}))
        left_out[EMPTY_SAMPLE] += not kept
    if len(rows) < 2:
        rows, sampled = [], []
    return TokenizedPrompt(prompt, ids, rows, sampled=sampled)


def _with_given(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    ids: list[int],
    ended: Callable[[list[int]], list[int]],
    left_out: Counter[str],
) -> TokenizedPrompt:
    pairs = prompt.given or []
    texts = dict.fromkeys(text for pair in pairs for text in (pair.chosen, pair.rejected))
    tokens = {text: ended(completion_tokens(tokenizer, ids, text)) for text in texts}
    usable = [pair for pair in pairs if tokens[pair.chosen] and tokens[pair.rejected]]
    left_out[EMPTY_COMPLETION] += len(pairs) - len(usable)
    used = dict.fromkeys(text for pair in usable for text in (pair.chosen, pair.rejected))
    index_of = {text: index for index, text in enumerate(used)}
    given = [[index_of[pair.chosen], index_of[pair.rejected]] for pair in usable]
    return TokenizedPrompt(prompt, ids, [tokens[text] for text in used], given)


def check_roles(prompts: Sequence[TokenizedPrompt], left_out: Counter[str]) -> None:
    """Raise `UserError` unless there are prompts to train on, and two to evaluate with.

    Metrics have intervals over held-out prompts, which one alone does not give.
    """
    for role, least in (("train", 1), ("heldout", 2)):
        count = sum(item.prompt.role == role for item in prompts)
        if count < least:
            raise UserError(
                f"generate: {count} {role} prompts are left, and {least} at least are needed"
                f" ({summary(left_out) or 'none were left out'}); raise generate.max_length or"
                " add prompts"
            )


def longest_sequence(
    prompts: Sequence[TokenizedPrompt], generate: Generate, model: PreTrainedModel
) -> int:
    """The most tokens of prompt and completion that the model will run at a time.

    A decoded completion is cut to generate.max_length afterwards, so that is no limit here. Raises
    `UserError` where one could outgrow what the model was made for.
    """
    item = max(prompts, key=lambda item: len(item.ids) + _new_tokens(item, generate))
    new, positions = _new_tokens(item, generate), position_limit(model)
    if positions is not None and len(item.ids) + new > positions:
        limit = "generate.max_length" if item.completions else "max_new_tokens or max_length"
        raise UserError(
            f"generate: a prompt of {len(item.ids)} tokens and a completion of {new} exceed the"
            f" {positions} positions of {model.name_or_path}; lower {limit}"
        )
    return len(item.ids) + new


def _new_tokens(item: TokenizedPrompt, generate: Generate) -> int:
    """The most tokens that a completion of a prompt may have before it is cut."""
    if item.completions:
        return max(map(len, item.completions))
    if item.prompt.role != "heldout":
        return getattr(generate.train, "max_new_tokens", 0)
    published = generate.heldout.published
    return max(generate.heldout.max_new_tokens, published.max_new_tokens if published else 0)


def summary(left_out: Counter[str]) -> str:
    """What was left out and how much of it, on one line."""
    return "; ".join(f"{count} {what}" for what, count in sorted(left_out.items()) if count)
