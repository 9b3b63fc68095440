"""The trainings of two processes for `test_distributed`; torchrun starts this module in each.

All run after one start, which takes longer than the trainings: torch is imported twice.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

from wavenet.errors import TrainingError
from wavenet.training import snapshots, task
from wavenet.training.dataset import Dataset
from wavenet.training.distributed import init_ranks

from . import make_config, make_dataset, make_settings, train


def digest(state):
    """Return a hash of every tensor of a state."""
    total = hashlib.sha256()
    for name, tensor in sorted(snapshots.state_tensors(state).items()):
        total.update(name.encode() + tensor.numpy(force=True).tobytes())
    return total.hexdigest()


def thread_names():
    """Return the names of this process's threads; empty if the system does not report them."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


def main(out):
    """Run the trainings, and write the results of each process to OUT/RANK.json."""
    torch.set_num_threads(1)
    with init_ranks() as ranks:
        config, dataset, digests = make_config(), make_dataset(), {}

        def run(name, resume=False, stop=lambda: False, **settings):
            state = train(
                config, make_settings(**settings), dataset, out / name, resume,
                should_stop=stop, ranks=ranks,
            )  # fmt: skip
            digests[name] = digest(state)
            return state

        run("fp32")
        run("bf16", precision="bf16")
        run("accumulated", accumulation_steps=2)
        run("single", samples_per_step=1)  # one clip per step: none for the other process
        # only the second process asks to stop
        stopped = run("stopped", stop=lambda: ranks.rank == 1).step
        run("stopped", resume=True)
        run("continued", stop=lambda: ranks.rank == 1)

        # negative control: every process has the same weight, however many targets it has
        mean_nll = task.mean_nll
        task.mean_nll = lambda model, batch, truncation=None: (
            mean_nll(model, batch) * 250 / batch.targets / 2
        )
        run("wrong")
        task.mean_nll = mean_nll

        try:
            other = Dataset(train=dataset.train[ranks.rank :])
            train(config, make_settings(), other, out / "other", ranks=ranks)
            message = ""
        except TrainingError as error:
            message = str(error)
        during = thread_names()
        ranks.barrier()
    results = {"digests": digests, "stopped": stopped, "message": message}
    results |= {"threads_during": during, "threads_after": thread_names()}
    (out / f"{ranks.rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
