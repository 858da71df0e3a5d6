"""The small commands about a finished run: samples side by side, and whether metrics agree."""

import os

import pytest

from experiments import evaluate_adapter, samples, summary, verify
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.records import HeldoutSamples, PolicySample, ScoredSample
from stages import paths


def row(prompt: str, reference: str, policy: str) -> HeldoutSamples:
    plain = ScoredSample(text=reference, reward=-0.5, judge=0.0)
    trained = PolicySample(text=policy, reward=1.25, judge=0.0, kl=1.0, entropy=3.0)
    return HeldoutSamples(id=0, prompt=prompt, reference=[plain] * 3, policy=[trained] * 3)


def test_samples_stand_side_by_side(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    policy = " was\na joy to see from its first to its last minute ."
    records.write(paths.SAMPLES, [row("The film", " was dull .", policy)] * 9)
    samples.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("The film") == samples.SHOWN_PROMPTS
    together = "  [-0.50] was dull .            [+1.25] was a joy to see"
    assert lines.count(together) == samples.SHOWN_PROMPTS * samples.SHOWN_COMPLETIONS
    assert max(map(len, lines)) <= 60


def test_what_a_model_writes_is_shown_and_not_obeyed(tmp_path, monkeypatch, capsys):
    """A title, a write to the clipboard and a cleared screen, as escape sequences ask for them."""
    monkeypatch.chdir(tmp_path)
    nasty = "\x1b]0;owned\x07 \x1b]52;c;cm0gLXJm\x07 \x1b[2J \x9b2J \u202e"
    records.write(paths.SAMPLES, [row(nasty, nasty, nasty)])
    samples.main()
    shown = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07" in shown
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}


@pytest.mark.parametrize(
    ("value", "low", "said"),
    [
        (0.4, 0.4, []),
        (0.7, 0.4, ["kl = 0.7, committed [0.4, 0.6]"]),
        (0.3, 0.4, ["kl = 0.3, committed [0.4, 0.6]"]),
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


@pytest.mark.parametrize("content", ["{", '{"kl": 1}', '{"kl": {"value": NaN}}'])
def test_metrics_that_were_edited_by_hand_are_one_line(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    paths.METRICS_WITH_INTERVALS.parent.mkdir(parents=True)
    paths.METRICS_WITH_INTERVALS.write_text(content)
    with pytest.raises(UserError) as failure:
        summary.main()
    assert str(failure.value).startswith(f"{paths.METRICS_WITH_INTERVALS}: ")
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("adapter", ["dvc.yaml", "a/b/c", "a\nb"])
def test_what_is_neither_a_folder_nor_a_name_of_the_hub_is_said(adapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(UserError, match="no folder here, and no name of the Hub, which is"):
        evaluate_adapter.main(["--", adapter])
