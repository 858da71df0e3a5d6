"""What is kept of the test pairs serves the same weights, pairs and device, and nothing else."""

import json

import pytest

from fdpo.kept_logps import KEPT_FILE, keep_logps, kept_logps
from tests.support import tiny

PAIRS = [tiny.pair([3, 1], [4, 1, 5], [9, 2], -1.5, -2.5), tiny.pair([5], [8], [3], -1.0, -2.0)]
LOGPS = [(-10.1, -1 / 3), (-7e-17, -123456.789)]


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    keep_logps(tmp_path, PAIRS, LOGPS)
    return tmp_path


def test_what_was_kept_comes_back_to_the_bit(policy):
    assert kept_logps(policy, PAIRS) == LOGPS


def test_other_weights_have_none(policy):
    (policy / "adapter_model.safetensors").write_bytes(b"weightS")
    assert kept_logps(policy, PAIRS) is None


def test_other_pairs_have_none(policy):
    swapped = PAIRS[0].model_copy(
        update={"chosen_ids": PAIRS[0].rejected_ids, "rejected_ids": PAIRS[0].chosen_ids}
    )
    for pairs in ([swapped, PAIRS[1]], PAIRS[::-1], PAIRS[:1], [*PAIRS, PAIRS[0]]):
        assert kept_logps(policy, pairs) is None


@pytest.mark.parametrize(
    "change",
    [{"device": "cuda"}, {"chosen": [-1.0]}, {"chosen": ["-1", "-2"]}, {"more": 1}],
    ids=["another device", "a value less", "text", "unknown key"],
)
def test_a_file_of_another_kind_is_not_taken(change, policy):
    path = policy / KEPT_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert kept_logps(policy, PAIRS) is None


def test_without_a_whole_file_there_is_none(policy):
    path = policy / KEPT_FILE
    path.write_bytes(path.read_bytes()[:-20])
    assert kept_logps(policy, PAIRS) is None
    path.unlink()
    assert kept_logps(policy, PAIRS) is None
