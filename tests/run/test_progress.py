"""What shows progress: lines in a log, a bar in a terminal."""

from fdpo.run import progress
from fdpo.run.progress import progress_of


def test_a_log_has_whole_lines(monkeypatch, capfd):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress_of("train", 100, "steps", done=20) as training:
        training.note("loss 3")
        training.update(40)
    first, *_ = capfd.readouterr().err.splitlines()
    assert first.startswith("train: 60 of 100 steps, ")
    assert first.endswith("left, loss 3")
