"""The small commands about a finished run: its samples, and whether metrics agree."""

import pytest

from experiments import samples, verify
from fdpo.core import records
from fdpo.core.records import HeldoutSamples
from stages import paths


def test_what_a_model_writes_is_shown_and_not_obeyed(tmp_path, monkeypatch, capsys):
    """A title, a write to the clipboard and a cleared screen, as escape sequences ask for them."""
    monkeypatch.chdir(tmp_path)
    nasty = "\x1b]0;owned\x07 \x1b]52;c;cm0gLXJm\x07 \x1b[2J \x9b2J \u202e"
    sample = {"text": nasty, "reward": -0.5}
    policy = sample | {"kl": 1.0, "entropy": 3.0}
    row = HeldoutSamples(id=0, prompt=nasty, reference=[sample], policy=[policy])
    records.write(paths.SAMPLES, [row])
    samples.main()
    shown = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07" in shown
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}


@pytest.mark.parametrize(
    ("value", "low", "said"),
    [
        (0.4, 0.4, []),
        (0.7, 0.4, ["kl = 0.7, committed [0.4, 0.6]"]),
        (9.0, None, []),  # too few prompts for an interval: nothing to compare with
    ],
)
def test_a_metric_beyond_its_committed_interval_is_named(value, low, said):
    committed = {"kl": {"value": 0.5, "low": low, "high": 0.6}}
    assert verify.beyond(committed, {"kl": {"value": value, "low": 0.0, "high": 1.0}}) == said


def test_a_finding_must_show_again_on_another_machine_and_noise_need_not():
    def interval(value: float, reach: float | None) -> dict[str, float | None]:
        bounds = (None, None) if reach is None else (value - reach, value + reach)
        return {"value": value, "low": bounds[0], "high": bounds[1]}

    committed = {
        "reward_difference": interval(1.0, 0.25),  # beyond noise
        "judge_difference": interval(0.25, 0.5),  # within
        "accuracy": interval(0.25, 0.125),  # below a half
        "kl": interval(5.0, 1.0),
    }
    moved = committed | {"kl": interval(9.0, 1.0), "judge_difference": interval(-1.0, 0.5)}
    assert verify.lost(committed, moved) == []
    missed = {"reward_difference": interval(0.25, 0.5), "accuracy": interval(0.75, None)}
    assert verify.lost(committed, moved | missed) == [
        "reward_difference = 0.25 [-0.25, 0.75], committed 1 [0.75, 1.25]",
        "accuracy = 0.75 no interval, committed 0.25 [0.125, 0.375]",
    ]
