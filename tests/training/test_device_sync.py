"""A step as on a GPU: no number is read from the device, and every tensor is on it."""

import copy
from dataclasses import replace

import pytest
import torch
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.test_fused_blocks import make_batch, make_model
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.model.nll import sum_nll
from wavenet.training import cpu_loss, loop
from wavenet.training.batches import MicroBatches
from wavenet.training.dataset import Dataset
from wavenet.training.prefetch import encode_batch
from wavenet.training.state import make_state
from wavenet.training.step_metrics import MetricsQueue
from wavenet.training.task import CodeLikelihoodTask, mean_nll

from . import CPU, make_config, make_settings

CUDA = torch.device("cuda")
# methods that return a number to Python, or a tensor whose size depends on the values
READING_METHODS = (
    *("item", "tolist", "cpu", "numpy", "nonzero"),
    *("__bool__", "__int__", "__float__", "__index__"),
)


@pytest.fixture
def gpu_path(monkeypatch):
    """Train as on a GPU."""
    monkeypatch.setattr(loop, "metrics_lag", lambda device: 1)
    monkeypatch.setattr(cpu_loss, "supports", lambda model: False)


class ReadingOperations(TorchDispatchMode):
    """Collects the operations that would wait for a GPU."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        if name.removeprefix("_") in self.NAMES or name in self.NAMES:
            self.found.append(name)
        indices = _tensor_indices(name, args)
        if any(isinstance(a, torch.Tensor) and a.dtype == torch.bool for a in indices):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def _tensor_indices(name, args):
    return args[1] if name.startswith(("index", "_index")) and isinstance(args[1], list) else ()


def list_reads(monkeypatch, work):
    """Return what some work reads from tensors."""
    found = []
    with monkeypatch.context() as patch:
        for name in READING_METHODS:
            real = getattr(torch.Tensor, name)

            def reading(self, *args, real=real, name=name, **kwargs):
                found.append((name, self.numel()))
                return real(self, *args, **kwargs)

            patch.setattr(torch.Tensor, name, reading)
        with ReadingOperations() as mode:
            work()
    return found + mode.found


def make_train_step(model, device=CPU):
    """Return a function that does one training step of the model with a batch."""
    task = CodeLikelihoodTask(make_config(), make_settings(precision="bf16"), Dataset())
    state = make_state(task, device)
    state.model, state.ema_model = model, copy.deepcopy(model)
    state.optimizers = [torch.optim.AdamW(model.parameters(), fused=True)]
    return lambda batch: loop.train_step(task, state, MicroBatches([batch], batch.targets))


MODELS = [
    {"conditions": "none"},
    {"conditions": "all"},
    {"conditions": "both", "output": LogisticOutput(components=2)},
    {"conditions": "frames", "output": GaussianOutput()},
]


@pytest.mark.parametrize("settings", MODELS, ids=["plain", "conditions", "logistic", "gaussian"])
def test_a_step_reads_nothing_from_the_device(monkeypatch, gpu_path, settings):
    model = make_model(**settings)
    batch = encode_batch(make_batch(model), model)
    train_step, queue = make_train_step(model), MetricsQueue(1)

    def step():
        queue.append(train_step(batch))

    step()  # creates the state of the optimizer
    # where in its recording each clip begins: always on the CPU
    assert list_reads(monkeypatch, step) == [("tolist", 3)]
    # the controls: the same function finds what is read
    assert ("item", 1) in list_reads(monkeypatch, lambda: batch.mask.sum().item())
    assert list_reads(monkeypatch, lambda: batch.codes[batch.mask])
    assert list_reads(monkeypatch, lambda: bool(batch.mask.any()))
    monkeypatch.setattr(loop, "metrics_lag", lambda device: 0)
    assert len(list_reads(monkeypatch, step)) > 1


@pytest.mark.parametrize("settings", MODELS, ids=["plain", "conditions", "logistic", "gaussian"])
def test_every_tensor_is_on_the_device_of_the_model(monkeypatch, settings):
    """On a fake device, a tensor of another device or a number that is read is an error."""
    host = make_model(**settings)
    batch = encode_batch(make_batch(host), host)
    hop, starts = host.config.condition_hop, batch.start.tolist()

    def tolist(tensor):
        assert tensor.device.type == "cpu" and tensor.shape == (3,), "waits for the GPU"
        return [start % hop for start in starts]

    monkeypatch.setattr(FakeTensor, "tolist", tolist)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            model = make_model(**settings)
        there = batch.to(CUDA)
        there = replace(there, conditioning=replace(there.conditioning, network=model.condition))
        loss = mean_nll(model, there)
        assert loss.device.type == "cuda"
        for wrong in ("codes", "mask", "conditioning"):
            if wrong == "conditioning" and settings["conditions"] == "none":
                continue
            moved = replace(there, **{wrong: getattr(batch, wrong)})
            if wrong == "conditioning":
                conditioning = replace(batch.conditioning, network=model.condition)
                moved = replace(there, conditioning=conditioning)
            with pytest.raises(Exception, match=r"two different devices|same device"):
                mean_nll(model, moved)


@pytest.mark.parametrize("output", [LogisticOutput(components=2), GaussianOutput()], ids=str)
def test_the_loss_by_mask_only_is_that_of_the_targets(output):
    model = make_model(output=output)
    batch = make_batch(model)
    conditioning = encode_batch(batch, model).conditioning
    params = model(batch.codes, conditioning, batch.start).transpose(1, 2).flatten(0, 1)
    codes, mask = batch.codes.flatten(), batch.mask.flatten()

    def nll(mask, mask_only):
        return sum_nll(model.distribution, params, codes, mask, mask_only)

    torch.testing.assert_close(nll(mask, True), nll(mask, False), rtol=1e-6, atol=0)
    assert abs(nll(torch.ones_like(mask), True) - nll(mask, False)) > 1  # negative control


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to wait for")
@pytest.mark.parametrize("settings", MODELS, ids=["plain", "conditions", "logistic", "gaussian"])
def test_a_step_on_a_gpu_never_waits(settings):
    model = make_model(**settings).cuda()
    pinned = encode_batch(make_batch(model), model).pinned()
    train_step, queue = make_train_step(model, CUDA), MetricsQueue(1)
    for mode in ("default", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            queue.append(train_step(pinned.to(CUDA)))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    records = queue.pop(flush=True)
    assert [record["loss_bits"] for record in records] == pytest.approx([8, 8], abs=3)
