"""The reference and the policy that the last run trained from it, to use them."""

from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.evaluation.policy import load_policy
from fdpo.models.causal_lm import check_vocabulary, load_causal_lm, load_tokenizer
from stages import paths


@dataclass(frozen=True)
class TrainedModels:
    """Both models and the tokenizer they share; a policy with an adapter shares weights too."""

    tokenizer: PreTrainedTokenizerBase
    reference: PreTrainedModel
    policy: PreTrainedModel


def load_trained_models() -> TrainedModels:
    """Load models/reference and models/policy. Raises `UserError` where one is damaged."""
    tokenizer = load_tokenizer(paths.REFERENCE_MODEL)
    reference = load_causal_lm(paths.REFERENCE_MODEL)
    check_vocabulary(reference, tokenizer, paths.REFERENCE_MODEL)
    policy = load_policy(reference, paths.POLICY)
    return TrainedModels(tokenizer, reference, policy)
