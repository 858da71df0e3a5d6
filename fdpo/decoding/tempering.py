"""What a temperature does to next-token distributions: how far they move, what entropy is left."""

import torch
from torch import Tensor


def tempered_kl_and_entropy(logits: Tensor, temperature: float) -> Tensor:
    """KL(p_T‖p_1) and the entropy of p_T = softmax(logits / T), in nats: [rows, 2] float64.

    Summed over a completion's tokens, the first is an unbiased estimate of the sequence-level KL of
    sampling at T to sampling at 1 (arXiv 2504.10637), as evaluation gives it of a policy.

    Args:
        logits: [rows, vocabulary] float32, left as they are.
        temperature: T > 0.
    """
    # With s = logits - max and e = E_{p_T}[s]: log p_T = s/T - log Z_T and log p_1 = s - log Z_1.
    shifted = logits - logits.amax(dim=1, keepdim=True)
    log_z = shifted.exp().sum(dim=1).double().log()
    weights = (shifted / temperature).exp_()
    normaliser = weights.sum(dim=1).double()
    mean = torch.linalg.vecdot(weights, shifted.nan_to_num_(neginf=0)).double() / normaliser
    kl = (1 / temperature - 1) * mean - normaliser.log() + log_z
    entropy = normaliser.log() - mean / temperature
    return torch.stack([kl, entropy], dim=1).clamp_min_(0)  # rounding passes 0 by about 1e-7
