"""The loss by clips: the same whatever the number of threads, and faults in a thread are heard."""

import pytest
import torch

from tests.training.test_fused_blocks import CPU, differences, gradients, make_batch, make_model
from wavenet.training import cpu_loss, loop


@pytest.fixture
def threads():
    """Set the number of torch's threads; put it back in the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("bf16", [False, True])
def test_loss_and_gradients_do_not_depend_on_the_threads(threads, count, bf16):
    """8 threads for 5 clips: some products run on more than one."""
    model = make_model(conditions="all")
    batch = make_batch(model, (300, 131, 256, 90, 128), (0, 45, 7, 0, 3))
    found = []
    for n in (1, count):
        threads(n)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loop.masked_nll(model, batch, CPU)
        found.append((loss.item(), gradients(model, loss)))
        assert torch.get_num_threads() == n
    (one, right), (other, same) = found
    assert other == pytest.approx(one, abs=1e-6)
    assert max(differences(same, right).values()) < 1e-5
    # control: without the third clip
    batch.mask[2] = False
    assert abs(loop.masked_nll(model, batch, CPU).item() - one) > 1e-4


def test_as_many_clips_run_at_once_as_there_are_threads(threads, monkeypatch):
    threads(2)
    running, most, used = [], [], []

    def work(n):
        running.append(n)
        most.append(len(running))
        used.append(torch.get_num_threads())
        running.remove(n)
        return torch.tensor(float(n)), []

    assert [int(loss) for loss, _ in cpu_loss._run(work, 5)] == [0, 1, 2, 3, 4]
    assert max(most) <= 2
    assert used[:4] == [1] * 4 and used[4] == 2  # the last one has all to itself


def test_an_error_in_a_thread_reaches_the_caller(threads):
    threads(2)
    model = make_model()
    batch = make_batch(model)
    batch.codes[1, 5] = 256  # outside the alphabet
    with pytest.raises(IndexError):
        loop.masked_nll(model, batch, CPU)
    new_threads_have(2)


def test_new_threads_have_all_threads_of_torch_again(threads):
    threads(2)
    model = make_model(conditions="none")
    loop.masked_nll(model, make_batch(model), CPU)
    new_threads_have(2)


def new_threads_have(count):
    with cpu_loss.ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == count
