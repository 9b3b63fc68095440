"""The device of a model, and the errors of devices that are missing, full or lost."""

import pytest
import torch

from wavenet import devices
from wavenet.devices import choose_device, device_errors
from wavenet.engines.registry import device_for
from wavenet.errors import ConfigError, DeviceError, OutOfMemory


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that sets the number of GPUs that torch reports."""

    def set_count(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return set_count


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
def test_each_name_selects_a_device(gpus, count, name, expected):
    gpus(count)
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("count", "name", "words"),
    [
        (0, "cuda", "the device cuda needs a CUDA GPU"),
        (0, "cuda:3", "the device cuda:3 needs a CUDA GPU"),
        (2, "cuda:2", "no GPU cuda:2.*cuda:0 to cuda:1"),
        (1, "gpu", "unknown device 'gpu'.*auto, cpu, cuda or cuda:N"),
        (1, "cuda:-1", "unknown device"),
        (1, "cuda:1; rm", "unknown device"),
        (1, "", "unknown device"),
    ],
)
def test_unknown_and_missing_devices_are_refused(gpus, count, name, words):
    gpus(count)
    with pytest.raises(ConfigError, match=words) as caught:
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
        # as in the tests with Triton's interpreter
        (0, "gpu", "cpu", "cpu"),
    ],
)
def test_each_engine_gets_a_device_that_it_supports(gpus, count, engine, device, expected):
    gpus(count)
    assert device_for(engine, device) == torch.device(expected)


@pytest.mark.parametrize("engine", ["gpu", "graph"])
def test_a_gpu_engine_without_a_gpu_is_refused(gpus, engine):
    gpus(0)
    with pytest.raises(ConfigError, match=f"the engine {engine} needs a CUDA GPU"):
        device_for(engine)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nhint"), OutOfMemory, "CUDA out of mem"),
        (RuntimeError("[x] DefaultCPUAllocator: can't allocate"), OutOfMemory, "can't allocate"),
        (RuntimeError("Triton Error [CUDA]: out of memory"), OutOfMemory, "out of memory"),
        (MemoryError(), OutOfMemory, "too little memory"),
        (
            torch.AcceleratorError("CUDA error: an illegal memory access\nCompile with"),
            DeviceError,
            r"the GPU was lost \(CUDA error: an illegal memory access\); .*; try again",
        ),
        (RuntimeError("Triton Error [CUDA]: illegal address"), DeviceError, "the GPU was lost"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), DeviceError, "was lost"),
    ],
)
def test_device_errors_are_converted_to_one_sentence(error, kind, words):
    with pytest.raises(DeviceError, match=words) as caught, device_errors("try again"):
        raise error
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("CUDA error"), KeyError()]
)
def test_other_errors_are_not_converted(error):
    with pytest.raises(type(error)) as caught, device_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(("quota", "cores"), [("100000 100000", 1), ("max 100000", 2), ("5 9", 1)])
def test_a_cpu_quota_limits_the_cores(monkeypatch, tmp_path, quota, cores):
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(devices, "CPU_QUOTA", tmp_path / "cpu.max")
    assert devices.available_cores() == 2
    (tmp_path / "cpu.max").write_text(quota)
    assert devices.available_cores() == cores
