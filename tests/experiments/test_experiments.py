"""The small commands about a finished run: samples side by side, and whether metrics agree."""

import os

import pytest

from experiments import samples, verify
from fdpo.core import records
from fdpo.core.records import SamplesOfPrompt, ScoredSample
from stages import paths


def sample(text: str, reward: float) -> ScoredSample:
    return ScoredSample(text=text, reward=reward, judge=0.0)


def test_samples_stand_side_by_side(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    row = SamplesOfPrompt(
        id=0,
        prompt="The film",
        reference=[sample(" was dull .", -0.5)] * 3,
        policy=[sample(" was\na joy to see from its first to its last minute .", 1.25)] * 3,
    )
    (tmp_path / paths.SAMPLES).parent.mkdir(parents=True)
    records.write(paths.SAMPLES, [row] * 9)
    samples.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("The film") == samples.SHOWN_PROMPTS
    together = "  [-0.50] was dull .            [+1.25] was a joy to see"
    assert lines.count(together) == samples.SHOWN_PROMPTS * samples.SHOWN_COMPLETIONS
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.5, 0.4, 0.6, []),
        (0.4, 0.4, 0.6, []),
        (0.7, 0.4, 0.6, ["kl = 0.7, committed [0.4, 0.6]"]),
        (0.3, 0.4, 0.6, ["kl = 0.3, committed [0.4, 0.6]"]),
        (9.0, None, 0.6, []),  # too few prompts for an interval: nothing to compare with
    ],
)
def test_a_metric_beyond_its_committed_interval_is_named(value, low, high, said):
    committed = {"kl": {"value": 0.5, "low": low, "high": high}}
    assert verify.beyond(committed, {"kl": {"value": value, "low": 0.0, "high": 1.0}}) == said
