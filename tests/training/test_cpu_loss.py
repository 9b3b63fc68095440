"""The clipwise loss: the same for any number of threads, and errors in a thread are raised."""

import threading

import pytest
import torch

from tests.training.test_fused_blocks import differences, gradients, make_batch, make_model
from wavenet.training import cpu_loss

from . import batch_nll


@pytest.fixture
def set_threads():
    """Return a function that sets the number of torch's threads; restore it in the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("bf16", [False, True])
def test_loss_and_gradients_do_not_depend_on_the_threads(set_threads, count, bf16):
    """8 threads for 5 clips: some products run on more than one."""
    model = make_model(conditions="all")
    batch = make_batch(model, (300, 131, 256, 90, 128), (0, 45, 7, 0, 3))
    results = []
    for n in (1, count):
        set_threads(n)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = batch_nll(model, batch)
        results.append((loss.item(), gradients(model, loss)))
        assert torch.get_num_threads() == n
    (one, expected), (other, found) = results
    assert other == pytest.approx(one, abs=1e-6)
    assert max(differences(found, expected).values()) < 1e-5
    # negative control: without the third clip
    batch.mask[2] = False
    assert abs(batch_nll(model, batch).item() - one) > 1e-4


def test_as_many_clips_run_at_once_as_there_are_threads(set_threads):
    """Pairs of clips meet at a barrier, which clips that run one after the other never pass."""
    set_threads(2)
    pair = threading.Barrier(2, timeout=20)
    used = []

    def clip_loss(n):
        if n < 4:
            pair.wait()
        used.append(torch.get_num_threads())
        return torch.tensor(float(n)), []

    assert [int(loss) for loss, _ in cpu_loss._compute_clips(clip_loss, 5)] == [0, 1, 2, 3, 4]
    assert used == [1, 1, 1, 1, 2]  # the last clip has both threads


def test_no_more_clips_run_at_once_than_there_are_threads(set_threads):
    set_threads(2)
    running, most = [], []
    pair = threading.Barrier(2, timeout=20)

    def clip_loss(n):
        running.append(n)
        pair.wait()  # both of a pair have been counted
        most.append(len(running))
        pair.wait()
        running.remove(n)
        return torch.tensor(0.0), []

    cpu_loss._compute_clips(clip_loss, 6)
    assert most == [2] * 6


def test_an_error_in_a_thread_reaches_the_caller(set_threads):
    set_threads(2)
    model = make_model()
    batch = make_batch(model)
    batch.codes[1, 5] = 256  # not below n_classes
    with pytest.raises(IndexError):
        batch_nll(model, batch)
    assert_new_threads_use(2)


def test_new_threads_use_all_threads_of_torch_again(set_threads):
    set_threads(2)
    model = make_model(conditions="none")
    batch_nll(model, make_batch(model))
    assert_new_threads_use(2)


def assert_new_threads_use(count):
    """Check how many of torch's threads a new thread uses."""
    with cpu_loss.ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == count
