"""Diverse beam search: ours, in one batch, beside Transformers 4.49, a prompt at a time.

GPT-2 of 124 million parameters, 32 prompts × 6 completions × 64 tokens, float32 on the CPU. Each
measurement is a process of its own and counts CPU seconds (user and system, all threads) of
decoding alone. The peer needs an environment of its own:

    python3.11 -m venv /tmp/peer
    /tmp/peer/bin/pip install torch==2.13.0 transformers==4.49.0 "numpy<2.3"
    python -m benchmarks.decoding --peer-python /tmp/peer/bin/python
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

OURS = "benchmarks.decoding_ours"
PEER = "benchmarks.decoding_peer"


def rows(
    peer_python: str,
    rounds: int = 3,
    prompts: int = 32,
    peer_prompts: int = 32,
    new_tokens: int = 64,
    threads: int = 1,
) -> list[dict[str, Any]]:
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
        print(f"round {number}: ours {_shown(ours)}; peer {_shown(peer)}", file=sys.stderr)
    return [
        _row("diverse beam search", "tokens per CPU-second", "rate", pairs),
        _row("diverse beam search, peak memory", "MiB", "peak_mib", pairs),
    ]


def _measure(python: str, module: str, prompts: int, new_tokens: int, threads: int) -> dict:
    command = [python, "-m", module, "--prompts", prompts, "--new-tokens", new_tokens]
    done = subprocess.run(  # noqa: S603 - the interpreter is the user's choice
        [*map(str, command), "--threads", str(threads)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def _shown(result: dict[str, float]) -> str:
    return f"{result['rate']:.1f} tokens per CPU-second, peak {result['peak_mib']:.0f} MiB"


def _row(name: str, unit: str, key: str, pairs: list[tuple[dict, dict]]) -> dict[str, Any]:
    # The peer's cost over ours: more tokens a second are less cost, more memory is more.
    rates = [ours[key] / peer[key] for ours, peer in pairs]
    ratios = rates if key == "rate" else [1 / rate for rate in rates]
    return {
        "name": name,
        "ours": statistics.median(ours[key] for ours, _ in pairs),
        "peer": statistics.median(peer[key] for _, peer in pairs),
        "ratio": statistics.median(ratios),
        "unit": unit,
        "rounds": ratios,
    }


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
        low, high = min(row["rounds"]), max(row["rounds"])
        print(
            f"{row['name']}: ours {row['ours']:.1f}, peer {row['peer']:.1f} {row['unit']}; "
            f"ratio {row['ratio']:.2f} ({low:.2f} to {high:.2f}, {len(row['rounds'])} rounds)"
        )


if __name__ == "__main__":
    main()
