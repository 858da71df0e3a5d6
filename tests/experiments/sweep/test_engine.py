"""Rows on Dask, in this process."""

from types import SimpleNamespace

from distributed import Client

from experiments.sweep import engine


def test_rows_run_seed_by_seed(monkeypatch, tmp_path):
    """Dask's own order starts with the last seeds here: cut off, it leaves a part of each."""
    log = tmp_path / "ran"

    def command(line, *_):
        with log.open("a") as ran:
            print(*line, file=ran)
        return {}

    monkeypatch.setattr(engine, "command", command)
    rows = [
        SimpleNamespace(sweep="tiny", name=f"{name}{seed}", experiment=f"{name}{seed}", data=seed)
        for seed in range(1, 8)
        for name in "abc"
    ]
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as dask:
        assert len(list(engine.run(dask, rows, [], []))) == len(rows)
    lines = [line for line in log.read_text().splitlines() if not line.endswith("--data")]
    assert lines == [f"tiny {row.name}" for row in rows]
