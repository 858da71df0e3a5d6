"""Prompts whose completions are all known: their reference probabilities, rewards and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.sources import exact
from user_data.letters import reward

LETTERS, PROMPT_LETTERS, TOKENS = 4, 3, 4  # 341 completions of a prompt


@dataclass(frozen=True)
class World:
    """Reference and rewards, [prompts, completions] float64; each prompt's log π_ref adds up to 1.

    Rewards have mean 0 and standard deviation 1 under the reference, over all prompts.
    """

    log_ref: Tensor
    reward: Tensor

    @property
    def win_probability(self) -> Tensor:
        """P(i ≻ j) by Bradley–Terry at temperature 1, [prompts, completions, completions]."""
        return torch.sigmoid(self.reward[:, :, None] - self.reward[:, None, :])


@dataclass(frozen=True)
class Measures:
    """Of policies against the reference, means over prompts; nats for all but the reward."""

    reward: Tensor
    kl: Tensor  # KL(π‖π_ref)
    forward_kl: Tensor  # KL(π_ref‖π)
    jsd: Tensor
    entropy: Tensor


def make_world(prompts: int = 8, seed: int = 0) -> World:
    """The tiny language model's `prompts` first prompts with all their completions."""
    model = exact.language_model(LETTERS, seed).double()
    tokenizer = exact.tokenizer(LETTERS)
    texts = [p.prompt for p in exact.prompts(LETTERS, PROMPT_LETTERS, seed, prompts, 0)]
    rows, rewards = [], []
    for text in texts:
        completions, logps = enumerate_completions(model, tokenizer(text)["input_ids"], TOKENS)
        rows.append(logps)
        written = [str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in completions]
        rewards.append(reward([text] * len(written), written))
    log_ref = torch.stack(rows).log_softmax(-1)  # adds up to 1 but for rounding
    values = torch.tensor(rewards, dtype=torch.float64)
    share = log_ref.exp() / len(texts)
    values = values - (share * values).sum()
    return World(log_ref, values / (share * values**2).sum().sqrt())


@torch.no_grad()
def enumerate_completions(
    model: PreTrainedModel, prompt: Sequence[int], tokens: int
) -> tuple[list[list[int]], Tensor]:
    """Every completion of at most `tokens` tokens and its log π in nats, float64 [completions].

    A completion ends with the end-of-text token, or is cut off at the limit.
    """
    ids, logps = [], []
    prefixes, so_far = torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, dtype=torch.float64)
    for place in range(tokens):
        rows = torch.cat([torch.tensor([prompt]).expand(len(prefixes), -1), prefixes], dim=1)
        step = model(input_ids=rows).logits[:, -1].double().log_softmax(-1)
        ids += [[*prefix, exact.END] for prefix in prefixes.tolist()]
        logps.append(so_far + step[:, exact.END])
        letters = torch.arange(exact.END + 1, step.shape[1])
        so_far = (so_far[:, None] + step[:, letters]).flatten()
        repeated = prefixes.repeat_interleave(len(letters), 0)
        prefixes = torch.cat([repeated, letters.repeat(len(prefixes))[:, None]], dim=1)
        if place == tokens - 1:
            ids += prefixes.tolist()
            logps.append(so_far)
    return ids, torch.cat(logps)


def measure(world: World, log_policy: Tensor) -> Measures:
    """Exact measures of log π [..., prompts, completions], each [...]."""
    policy, ref = log_policy.exp(), world.log_ref.exp()
    log_middle = torch.logaddexp(log_policy, world.log_ref) - np.log(2)
    terms = {
        "reward": policy * world.reward,
        "kl": policy * (log_policy - world.log_ref),
        "forward_kl": ref * (world.log_ref - log_policy),
        "jsd": (policy * (log_policy - log_middle) + ref * (world.log_ref - log_middle)) / 2,
        "entropy": -policy * log_policy,
    }
    return Measures(**{name: term.sum(-1).mean(-1) for name, term in terms.items()})
