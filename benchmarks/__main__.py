"""Measure speed, and write results/bench.json: `python -m benchmarks [NAME ...]`.

train       beside TRL's DPOTrainer: short and long texts, many pairs of a prompt and one
decoding    sampling beside Transformers' generate and generate_batch
experiment  the whole of `dvc exp run -S loss=jsd`, from the last commit
gpu         on a GPU: float32 beside the CPU's, training and sampling

Run it on a quiet machine, after `dvc repro`. Each measurement is a process of its own, sides in
turn. --quick shows the ratios on fewer and shorter texts, two rounds each, in about ten minutes;
--tiny tries the programs on tiny models. Neither writes results/bench.json.
"""

import argparse
import datetime
import importlib

from benchmarks.measure import ROOT, Row, machine, note, run, shown
from fdpo.core import errors
from fdpo.core.files import read_json, write_json

NAMES = ("train", "decoding", "experiment", "gpu")
RESULTS = ROOT / "results/bench.json"


def main() -> None:
    options = parsed()
    size = "quick" if options.quick else "tiny" if options.tiny else "full"
    rounds = options.rounds or (3 if size == "full" else 2)
    names = options.names or (NAMES[:2] if size == "quick" else NAMES)
    for name in names:
        note(name)
        rows = list(importlib.import_module(f"benchmarks.{name}").rows(rounds, size))
        for row in rows:
            print(f"{name}: {shown(row)}", flush=True)
        if size == "full":
            record(name, rows)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=[[], *NAMES], help="default: all of them"
    )
    parser.add_argument("--rounds", type=int, help="of each comparison; default 3, or 2 if quick")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="smaller samples; writes nothing")
    sizes.add_argument("--tiny", action="store_true", help="tiny models; writes nothing")
    return parser.parse_args()


def record(name: str, rows: list[Row]) -> None:
    """Put a benchmark's rows, with date, commit and machine, in place of its former ones.

    Rows of other commits are dropped: the file holds figures of one version of the code.
    """
    if not rows:
        return
    commit = run(["git", "rev-parse", "--short", "HEAD"]).output.strip()
    former = read_json(RESULTS) if RESULTS.exists() else []
    kept = [row for row in former if row["benchmark"] != name and row["commit"] == commit]
    made = {"benchmark": name, "commit": commit, "date": datetime.date.today().isoformat()}
    write_json(RESULTS, kept + [{**made, "machine": machine(), **row} for row in rows])


if __name__ == "__main__":
    errors.run(main)
