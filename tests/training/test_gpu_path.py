"""Training as on a GPU, a step late: nothing is learnt otherwise, and nothing spoilt.

There is none here. So the way of a GPU runs on the CPU, with `metrics_lag` set to 1.
"""

import pytest
import torch

from tests.conftest import tiny_config
from wavenet.errors import DeviceError, OutOfMemory, TrainingError
from wavenet.training import loop, snapshots
from wavenet.training.loop import train
from wavenet.training.schedule import metrics_lag, uses_bf16
from wavenet.training.step_metrics import MetricsQueue, StepResult

from . import CPU, last_step, lines, make_config, make_dataset, make_settings

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    monkeypatch.setattr(loop, "choose_device", lambda: CPU)
    torch.set_num_threads(1)


@pytest.fixture
def late(monkeypatch):
    """Take the way of a GPU."""
    monkeypatch.setattr(loop, "lateness", lambda device: 1)


def same(one, other):
    a, b = snapshots._tensors(one), snapshots._tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_late_numbers_are_the_same_numbers(tmp_path, monkeypatch):
    config, dataset = make_config(), make_dataset()
    settings = make_settings(validate_every=5, save_every=3)
    reported = {}
    for late in (0, 1, 3):
        monkeypatch.setattr(loop, "lateness", lambda device, late=late: late)
        monkeypatch.setattr(
            loop,
            "fed_nll",
            lambda m, f: (
                loop.nll(
                    m,
                    m(f.codes, f.conditioning, f.start).transpose(1, 2).flatten(0, 1),
                    f.codes.flatten(),
                    f.mask.flatten(),
                )
                / f.targets
            ),
        )
        reported[late] = []
        train(config, settings, dataset, tmp_path / str(late), report=reported[late].append)
    for late in (1, 3):
        assert lines(tmp_path / str(late)) == lines(tmp_path / "0")
        assert [record["step"] for record in reported[late]] == list(range(1, 13))
        names = ("state.safetensors", "state.json")
        for name in names:
            one, other = (
                (tmp_path / n / "step-000000012" / name).read_bytes() for n in (str(late), "0")
            )
            assert one == other
    assert all(r["samples_per_second"] > 0 for records in reported.values() for r in records)


@pytest.mark.parametrize("pays", [False, True])
def test_products_are_in_bf16_on_a_gpu_and_where_the_processor_has_it(monkeypatch, pays):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": pays})
    assert uses_bf16("auto", CUDA) and uses_bf16("auto", CPU) == pays
    assert uses_bf16("bf16", CPU) and not uses_bf16("fp32", CUDA)
    assert (metrics_lag(CPU), metrics_lag(CUDA)) == (0, 1)


def test_only_the_newest_steps_are_waited_for():
    results = MetricsQueue(2)
    shown = []
    for step in range(1, 7):
        record = {"step": step, "samples": 1}
        results.add(StepResult(record, torch.tensor([float(step), 0.5])))
        shown.append([r["step"] for r in results.take(everything=step == 5)])
    assert shown == [[], [], [1], [2], [3, 4, 5], []]
    (last,) = results.take(everything=True)
    assert last["gradient"] == 0.5 and last["loss_bits"] == pytest.approx(6 / 0.6931471805599453)


def test_a_resumed_run_equals_one_that_went_on(tmp_path, late):
    config, dataset = make_config(), make_dataset()
    whole = train(config, make_settings(), dataset, tmp_path / "whole")
    asked = iter(range(1, 100))
    train(
        config, make_settings(), dataset, tmp_path / "parts", should_stop=lambda: next(asked) == 4
    )
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert same(parts, whole)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("step", [3, 4])
def test_from_a_step_that_is_not_finite_on_nothing_changes(
    tmp_path, monkeypatch, late, where, step
):
    """It is found a step late; the next one must not have spoilt the weights meanwhile."""
    config, dataset, seen = make_config(), make_dataset(), []
    make, loss = loop.train_step, loop.fed_nll

    def poisoned(model, fed):
        value = loss(model, fed)
        if len(seen) != step or not model.output.weight.requires_grad:
            return value
        if where == "loss":
            return value * torch.nan
        weight = model.output.weight[0, 0]
        return value + (weight - weight.detach()).sqrt()

    def watched(state, *args):
        weights = {n: t.clone() for n, t in state.model.state_dict().items()}
        seen.append((state, weights, {k: dict(v) for k, v in state.optimizers[0].state.items()}))
        return make(state, *args)

    monkeypatch.setattr(loop, "fed_nll", poisoned)
    monkeypatch.setattr(loop, "train_step", watched)
    settings = make_settings(validate_every=4, save_every=4)
    with pytest.raises(TrainingError, match=f"the loss of step {step} is not finite"):
        train(config, settings, dataset, tmp_path)
    # where something is to be kept the numbers are waited for, else the next step was made
    assert len(seen) == 4
    state, before, _ = seen[step - 1]
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    steps = [values["step"].item() for values in state.optimizers[0].state.values()]
    assert set(steps) == {step - 1.0}
    assert not list(tmp_path.glob("step-*")) and not (tmp_path / "checkpoint").exists()
    assert [record["step"] for record in lines(tmp_path)] == list(range(1, 3))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile"),
            DeviceError,
            "the GPU was lost .*--resume",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"),
            OutOfMemory,
            "samples_per_step",
        ),
    ],
)
def test_a_lost_device_costs_the_steps_since_the_last_that_was_saved(
    tmp_path, monkeypatch, error, kind, words
):
    config, dataset = make_config(), make_dataset()
    whole = train(config, make_settings(), dataset, tmp_path / "whole")
    make = loop.train_step

    def losing(state, *args):
        if state.step == 6:
            raise error
        return make(state, *args)

    monkeypatch.setattr(loop, "train_step", losing)
    with pytest.raises(DeviceError, match=words) as caught:
        train(config, make_settings(), dataset, tmp_path / "parts")
    assert type(caught.value) is kind and "\n" not in str(caught.value)
    assert last_step(tmp_path / "parts").name == "step-000000004"
    assert (tmp_path / "parts" / "checkpoint" / "model.safetensors").exists()
    monkeypatch.setattr(loop, "train_step", make)
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert same(parts, whole)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to train on")
def test_a_run_on_a_gpu_learns_what_one_on_the_cpu_does(tmp_path):
    config = make_config(dilations=tiny_config().dilations)
    states = [
        train(config, make_settings(), make_dataset(), tmp_path / device.type, device=device)
        for device in (CPU, CUDA)
    ]
    assert states[1].best_bits == pytest.approx(states[0].best_bits, abs=0.01)
    resumed = train(config, make_settings(), make_dataset(), tmp_path / "cuda", True, device=CUDA)
    assert resumed.step == 12
