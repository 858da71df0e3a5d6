"""Measure speed, and write results/bench.json: `python -m benchmarks [NAME ...]`.

train       beside TRL's DPOTrainer, on SmolLM2-135M and a GPT-2 of random weights
lengths     the same on long prompts, and on pairs that share nothing
stages      evaluate and score: samples a second, and where the time goes
scaling     1, 4 and 16 times the pairs; pair and split on 600,000 completions
experiment  the whole of `dvc exp run -S loss=jsd`, from the last commit
grouping    held-out reward, KL and test accuracy with a prompt's pairs in one step, and without
shapes      reward per CPU-second of the embedded study in other shapes, three seeds
decoding    diverse beam search beside Transformers 4.49 (needs --peer-python)
gpu         on a GPU: float32 beside the CPU's, training, sampling and the stages (needs one)

Run it on a quiet machine, after `dvc repro`. Each measurement is a process of its own, sides in
turn. Rows of benchmarks that are not run this time stay as they are in the file; each has its date
and its machine. --quick shows the ratios on fewer and shorter texts, two rounds each, in about ten
minutes, and writes nothing.
"""

import argparse
import datetime
import tempfile
from pathlib import Path

from benchmarks import decoding, experiment, gpu, grouping, scaling, shapes, small, stages, train
from benchmarks.measure import ROOT, Row, machine, note, shown
from fdpo.core import errors
from fdpo.core.files import read_json, write_json

NAMES = (
    "train",
    "lengths",
    "stages",
    "scaling",
    "experiment",
    "grouping",
    "shapes",
    "decoding",
    "gpu",
)
QUICK_NAMES = ("train", "lengths", "decoding")  # those with peers
RESULTS = ROOT / "results/bench.json"


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        root = small.build(Path(folder)) if options.small else ROOT
        for name in options.names or (QUICK_NAMES if options.quick else NAMES):
            note(name)
            rows = measured(name, options, root)
            for row in rows:
                print(f"{name}: {shown(row)}", flush=True)
            if not (options.small or options.quick):
                merge(RESULTS, name, rows)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    parser.add_argument("--rounds", type=int, help="of each comparison, default 3, or 2 if quick")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true", help="the ratios alone, on small samples; writes nothing"
    )
    size.add_argument(
        "--small", action="store_true", help="tiny models, to try the programs; nothing is written"
    )
    parser.add_argument("--peer-python", help="a Python with transformers==4.49.0, for decoding")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"{unknown[0]}: no such benchmark; choose from {', '.join(NAMES)}")
    if options.quick and (others := [n for n in options.names if n not in QUICK_NAMES]):
        parser.error(f"{others[0]}: has no quick form; choose from {', '.join(QUICK_NAMES)}")
    if options.rounds is None:
        options.rounds = 2 if options.quick else 3
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: must be at least 1")
    return options


def measured(name: str, options: argparse.Namespace, root: Path) -> list[Row]:
    """The rows of one benchmark; none where it is left out, which is said."""
    match name:
        case "train" | "lengths":
            sizes = train.SMALL if options.small else train.QUICK if options.quick else train.CASES
            return train.rows(options.rounds, sizes[name])
        case "stages":
            return stages.rows(options.rounds, root)
        case "scaling":
            return scaling.rows(options.rounds, options.small)
        case "grouping":
            return grouping.rows(root)
        case "shapes" if options.small:
            note("left out: its shapes are those of the study, which is not small")
        case "shapes":
            return shapes.rows(root)
        case "experiment" if options.small:
            note("left out: it measures the committed pipeline, which is not small")
        case "experiment":
            return experiment.rows(options.rounds)
        case "decoding" if options.peer_python and options.quick:
            return decoding.rows(
                options.peer_python, options.rounds, prompts=8, peer_prompts=2, new_tokens=32
            )
        case "decoding" if options.peer_python and not options.small:
            return decoding.rows(options.peer_python, options.rounds)
        case "decoding":
            note("left out: it needs --peer-python, see benchmarks/decoding.py")
        case "gpu":
            return gpu.rows(options.rounds, options.small)
    return []


def merge(path: Path, name: str, rows: list[Row]) -> None:
    """Put a benchmark's rows, dated, into the file in place of its former ones."""
    if rows:
        former = read_json(path) if path.exists() else []
        kept = [row for row in former if not row["name"].startswith(f"{name}: ")]
        when = {"machine": machine(), "date": datetime.date.today().isoformat()}
        write_json(path, kept + [{**when, **row, "name": f"{name}: {row['name']}"} for row in rows])


if __name__ == "__main__":
    errors.run(main)
