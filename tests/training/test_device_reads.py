"""A step as on a GPU: no number is asked of the device, and every tensor lies on it."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.test_stack import make_batch, make_model
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.training import loop
from wavenet.training.batches import Portion
from wavenet.training.clips import nll
from wavenet.training.feed import gather
from wavenet.training.results import Results

from . import CPU, make_config, make_settings

CUDA = torch.device("cuda")
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
