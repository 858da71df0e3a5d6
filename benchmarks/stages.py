"""Evaluate and score: samples a second, and where the time goes."""

from pathlib import Path

from benchmarks.measure import ROOT, Row, alone, note
from benchmarks.workspace import stage, timed_stage, workspace
from fdpo.core import records
from fdpo.core.records import ScoredGeneration
from stages import paths


def rows(rounds: int, root: Path = ROOT) -> list[Row]:
    """Run score and evaluate in turn on the active study's data in `root`."""
    heldout, every = completions(root)
    samples = {"score": every, "evaluate": heldout}
    runs = {name: [] for name in samples}
    with workspace(root) as folder:
        if not (folder / paths.POLICY).exists():
            stage(folder, "train")
        for number in range(1, rounds + 1):
            for name in samples:
                run, parts, _ = timed_stage(folder, name)
                runs[name].append((run, parts))
                note(f"round {number}, {name}: {run.wall:.1f} s")
    found: list[Row] = []
    for name, measured in runs.items():
        walls = [run.wall for run, _ in measured]
        found += [
            alone(f"{name}: samples", "samples/s", [samples[name] / wall for wall in walls]),
            alone(f"{name}: process", "wall s", walls),
            alone(f"{name}: process", "CPU s", [run.cpu for run, _ in measured]),
            alone(f"{name}: peak memory", "MiB", [run.peak_mib for run, _ in measured]),
        ]
        for part in measured[0][1]:
            values = [parts[part] for _, parts in measured]
            found.append(alone(f"{name}: {part}", "wall s", values))
    return found


def completions(root: Path) -> tuple[int, int]:
    """How many completions evaluation samples (as many as the baseline has) and score scores."""
    heldout = every = 0
    for generation in records.read(root / paths.SCORES, ScoredGeneration):
        every += len(generation.completions)
        heldout += len(generation.completions) * (generation.role == "heldout")
    return heldout, every
