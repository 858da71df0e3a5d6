"""Diverse beam search: ours, in one batch, beside Transformers 4.49, a prompt at a time.

GPT-2 of 124 million parameters, 32 prompts × 6 completions × 64 tokens, float32 on the CPU. Each
measurement is a process of its own and counts CPU seconds (user and system, all threads) of
decoding alone. The peer needs an environment of its own:

    python3.11 -m venv /tmp/peer
    /tmp/peer/bin/pip install torch==2.13.0 transformers==4.49.0 "numpy<2.3"
    python -m benchmarks.decoding --peer-python /tmp/peer/bin/python
"""

import argparse
import sys
from typing import Any

from benchmarks.measure import Row, compared, note, run, shown

OURS = "benchmarks.decoding_ours"
PEER = "benchmarks.decoding_peer"


def rows(
    peer_python: str,
    rounds: int = 3,
    prompts: int = 32,
    peer_prompts: int = 32,
    new_tokens: int = 64,
    threads: int = 1,
) -> list[Row]:
    """Measure ours and the peer in turn, `rounds` times; one row for speed, one for peak memory.

    `ours` and `peer` are medians; `ratio` is the median of the rounds' ratios of the peer's cost to
    ours, which `rounds` holds. A prompt's cost to the peer is its own, so `peer_prompts`
    may be fewer.
    """
    pairs = []
    for number in range(1, rounds + 1):
        ours = _measure(sys.executable, OURS, prompts, new_tokens, threads)
        peer = _measure(peer_python, PEER, peer_prompts, new_tokens, threads)
        pairs.append((ours, peer))
        note(f"round {number}: ours {_shown(ours)}; peer {_shown(peer)}")

    def column(key: str) -> list[list[float]]:
        return [[side[key] for side in sides] for sides in zip(*pairs, strict=True)]

    return [
        compared("diverse beam search", "tokens per CPU-second", *column("rate"), rate=True),
        compared("diverse beam search, peak memory", "MiB", *column("peak_mib")),
    ]


def _measure(
    python: str, module: str, prompts: int, new_tokens: int, threads: int
) -> dict[str, Any]:
    sizes = {"--prompts": prompts, "--new-tokens": new_tokens, "--threads": threads}
    options = [str(part) for option in sizes.items() for part in option]
    return run([python, "-m", module, *options]).report


def _shown(result: dict[str, float]) -> str:
    return f"{result['rate']:.1f} tokens per CPU-second, peak {result['peak_mib']:.0f} MiB"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True, help="python with transformers==4.49.0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=32, help="prompts in our batch")
    parser.add_argument("--peer-prompts", type=int, default=32, help="prompts of the peer's loop")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="threads of either")
    for row in rows(**vars(parser.parse_args(argv))):
        print(shown(row))


if __name__ == "__main__":
    main()
