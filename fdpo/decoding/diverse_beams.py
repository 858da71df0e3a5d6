"""Diverse beam search (Vijayakumar et al., arXiv 1610.02424) with groups of one beam, batched.

Token for token what Transformers 4.49 generates for one prompt with `num_beams` = `num_beam_groups`
= `num_return_sequences` = G; version 5 has no `num_beam_groups`. There a group whose best candidate
is end-of-text stores that hypothesis and stops: the bound it compares with (`early_stopping=False`)
is this very hypothesis' score. So a group of one beam is a greedy search, no beam moves between
groups, and the key-value cache is never reordered. What a greedy loop with the penalty lacks:
- in the step in which a group ends, the later groups of its prompt are penalised not for
  end-of-text but for the ending group's second candidate, and in every step after for padding;
- completions are ordered by their score, biases and penalties included, divided by length;
- scores are float32 sums, compared where the running total has been added: rounding makes ties.

Transformers counts left padding as part of the prompt, so there a prompt's n-grams, bans and biases
can depend on its neighbours: when it holds or generates the padding id, or when it is, as a whole,
the beginning of a banned or biased sequence. Here padding counts for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from fdpo.decoding.cached_decoder import ABSENT, CachedDecoder, compaction_order, left_padded
from fdpo.decoding.sampling import Sampled


@dataclass(frozen=True)
class BeamSettings:
    """How to search."""

    groups: int  # completions of each prompt, one beam each
    diversity_penalty: float  # nats off a token for every earlier group that chose it at this step
    no_repeat_ngram: int  # no n-gram of this size twice, prompt included; 0: no such ban
    max_new_tokens: int
    bias: Mapping[tuple[int, ...], float]  # token ids → nats added to the last, after the others
    banned: Sequence[tuple[int, ...]]  # token ids of which the last never follows the others
    length_penalty: float = 1.0  # the score is divided by length to this power


@dataclass
class _Rows:
    """The groups that still search, one row each."""

    history: Tensor  # [rows, width] prompt and choices so far; ABSENT left of the prompt
    prompt: Tensor  # [rows] index of the prompt
    group: Tensor  # [rows] index of the group
    score: Tensor  # [rows] float32 sum of log-probabilities, biases and penalties
    logp: Tensor  # [rows] float64 sum of log-probabilities

    def take(self, order: Tensor) -> "_Rows":
        """The rows at `order`, in that order."""
        return _Rows(*(getattr(self, field.name)[order] for field in fields(self)))


@torch.inference_mode()
def diverse_beam_search(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    config: BeamSettings,
    end_ids: Sequence[int],
    pad_id: int,
) -> list[list[Sampled]]:
    """Decode all prompts as one batch; others move a prompt's logits in their last bits only.

    Args:
        model: a causal LM, within `cached_attention`.
        prompts: token ids of each prompt; with `max_new_tokens` within the model's positions.
        config: how to search.
        end_ids: the ids that end a completion.
        pad_id: what an ended group is taken to choose (see above).

    Returns: the G completions of each prompt, the best score first. Their log-probabilities are the
    model's own, at temperature 1 before any bias or penalty.
    """
    count, groups = len(prompts), config.groups
    # Group 0 of every prompt, group 1 of every prompt, and so on.
    rows = _Rows(
        history=left_padded(prompts, model.device).repeat(groups, 1),
        prompt=torch.arange(count, device=model.device).repeat(groups),
        group=torch.arange(groups, device=model.device).repeat_interleave(count),
        score=torch.zeros(count * groups, dtype=torch.float32, device=model.device),
        logp=torch.zeros(count * groups, dtype=torch.float64, device=model.device),
    )
    ends = torch.tensor(list(end_ids), device=model.device)
    biases = _SequenceBiases(config, end_ids, model.device)
    latest = rows.prompt.new_full((count, groups), pad_id)
    found: list[list[tuple[float, int, Sampled]]] = [[] for _ in prompts]
    decoder = CachedDecoder(model, rows.history[:count], copies=groups)
    for length in range(1, config.max_new_tokens + 1):
        tokens = _choose(rows, decoder.next_logits(), latest, biases, config, ends)
        rows.history = torch.cat([rows.history, tokens[:, None]], dim=1)
        ended = torch.isin(tokens, ends) | (length == config.max_new_tokens)
        if ended.any():
            over = rows.take(ended)
            columns = (over.prompt, over.group, over.score, over.history[:, -length:], over.logp)
            for prompt, group, score, ids, logp in zip(*(c.tolist() for c in columns), strict=True):
                decoded = Sampled(ids, ids[-1] in end_ids, logp)
                found[prompt].append((score / length**config.length_penalty, group, decoded))
            latest[rows.prompt[ended], rows.group[ended]] = pad_id
            order = compaction_order(ended)
            if len(order) == 0:
                break
            rows = rows.take(order)
            decoder.keep(order)
        decoder.advance(rows.history)
    # On equal scores Transformers returns the later group first.
    return [[decoded for *_, decoded in sorted(ends, reverse=True)] for ends in found]


def _choose(
    rows: _Rows,
    logits: Tensor,
    latest: Tensor,
    biases: "_SequenceBiases",
    config: BeamSettings,
    ends: Tensor,
) -> Tensor:
    """Each row's next token, group after group; adds it to the rows' sums.

    `latest` [prompts, groups] is what a prompt's later groups are penalised for.
    """
    tokens = torch.empty_like(rows.prompt)
    for group in range(config.groups):
        of_group = (rows.group == group).nonzero().squeeze(1)
        prompt, history = rows.prompt[of_group], rows.history[of_group]
        logps = torch.log_softmax(logits[of_group].float(), dim=-1)
        scores = logps.clone()
        biases.add(scores, history)
        _penalise(scores, latest[prompt, :group], config.diversity_penalty)
        _ban_repeats(scores, history, config.no_repeat_ngram)
        scores += rows.score[of_group, None]
        # Of equal scores `topk` may choose another than `max` would; Transformers asks it for as
        # many, so that one of them goes on.
        best, candidates = scores.topk(len(ends) + 1)
        token = candidates[:, 0]
        goes_on = ~torch.isin(candidates, ends)
        first_that_goes_on = candidates.gather(1, goes_on.int().argmax(dim=1, keepdim=True))[:, 0]
        rows.score[of_group] = best[:, 0]
        rows.logp[of_group] += logps.gather(1, token[:, None]).squeeze(1)
        latest[prompt, group] = first_that_goes_on
        tokens[of_group] = token
    return tokens


def _penalise(scores: Tensor, chosen: Tensor, penalty: float) -> None:
    """Take `penalty` off each row's `chosen` tokens [rows, earlier groups], once per choice."""
    times = (chosen[:, :, None] == chosen[:, None, :]).sum(dim=2)
    scores.scatter_(1, chosen, scores.gather(1, chosen) - penalty * times)


def _ban_repeats(scores: Tensor, history: Tensor, size: int) -> None:
    """Ban every token that would complete an n-gram of `size` that `history` holds."""
    starts = history.shape[1] - size + 1
    if size == 0 or starts < 1:
        return
    repeats = history[:, size - 1 :] != ABSENT
    for offset in range(size - 1):
        repeats &= history[:, offset : offset + starts] == history[:, starts + offset, None]
    row, start = repeats.nonzero(as_tuple=True)
    scores[row, history[row, start + size - 1]] = -torch.inf


class _SequenceBiases:
    """What a token's score gains for completing given sequences; a ban is a bias of −∞."""

    def __init__(self, config: BeamSettings, end_ids: Sequence[int], device: torch.device):
        # A ban of end-of-text alone is ignored, as in Transformers.
        bans = {ids: -torch.inf for ids in config.banned if len(ids) > 1 or ids[0] not in end_ids}
        biases = {**config.bias, **bans}
        self.span = max(map(len, biases), default=0)
        prefixes = [[ABSENT] * (self.span - len(ids) + 1) + list(ids[:-1]) for ids in biases]
        self.prefix = torch.tensor(prefixes, dtype=torch.long, device=device)
        self.length = torch.tensor([len(ids) for ids in biases], device=device)
        self.amount = torch.tensor(list(biases.values()), dtype=torch.float32, device=device)
        last = torch.tensor([ids[-1] for ids in biases], dtype=torch.long, device=device)
        self.tokens, self.column = last.unique(return_inverse=True)

    def add(self, scores: Tensor, history: Tensor) -> None:
        """Add to `scores` [rows, vocabulary] what each token gains after `history`."""
        if self.span == 0:
            return
        recent = pad(history, (self.span, 0), value=ABSENT)[:, None, -self.span :]
        matches = ((recent == self.prefix) | (self.prefix == ABSENT)).all(dim=2)
        # Transformers passes over a sequence longer than the text so far, though it may match.
        matches &= (history != ABSENT).sum(dim=1, keepdim=True) >= self.length
        gains = torch.where(matches, self.amount, 0.0)
        total = scores.new_zeros(len(scores), len(self.tokens)).index_add_(1, self.column, gains)
        scores[:, self.tokens] += total
