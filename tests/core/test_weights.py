"""Weights of a file against those of the model that takes them."""

import pytest

from fdpo.core.errors import UserError
from fdpo.core.weights import require_exact


@pytest.mark.parametrize(
    ("missing", "unexpected"),
    [
        ([], []),
        ([], ["encoder.position_ids", "h.0.attn.bias", "h.0.attn.masked_bias"]),
        (["pooler.dense.weight"], ["pooler.dense.bias"]),
    ],
)
def test_buffers_and_unused_weights_may_differ(missing, unexpected):
    loading = {"missing_keys": missing, "unexpected_keys": unexpected}

    require_exact(loading, "folder", "remedy", unused="pooler.")


@pytest.mark.parametrize("side", ["missing_keys", "unexpected_keys"])
@pytest.mark.parametrize("name", ["score.bias", "layers.0.self_attn.q_proj.bias"])
def test_other_weights_may_not(side, name):
    loading = {"missing_keys": [], "unexpected_keys": [], side: [name]}

    with pytest.raises(UserError, match=name):
        require_exact(loading, "folder", "remedy")
