"""Training as on a GPU: nobody waits for the device, and nothing is learnt otherwise than before.

There is none here. So the way of a GPU runs on the CPU, with `lateness` set to 1, and where it
reads a number is counted; a fake device of torch finds tensors that lie on the wrong one.
"""

import json
import threading
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import tiny_config
from tests.training.test_stack import make_batch, make_model
from wavenet.config import GaussianOutput, LogisticOutput
from wavenet.errors import DataError, DeviceError, OutOfMemory, TrainingError
from wavenet.training import feed as feeding
from wavenet.training import loop, snapshots
from wavenet.training.batches import Portion, batches
from wavenet.training.clips import nll
from wavenet.training.feed import Fed, feed, gather
from wavenet.training.loop import train
from wavenet.training.results import Result, Results
from wavenet.training.schedule import in_bf16, lateness

from . import CPU, make_clip, make_config, make_dataset, make_settings

CUDA = torch.device("cuda")
LABELS = {"digit": "1"}
# how Python asks for a number, or for how many there are
READS = (
    "item",
    "tolist",
    "cpu",
    "numpy",
    "nonzero",
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
)


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    monkeypatch.setattr(loop, "choose_device", lambda: CPU)
    torch.set_num_threads(1)


@pytest.fixture
def late(monkeypatch):
    """Take the way of a GPU."""
    monkeypatch.setattr(loop, "lateness", lambda device: 1)


def lines(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "samples_per_second"} for record in records]


def same(one, other):
    a, b = snapshots._tensors(one), snapshots._tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def last_step(folder):
    return sorted(folder.glob("step-*"))[-1].name


class Reading(TorchDispatchMode):
    """Counts the operations that a GPU would have to be waited for."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        if name.removeprefix("_") in self.WAITING or name in self.WAITING:
            self.found.append(name)
        if any(isinstance(a, torch.Tensor) and a.dtype == torch.bool for a in _indices(name, args)):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def _indices(name, args):
    return args[1] if name.startswith(("index", "_index")) and isinstance(args[1], list) else ()


def count_reads(monkeypatch, work):
    """Run some work; list what it read of tensors."""
    found = []
    with monkeypatch.context() as patch:
        for name in READS:
            real = getattr(torch.Tensor, name)

            def reading(self, *args, real=real, name=name, **kwargs):
                found.append((name, self.numel()))
                return real(self, *args, **kwargs)

            patch.setattr(torch.Tensor, name, reading)
        with Reading() as mode:
            work()
    return found + mode.found


MODELS = [
    {"conditions": "none"},
    {"conditions": "all"},
    {"conditions": "both", "output": LogisticOutput(components=2)},
    {"conditions": "frames", "output": GaussianOutput()},
]


@pytest.mark.parametrize("settings", MODELS, ids=["plain", "conditions", "logistic", "gaussian"])
def test_a_step_reads_nothing_of_the_device(monkeypatch, late, settings):
    model = make_model(**settings)
    fed = gather(make_batch(model), model)
    whole = Portion([fed], fed.targets)
    state = loop.make_state(make_config(), make_settings())
    state.model, state.average = model, make_model(**settings)
    state.optimizers = [torch.optim.AdamW(model.parameters(), fused=True)]
    accelerator, results = loop.make_accelerator(CPU), Results(1)

    def step():
        results.add(loop.train_step(state, whole, make_settings(precision="bf16"), accelerator))

    step()  # makes the state of the optimiser
    # where in its clip each row begins, which lies on the CPU wherever the model is
    assert count_reads(monkeypatch, step) == [("tolist", 3)]
    # the controls: the same count finds what is read
    assert ("item", 1) in count_reads(monkeypatch, lambda: fed.mask.sum().item())
    assert count_reads(monkeypatch, lambda: fed.codes[fed.mask])
    assert count_reads(monkeypatch, lambda: bool(fed.mask.any()))
    monkeypatch.setattr(loop, "lateness", lambda device: 0)
    assert len(count_reads(monkeypatch, step)) > 1


@pytest.mark.parametrize("settings", MODELS, ids=["plain", "conditions", "logistic", "gaussian"])
def test_everything_lies_on_the_device_of_the_model(monkeypatch, settings):
    """On a fake device: a tensor of another one, or a number that is read, is an error."""
    host = make_model(**settings)
    fed = gather(make_batch(host), host)
    hop, starts = host.config.condition_hop, fed.start.tolist()

    def tolist(tensor):
        assert tensor.device.type == "cpu" and tensor.shape == (3,), "a GPU is waited for"
        return [start % hop for start in starts]

    monkeypatch.setattr(FakeTensor, "tolist", tolist)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            model = make_model(**settings)
        there = fed.to(CUDA)
        there = replace(there, conditioning=replace(there.conditioning, network=model.condition))
        loss = loop.fed_nll(model, there)
        assert loss.device.type == "cuda"
        for wrong in ("codes", "mask", "conditioning"):
            if wrong == "conditioning" and settings["conditions"] == "none":
                continue
            moved = replace(there, **{wrong: getattr(fed, wrong)})
            if wrong == "conditioning":
                conditioning = replace(fed.conditioning, network=model.condition)
                moved = replace(there, conditioning=conditioning)
            with pytest.raises(Exception, match=r"two different devices|same device"):
                loop.fed_nll(model, moved)


@pytest.mark.parametrize("output", [LogisticOutput(components=2), GaussianOutput()], ids=str)
def test_the_loss_of_the_whole_is_that_of_the_targets(output):
    model = make_model(output=output)
    batch = make_batch(model)
    conditioning = model.conditioning(batch.labels, batch.totals, batch.local, batch.first)
    params = model(batch.codes, conditioning, batch.start).transpose(1, 2).flatten(0, 1)
    rest = params, batch.codes.flatten(), batch.mask.flatten()
    picked, whole = nll(model, *rest), nll(model, *rest, whole=True)
    torch.testing.assert_close(whole, picked, rtol=1e-6, atol=0)
    every = torch.ones_like(batch.mask).flatten()
    assert abs(nll(model, *rest[:2], every, whole=True) - picked) > 1  # the control


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
    assert in_bf16("auto", CUDA) and in_bf16("auto", CPU) == pays
    assert in_bf16("bf16", CPU) and not in_bf16("fp32", CUDA)
    assert (lateness(CPU), lateness(CUDA)) == (0, 1)


def test_only_the_newest_steps_are_waited_for():
    results = Results(2)
    shown = []
    for step in range(1, 7):
        record = {"step": step, "samples": 1}
        results.add(Result(record, torch.tensor([float(step), 0.5])))
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
    assert last_step(tmp_path / "parts") == "step-000000004"
    assert (tmp_path / "parts" / "checkpoint" / "model.safetensors").exists()
    monkeypatch.setattr(loop, "train_step", make)
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert same(parts, whole)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


@pytest.fixture
def pinning(monkeypatch):
    """Let a thread of the feed work as for a GPU; list what was pinned, and in which threads."""
    pinned = []

    def pin(tensor):
        pinned.append((tensor.data_ptr(), threading.current_thread().name))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(Fed, "to", lambda fed, device: fed)
    return pinned


def stream(clips, first=0):
    return batches(clips, 8, make_config().model, 250, 3.0, 4, first)


def test_the_feed_of_a_gpu_gives_the_same_batches_in_the_same_order(pinning):
    clips, model = make_dataset().train, make_model(conditions="none")
    expected = feed(stream(clips, 3), model, CPU)
    found = feed(stream(clips, 3), model, CUDA)
    for _ in range(20):
        (one,), (other,) = next(expected).parts, next(found).parts
        assert torch.equal(one.codes, other.codes) and torch.equal(one.mask, other.mask)
        assert one.targets == other.targets == int(one.mask.sum())
    found.close()
    threads = {name for _, name in pinning}
    assert len(threads) == 1 and threads != {threading.current_thread().name}
    assert not [t for t in threading.enumerate() if t.name in threads]
    # codes, mask and five of the conditions of each, those made ahead included
    assert 7 * 20 <= len(pinning) <= 7 * (20 + feeding.AHEAD + 1)


def test_a_feed_makes_few_batches_ahead(pinning):
    made = []

    def counted():
        for batch in stream(make_dataset().train):
            made.append(batch)
            yield batch

    with_thread = feed(counted(), make_model(conditions="none"), CUDA)
    for taken in range(1, 6):
        next(with_thread)
        assert taken <= len(made) <= taken + feeding.AHEAD
    with_thread.close()


def test_a_fault_in_the_thread_of_a_feed_is_raised_where_it_is_asked(pinning):
    with pytest.raises(DataError, match="no clip"):
        next(feed(stream([]), make_model(conditions="none"), CUDA))

    def breaking():
        yield from [next(stream([make_clip(60)]))] * 2
        raise KeyError("label")

    broken = feed(breaking(), make_model(conditions="none"), CUDA)
    next(broken), next(broken)
    with pytest.raises(KeyError):
        next(broken)


def test_a_run_through_the_feed_of_a_gpu_is_the_same_run(tmp_path, pinning, monkeypatch):
    config, dataset = make_config(), make_dataset()
    plain = train(config, make_settings(), dataset, tmp_path / "plain")
    real = loop.feed
    monkeypatch.setattr(loop, "feed", lambda found, model, device: real(found, model, CUDA))
    threaded = train(config, make_settings(), dataset, tmp_path / "threaded")
    assert pinning
    assert same(plain, threaded)
    assert not [t for t in threading.enumerate() if t.name.startswith("feed")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to wait for")
@pytest.mark.parametrize("settings", MODELS, ids=["plain", "conditions", "logistic", "gaussian"])
def test_a_real_step_waits_for_nothing(settings):
    model = make_model(**settings).cuda()
    fed = gather(make_batch(model), model).pinned()
    state = loop.make_state(make_config(), make_settings(), device=CUDA)
    state.model, state.average = model, make_model(**settings).cuda()
    state.optimizers = [torch.optim.AdamW(model.parameters(), fused=True)]
    accelerator, results = loop.make_accelerator(CUDA), Results(1)
    for mode in ("default", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            whole = Portion([fed.to(CUDA)], fed.targets)
            step = loop.train_step(state, whole, make_settings(precision="bf16"), accelerator)
            results.add(step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    records = results.take(everything=True)
    assert [record["loss_bits"] for record in records] == pytest.approx([8, 8], abs=3)


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
