"""Training that stops and goes on is training that never stopped; what is not finite ends it."""

import os
import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from transformers import TrainerCallback

from fdpo.core.errors import UserError
from fdpo.training import checkpoints
from fdpo.training.callbacks import CurveFiles
from fdpo.training.checkpoints import Checkpoints
from fdpo.training.trainer import FDPOTrainer
from tests.support import tiny, tiny_trainer

ADAPTER = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
REFERENCE = tiny.llama(torch.float32)
REFERENCE.set_attn_implementation("sdpa")
PAIRS = [  # 13 prompts
    tiny_trainer.recorded(REFERENCE, [3, first], [first, 1, 5], [9, first])
    for first in range(4, 17)
]
STEPS = 15  # 3 epochs of 5 steps: 3, 3, 3, 3 and 1 pairs


class Interrupted(Exception):
    pass


class Interrupt(TrainerCallback):
    """Ends training as a signal would, right after a step."""

    def __init__(self, step: int | None):
        self.step = step

    def on_step_begin(self, args, state, control, **_) -> None:
        if state.global_step == self.step:
            raise Interrupted


@pytest.fixture(autouse=True)
def always_due(monkeypatch):
    monkeypatch.setattr(checkpoints, "SPACING", 0)


def train(work: Path, curves: Path, stop: int | None = None, **settings) -> FDPOTrainer:
    """Train to the end, or to `stop`, from the newest checkpoint in `work` if there is one."""
    plain = {
        "seed": 2,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 3,
        "learning_rate": 0.01,
        "eval_strategy": "steps",
        "eval_steps": 4,
    }
    folder = checkpoints.scratch(work)
    model = tiny.llama(torch.float32)
    trainer = tiny_trainer.build(model, PAIRS, folder, ADAPTER, **plain | settings)
    for callback in (CurveFiles(curves), Checkpoints(work), Interrupt(stop)):
        trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=checkpoints.newest(work))
    return trainer


def written(trainer: FDPOTrainer, curves: Path) -> dict[str, bytes]:
    trainer.model.save_pretrained(curves / "policy")
    return {
        str(path.relative_to(curves)): path.read_bytes()
        for path in curves.rglob("*")
        if path.is_file()
    }


def saved(work: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in work.glob("checkpoint-*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """What training without interruption and without a checkpoint writes."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_step_end", lambda *_, **__: None)
        found = written(train(folder / "work", folder / "curves"), folder / "curves")
    assert saved(folder / "work") == []
    return found


# The first step, the last of an epoch, and the very end.
@pytest.mark.parametrize("stop", [1, 5, 14])
def test_a_resumed_training_writes_the_bytes_of_an_uninterrupted_one(stop, whole, tmp_path, capsys):
    with pytest.raises(Interrupted):
        train(tmp_path / "work", tmp_path / "first", stop)
    assert saved(tmp_path / "work") == [step for step in (stop - 1, stop) if step]
    trainer = train(tmp_path / "work", tmp_path / "second")
    assert f"train: goes on after step {stop}\n" in capsys.readouterr().out
    assert written(trainer, tmp_path / "second") == whole


def test_steps_between_two_logged_ones_are_no_checkpoints(tmp_path):
    """The mean loss in progress is in no checkpoint, so what is logged next would differ."""
    curves = []
    for name, stops in (("whole", [None]), ("resumed", [4, 8, None])):
        for stop in stops:
            try:
                train(tmp_path / name, tmp_path / f"{name}-curves", stop, logging_steps=3)
            except Interrupted:
                assert saved(tmp_path / name)[-1] == stop - stop % 3
        curves.append((tmp_path / f"{name}-curves/plots/metrics/train/loss.tsv").read_bytes())
    assert curves[0] == curves[1]
    assert curves[0].count(b"\n") == 1 + STEPS // 3


def test_a_checkpoint_cut_short_is_not_picked_up(whole, tmp_path, monkeypatch):
    """As if the process ended after the Trainer wrote, before the checkpoint got its name."""
    replace = os.replace

    def until_the_second(source, target) -> None:
        if Path(source).name == "checkpoint-2":
            raise Interrupted
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", until_the_second)
        with pytest.raises(Interrupted):
            train(tmp_path / "work", tmp_path / "first")
    assert saved(tmp_path / "work") == [1]
    (half,) = (tmp_path / "work/writing").glob("checkpoint-2")
    (half / "optimizer.pt").write_bytes((half / "optimizer.pt").read_bytes()[:100])
    trainer = train(tmp_path / "work", tmp_path / "second")
    assert written(trainer, tmp_path / "second") == whole


@pytest.mark.parametrize("spoilt", ["loss", "gradient"])
def test_what_is_not_finite_ends_training_and_leaves_the_last_good_checkpoint(spoilt, tmp_path):
    def spoil(module, inputs, output):
        nonlocal calls
        calls += torch.is_grad_enabled()
        if calls == 4 and spoilt == "loss":
            return output * torch.nan
        if calls == 4:
            output.register_hook(lambda gradient: gradient * torch.inf)
        return output

    calls = 0
    model = tiny.llama(torch.float32)
    model.model.norm.register_forward_hook(spoil)
    trainer = tiny_trainer.build(
        model, PAIRS[:6], checkpoints.scratch(tmp_path), ADAPTER, per_device_train_batch_size=1
    )
    trainer.add_callback(Checkpoints(tmp_path))
    with pytest.raises(UserError) as failed:
        trainer.train()
    value = {"loss": "nan", "gradient": "(inf|nan)"}[spoilt]
    assert re.match(rf"train: the {spoilt} of step 4 is {value} \(", str(failed.value))
    assert saved(tmp_path) == [2, 3]
