"""The feed of a GPU: the same batches in the same order, few ahead, and faults come through."""

import threading
from contextlib import nullcontext

import pytest
import torch

from tests.training.test_fused_blocks import make_model
from wavenet.errors import DataError
from wavenet.training import loop, snapshots
from wavenet.training import prefetch as feeding
from wavenet.training.batches import training_batches
from wavenet.training.loop import train
from wavenet.training.prefetch import DeviceBatch, prefetch_batches

from . import CPU, make_clip, make_config, make_dataset, make_settings

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    monkeypatch.setattr(loop, "choose_device", lambda: CPU)
    torch.set_num_threads(1)


def same(one, other):
    a, b = snapshots._tensors(one), snapshots._tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def pinning(monkeypatch):
    """Let a thread of the feed work as for a GPU; list what was pinned, and in which threads."""
    pinned = []

    def pin(tensor):
        pinned.append((tensor.data_ptr(), threading.current_thread().name))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(DeviceBatch, "to", lambda fed, device: fed)
    return pinned


def stream(clips, first=0):
    return training_batches(clips, 8, make_config().model, 250, 3.0, 4, first)


def test_the_feed_of_a_gpu_gives_the_same_batches_in_the_same_order(pinning):
    clips, model = make_dataset().train, make_model(conditions="none")
    expected = prefetch_batches(stream(clips, 3), model, CPU)
    found = prefetch_batches(stream(clips, 3), model, CUDA)
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

    with_thread = prefetch_batches(counted(), make_model(conditions="none"), CUDA)
    for taken in range(1, 6):
        next(with_thread)
        assert taken <= len(made) <= taken + feeding.AHEAD
    with_thread.close()


def test_a_fault_in_the_thread_of_a_feed_is_raised_where_it_is_asked(pinning):
    with pytest.raises(DataError, match="no clip"):
        next(prefetch_batches(stream([]), make_model(conditions="none"), CUDA))

    def breaking():
        yield from [next(stream([make_clip(60)]))] * 2
        raise KeyError("label")

    broken = prefetch_batches(breaking(), make_model(conditions="none"), CUDA)
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
