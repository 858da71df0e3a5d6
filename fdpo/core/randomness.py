"""Named random streams: every draw comes from the seed and says what it is for."""

import hashlib
from collections.abc import Callable
from functools import partial

import numpy as np

RandomStreams = Callable[..., np.random.Generator]  # `stream` with its seed bound


def streams_of(seed: int) -> RandomStreams:
    """The random streams of `seed`, for code that draws and need not know the seed."""
    return partial(stream, seed)


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on `seed` and `names` alone, such as ("sample", prompt id, 3).

    Equal names give equal draws in any order, batch or process, after any other draws.
    """
    text = "/".join(str(part) for part in (seed, *names))
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))
