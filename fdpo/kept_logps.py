"""What a policy says of the test pairs, kept beside its weights, so that it reads them once.

Training reads them for the last point of its curves, evaluation needs them for its metrics, and
reading them takes as long as sampling. Evaluation takes what is kept where it is of the same
weights, pairs and kind of device, and reads the pairs itself where it is not. Both give the same
bits where a product of matrices does not depend on how many rows it has, else they differ by
rounding.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from fdpo.core import records
from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.core.files import read_json, sha256, write_json
from fdpo.core.records import Pair
from fdpo.core.validation import Strict

KEPT_FILE = "test_logps.json"

SideLogps = tuple[float, float]  # log π of the chosen and of the rejected completion, in nats


class KeptLogps(Strict):
    """test_logps.json: log-probabilities of the pairs in their order, and of what they are."""

    weights: dict[str, str]
    """The sha256 of each file of weights."""
    pairs: str
    """The sha256 of the pairs' records."""
    device: str
    """The kind of device that computed them."""
    chosen: list[float]
    rejected: list[float]


def keep_logps(policy: Path, pairs: Sequence[Pair], logps: Sequence[SideLogps]) -> None:
    """Write `logps` of `pairs` beside the weights in the folder `policy`."""
    kept = KeptLogps(
        **_origin(policy, pairs),
        chosen=[chosen for chosen, _ in logps],
        rejected=[rejected for _, rejected in logps],
    )
    write_json(policy / KEPT_FILE, kept.model_dump())


def kept_logps(policy: Path, pairs: Sequence[Pair]) -> list[SideLogps] | None:
    """What `keep_logps` wrote of these weights and pairs, on this kind of device; else None."""
    try:
        kept = KeptLogps.model_validate(read_json(policy / KEPT_FILE))
    except (UserError, ValidationError):
        return None
    is_whole = len(kept.chosen) == len(kept.rejected) == len(pairs)
    if not is_whole or kept.model_dump(exclude={"chosen", "rejected"}) != _origin(policy, pairs):
        return None
    return list(zip(kept.chosen, kept.rejected, strict=True))


def _origin(policy: Path, pairs: Sequence[Pair]) -> dict:
    weights = {file.name: sha256(file) for file in sorted(policy.glob("*.safetensors"))}
    lines = "".join(map(records.dump, pairs))
    return {
        "weights": weights,
        "pairs": hashlib.sha256(lines.encode()).hexdigest(),
        "device": device().type,
    }
