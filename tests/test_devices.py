"""Where a model runs, and the sentences of devices that are not there, too small or lost."""

import pytest
import torch

from wavenet.devices import choose_device, device_errors
from wavenet.engines.registry import device_for
from wavenet.errors import ConfigError, DeviceError, OutOfMemory


@pytest.fixture
def gpus(monkeypatch):
    """Give a function that says how many GPUs there are to be."""

    def have(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


@pytest.mark.parametrize(
    ("count", "name", "expected"),
    [
        (0, "auto", "cpu"),
        (1, "auto", "cuda"),
        (0, "cpu", "cpu"),
        (1, "cpu", "cpu"),
        (1, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_a_name_is_a_device(gpus, count, name, expected):
    gpus(count)
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("count", "name", "words"),
    [
        (0, "cuda", "the device cuda needs a CUDA GPU, and none was found here"),
        (0, "cuda:3", "the device cuda:3 needs a CUDA GPU"),
        (2, "cuda:2", "there is no GPU cuda:2 here; there are cuda:0 to cuda:1"),
        (1, "gpu", "the device 'gpu' is not known; choose auto, cpu, cuda or cuda:N"),
        (1, "cuda:-1", "is not known"),
        (1, "cuda:1; rm", "is not known"),
        (1, "", "is not known"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_a_sentence(gpus, count, name, words):
    gpus(count)
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")) as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "engine", "device", "expected"),
    [
        (1, "auto", "auto", "cuda"),
        (1, "cached", "auto", "cuda"),
        (1, "gpu", "auto", "cuda"),
        (1, "cpu", "auto", "cpu"),
        (1, "auto", "cpu", "cpu"),
        (2, "graph", "cuda:1", "cuda:1"),
        (0, "auto", "auto", "cpu"),
        (0, "cached", "auto", "cpu"),
        # as where Triton's interpreter stands in
        (0, "gpu", "cpu", "cpu"),
    ],
)
def test_an_engine_gets_the_device_that_it_is_for(gpus, count, engine, device, expected):
    gpus(count)
    assert device_for(engine, device) == torch.device(expected)


@pytest.mark.parametrize("engine", ["gpu", "graph"])
def test_an_engine_for_a_gpu_says_that_there_is_none(gpus, engine):
    gpus(0)
    with pytest.raises(ConfigError, match=f"the engine {engine} needs a CUDA GPU.*; install a dri"):
        device_for(engine)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nhint"), OutOfMemory, "CUDA out of mem"),
        (RuntimeError("[x] DefaultCPUAllocator: can't allocate"), OutOfMemory, "can't allocate"),
        (RuntimeError("Triton Error [CUDA]: out of memory"), OutOfMemory, "out of memory"),
        (MemoryError(), OutOfMemory, "it is all taken"),
        (
            torch.AcceleratorError("CUDA error: an illegal memory access\nCompile with"),
            DeviceError,
            r"the GPU was lost \(CUDA error: an illegal memory access\); .* kept; try again",
        ),
        (RuntimeError("Triton Error [CUDA]: illegal address"), DeviceError, "the GPU was lost"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), DeviceError, "was lost"),
    ],
)
def test_a_fault_of_a_device_is_one_sentence(error, kind, words):
    with pytest.raises(DeviceError, match=words) as caught, device_errors("try again"):
        raise error
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("CUDA error"), KeyError()]
)
def test_other_errors_are_bugs_and_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, device_errors():
        raise error
    assert caught.value is error
