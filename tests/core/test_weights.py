"""Weights of a file against those of the model that takes them."""

import pytest

from fdpo.core.errors import UserError
from fdpo.core.weights import require_exact

BUFFERS = ["encoder.position_ids", "h.0.attn.bias", "h.0.attn.masked_bias"]


@pytest.mark.parametrize(
    ("missing", "unexpected"),
    [([], []), ([], BUFFERS), (["pooler.dense.weight"], ["pooler.dense.bias"])],
)
def test_buffers_and_unused_weights_may_differ(missing, unexpected):
    loading = {"missing_keys": missing, "unexpected_keys": unexpected}

    require_exact(loading, "folder", "remedy", unused="pooler.")


@pytest.mark.parametrize(
    "differing",
    [
        {"missing_keys": ["score.bias"]},
        {"unexpected_keys": ["layers.0.score.bias"]},
        {"mismatched_keys": {("score.bias", (1,), (2,))}},
        {"missing_keys": ["score.bias"], "unexpected_keys": ["module.score.bias"]},
    ],
)
def test_other_weights_may_not(differing):
    with pytest.raises(UserError, match=r"^folder: .*score\.bias"):
        require_exact({"missing_keys": [], "unexpected_keys": []} | differing, "folder", "remedy")
