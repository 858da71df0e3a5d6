"""What every policy of a study is evaluated with: the reference, the scorers and their texts."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.baselines.heldout import select_heldout
from fdpo.core import records
from fdpo.core.records import Pair, ScoredGeneration
from fdpo.decoding.decoder_probe import probe_model
from fdpo.models import causal_lm
from fdpo.scoring.loading import load_judge, load_scorer
from fdpo.scoring.scorer import Scorer


@dataclass(frozen=True)
class EvaluationInputs:
    """What a policy is compared with and measured by; the same for every policy of a study."""

    reference: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    reward: Scorer
    judge: Scorer | None
    baseline: list[ScoredGeneration]
    """The reference's scored samples of the held-out prompts."""
    test_pairs: list[Pair]
    longest: int
    """Tokens of the longest text that a policy will read or write."""


def load_inputs(
    reference: Path,
    reward: Path,
    judge: Path,
    scores: Path,
    test_pairs: Path,
    max_new_tokens: int,
) -> EvaluationInputs:
    """Read the models from their folders and the records from their files.

    `max_new_tokens` is how long a sample may get: the reference is checked up to the longest text.

    Raises:
        UserError: something is missing or damaged, the records are of another model, or the
            reference does not compute here what it computes by itself.
    """
    scored = list(records.read_prompt_unique(scores, ScoredGeneration))
    pairs = list(records.read(test_pairs, Pair))
    loaded_judge = load_judge(judge)
    baseline = select_heldout(scores, scored, judged=loaded_judge is not None)
    model = causal_lm.load_causal_lm(reference)
    longest_prompt = causal_lm.check_token_ids(model, scores, scored)
    longest_pair = causal_lm.check_token_ids(model, test_pairs, pairs)
    longest = max(longest_prompt + max_new_tokens, longest_pair)
    probe_model(model, longest)
    return EvaluationInputs(
        reference=model,
        tokenizer=causal_lm.load_tokenizer(reference),
        reward=load_scorer(reward),
        judge=loaded_judge,
        baseline=baseline,
        test_pairs=pairs,
        longest=longest,
    )
