"""Prefetching for a GPU: the same batches in the same order, few in advance; errors are raised."""

import threading
from contextlib import nullcontext

import pytest
import torch

from tests.training.test_fused_blocks import make_model
from wavenet.errors import DataError
from wavenet.training import prefetch, task
from wavenet.training.batches import training_batches
from wavenet.training.prefetch import EncodedBatch, prefetch_batches

from . import CODEC, CPU, make_clip, make_config, make_dataset, make_settings, train
from .test_resuming import are_equal

CUDA = torch.device("cuda")


@pytest.fixture
def pinned(monkeypatch):
    """Prefetch as for a GPU, without one; return (address, thread) of each pinned tensor."""
    found = []

    def pin(tensor):
        found.append((tensor.data_ptr(), threading.current_thread().name))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(EncodedBatch, "to", lambda batch, device: batch)
    return found


def stream(clips, first_step=0):
    return training_batches(clips, CODEC, make_config().model, 250, 3.0, 4, first_step)


def test_a_gpu_gets_the_same_batches_in_the_same_order(pinned):
    clips, model = make_dataset().train, make_model(conditions="none")
    expected = prefetch_batches(stream(clips, 3), model, CPU)
    found = prefetch_batches(stream(clips, 3), model, CUDA)
    for _ in range(20):
        (one,), (other,) = next(expected).batches, next(found).batches
        assert torch.equal(one.codes, other.codes) and torch.equal(one.mask, other.mask)
        assert one.targets == other.targets == int(one.mask.sum())
    found.close()
    threads = {name for _, name in pinned}
    assert len(threads) == 1 and threads != {threading.current_thread().name}
    assert not [t for t in threading.enumerate() if t.name in threads]
    # codes, mask and five tensors of the conditioning of each, prefetched ones included
    assert 7 * 20 <= len(pinned) <= 7 * (20 + prefetch.PREFETCHED_STEPS + 1)


def test_few_batches_are_made_in_advance(pinned):
    made = []

    def counted():
        for step in stream(make_dataset().train):
            made.append(step)
            yield step

    steps = prefetch_batches(counted(), make_model(conditions="none"), CUDA)
    for taken in range(1, 6):
        next(steps)
        assert taken <= len(made) <= taken + prefetch.PREFETCHED_STEPS
    steps.close()


def test_an_error_in_the_thread_is_raised_where_its_step_is_requested(pinned):
    with pytest.raises(DataError, match="no clip"):
        next(prefetch_batches(stream([]), make_model(conditions="none"), CUDA))

    def failing():
        yield from [next(stream([make_clip(60)]))] * 2
        raise KeyError("label")

    steps = prefetch_batches(failing(), make_model(conditions="none"), CUDA)
    next(steps), next(steps)
    with pytest.raises(KeyError):
        next(steps)


def test_a_run_with_prefetching_is_the_same_run(tmp_path, pinned, monkeypatch):
    config, dataset = make_config(), make_dataset()
    plain = train(config, make_settings(), dataset, tmp_path / "plain")
    monkeypatch.setattr(
        task,
        "prefetch_batches",
        lambda steps, model, device: prefetch_batches(steps, model, CUDA),
    )
    threaded = train(config, make_settings(), dataset, tmp_path / "threaded")
    assert pinned
    assert are_equal(plain, threaded)
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]
