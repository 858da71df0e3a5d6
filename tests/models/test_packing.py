"""Packed rows: laid out by hand, and attended as plain unpadded sequences are."""

import pytest
import torch

from fdpo.models import packing
from fdpo.models.logprobs import sequence_logps
from fdpo.models.packing import SPLIT_FROM, pack
from tests.support import tiny


def test_two_completions_of_a_prompt_by_hand():
    branches = pack([([5, 6], [[7, 8, 9], [4]]), ([3], [[2, 1]])])
    #                         token  0  1  2  3  4  5
    assert branches.input_ids.tolist() == [[5, 6, 7, 8, 3, 2]]
    assert branches.position_ids.tolist() == [[0, 1, 2, 3, 0, 1]]
    assert branches.gather_index.tolist() == [[0, 1, 2, 3], [0, 1, 0, 0], [4, 5, 0, 0]]
    assert branches.output_index.tolist() == [0, 1, 2, 3, 8, 9]
    assert branches.predictor_index.tolist() == [1, 2, 3, 1, 4, 5]
    assert branches.targets.tolist() == [7, 8, 9, 4, 2, 1]
    assert branches.sequence.tolist() == [0, 0, 0, 1, 2, 2]
    assert branches.prompt_lengths.tolist() == [2, 2, 1]
    assert branches.sequences == 3


@pytest.mark.parametrize("prompts", [[([], [[1]])], [([1], [[2], []])]])
def test_empty_prompts_and_completions_are_refused(prompts):
    with pytest.raises(ValueError, match="at least one token"):
        pack(prompts)


BATCHES = {
    "one sequence": [([3, 1, 4], [[1, 5, 9, 2]])],
    "a shared prompt": [([3, 1, 4], [[1, 5, 9, 2], [6, 5], [3, 5, 8, 9, 7, 9]])],
    "several prompts": [([3, 1, 4], [[1, 5, 9], [2, 6]]), ([5], [[3, 5]]), ([8, 9] * 4, [[7, 9]])],
    "one token long": [([2], [[7], [1], [8, 2]]), ([8, 1, 8], [[2]])],
    "unequal lengths": [([4, 5], [[9] * 30, [0]]), ([9, 0, 4, 5, 2, 3, 5, 3], [[6, 0], [2] * 9])],
    "equal completions of two prompts": [([1, 2], [[3, 4]]), ([2, 1], [[3, 4]])],
}


@pytest.mark.parametrize("prompts", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("build", [tiny.llama, tiny.gpt2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("split_from", [SPLIT_FROM, -(2**30)], ids=["whole", "split"])
def test_packed_log_probabilities_are_those_of_plain_forward_passes(
    prompts, build, dtype, tolerance, split_from, monkeypatch
):
    monkeypatch.setattr(packing, "SPLIT_FROM", split_from)
    assert ("prompt_index" in pack(prompts).attention) == (split_from < 0)
    model = build(dtype)
    with torch.no_grad():
        packed = sequence_logps(model, pack(prompts))
        model.set_attn_implementation("sdpa")
        plain = torch.stack([tiny.plain_logp(model, p, c) for p, own in prompts for c in own])
    torch.testing.assert_close(packed, plain.double(), rtol=tolerance, atol=0)
    assert (packed < -0.5).all()
