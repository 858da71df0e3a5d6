"""Named random streams: every draw comes from the seed and says what it is for."""

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on `seed` and `names` alone, such as ("sample", prompt id, 3).

    Equal names give equal draws whatever was drawn before, in whatever order, batch or process.
    """
    text = "/".join(str(part) for part in (seed, *names))
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))
