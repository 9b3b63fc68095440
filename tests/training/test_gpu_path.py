"""Training as on a GPU, whose numbers are read one step late: the same results, nothing damaged.

The path of a GPU runs on the CPU here, with `metrics_lag` set to 1 and without the clipwise loss.
"""

import pytest
import torch

from tests.conftest import tiny_config
from wavenet.errors import DeviceError, OutOfMemory, TrainingError
from wavenet.training import cpu_loss, loop, task
from wavenet.training.schedule import metrics_lag, uses_bf16
from wavenet.training.step_metrics import MetricsQueue, StepResult

from . import (
    CPU,
    make_config,
    make_dataset,
    make_settings,
    newest_snapshot,
    read_metrics,
    train,
)
from .test_resuming import are_equal, stop_after

CUDA = torch.device("cuda")


@pytest.fixture
def gpu_path(monkeypatch):
    """Train as on a GPU."""
    monkeypatch.setattr(loop, "metrics_lag", lambda device: 1)
    monkeypatch.setattr(cpu_loss, "supports", lambda model: False)


def test_late_numbers_are_the_same_numbers(tmp_path, monkeypatch):
    config, dataset = make_config(), make_dataset()
    settings = make_settings(validate_every=5, save_every=3)
    monkeypatch.setattr(cpu_loss, "supports", lambda model: False)
    records = {}
    for lag in (0, 1, 3):
        monkeypatch.setattr(loop, "metrics_lag", lambda device, lag=lag: lag)
        records[lag] = []
        train(config, settings, dataset, tmp_path / str(lag), on_record=records[lag].append)
    for lag in (1, 3):
        assert read_metrics(tmp_path / str(lag)) == read_metrics(tmp_path / "0")
        assert [record["step"] for record in records[lag]] == list(range(1, 13))
        for name in ("state.safetensors", "state.json"):
            one, other = (
                (tmp_path / n / "step-000000012" / name).read_bytes() for n in (str(lag), "0")
            )
            assert one == other
    assert all(r["samples_per_second"] > 0 for listed in records.values() for r in listed)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_products_are_in_bf16_on_a_gpu_and_on_processors_with_bf16(monkeypatch, has_bf16):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16})
    assert uses_bf16("auto", CUDA) and uses_bf16("auto", CPU) == has_bf16
    assert uses_bf16("bf16", CPU) and not uses_bf16("fp32", CUDA)
    assert (metrics_lag(CPU), metrics_lag(CUDA)) == (0, 1)


def test_only_steps_beyond_the_lag_are_waited_for():
    queue = MetricsQueue(2)
    popped = []
    for step in range(1, 7):
        record = {"step": step, "samples": 1}
        queue.append(StepResult(record, torch.tensor([float(step), 0.5])))
        popped.append([r["step"] for r in queue.pop(flush=step == 5)])
    assert popped == [[], [], [1], [2], [3, 4, 5], []]
    (last,) = queue.pop(flush=True)
    assert last["gradient"] == 0.5 and last["loss_bits"] == pytest.approx(6 / 0.6931471805599453)


def test_a_resumed_run_equals_one_that_was_not_interrupted(tmp_path, gpu_path):
    config, dataset = make_config(), make_dataset()
    whole = train(config, make_settings(), dataset, tmp_path / "whole")
    train(config, make_settings(), dataset, tmp_path / "parts", should_stop=stop_after(4))
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert are_equal(parts, whole)
    assert read_metrics(tmp_path / "parts") == read_metrics(tmp_path / "whole")


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("step", [3, 4])
def test_nothing_changes_from_a_step_that_is_not_finite(
    tmp_path, monkeypatch, gpu_path, where, step
):
    """It is noticed one step later; the step between must not change the weights."""
    config, dataset, seen = make_config(), make_dataset(), []
    train_step, mean_nll = loop.train_step, task.mean_nll

    def poisoned_nll(model, batch, truncation=None):
        loss = mean_nll(model, batch)
        if len(seen) != step or not model.output.weight.requires_grad:
            return loss
        if where == "loss":
            return loss * torch.nan
        weight = model.output.weight[0, 0]
        return loss + (weight - weight.detach()).sqrt()

    def watched_step(this_task, state, *args):
        weights = {n: t.clone() for n, t in state.model.state_dict().items()}
        seen.append((state, weights))
        return train_step(this_task, state, *args)

    monkeypatch.setattr(task, "mean_nll", poisoned_nll)
    monkeypatch.setattr(loop, "train_step", watched_step)
    settings = make_settings(validate_every=4, save_every=4)
    with pytest.raises(TrainingError, match=f"step {step} is not finite"):
        train(config, settings, dataset, tmp_path)
    # before a validation and a snapshot all numbers are read; otherwise one more step is done
    assert len(seen) == 4
    state, before = seen[step - 1]
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    steps = [values["step"].item() for values in state.optimizers[0].state.values()]
    assert set(steps) == {step - 1.0}
    assert not list(tmp_path.glob("step-*")) and not (tmp_path / "checkpoint").exists()
    assert [record["step"] for record in read_metrics(tmp_path)] == list(range(1, 3))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile"),
            DeviceError,
            "--resume",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"),
            OutOfMemory,
            "samples_per_step",
        ),
    ],
)
def test_a_lost_device_costs_only_the_steps_since_the_newest_snapshot(
    tmp_path, monkeypatch, error, kind, words
):
    config, dataset = make_config(), make_dataset()
    whole = train(config, make_settings(), dataset, tmp_path / "whole")
    train_step = loop.train_step

    def failing_step(this_task, state, *args):
        if state.step == 6:
            raise error
        return train_step(this_task, state, *args)

    monkeypatch.setattr(loop, "train_step", failing_step)
    with pytest.raises(DeviceError, match=words) as caught:
        train(config, make_settings(), dataset, tmp_path / "parts")
    assert type(caught.value) is kind and "\n" not in str(caught.value)
    assert newest_snapshot(tmp_path / "parts").name == "step-000000004"
    assert (tmp_path / "parts" / "checkpoint" / "model.safetensors").exists()
    monkeypatch.setattr(loop, "train_step", train_step)
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert are_equal(parts, whole)
    assert read_metrics(tmp_path / "parts") == read_metrics(tmp_path / "whole")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to train on")
def test_a_run_on_a_gpu_learns_as_on_the_cpu(tmp_path):
    config = make_config(dilations=tiny_config().dilations)
    states = [
        train(config, make_settings(), make_dataset(), tmp_path / device.type, device=device)
        for device in (CPU, CUDA)
    ]
    assert states[1].best_bits == pytest.approx(states[0].best_bits, abs=0.01)
    resumed = train(config, make_settings(), make_dataset(), tmp_path / "cuda", True, device=CUDA)
    assert resumed.step == 12
