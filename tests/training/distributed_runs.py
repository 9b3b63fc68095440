"""What two processes do for `test_ranks`; torchrun starts this module in each of them.

All in one start, which takes longer than the runs: torch is imported twice.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

from wavenet.errors import TrainingError
from wavenet.training import loop, snapshots
from wavenet.training.dataset import Dataset
from wavenet.training.distributed import init_ranks

from . import CPU, make_config, make_dataset, make_settings

LABELS = {"digit": "1"}


def digest(state):
    """Name the content of every tensor of a state, to the last bit."""
    total = hashlib.sha256()
    for name, tensor in sorted(snapshots._tensors(state).items()):
        total.update(name.encode() + tensor.numpy(force=True).tobytes())
    return total.hexdigest()


def threads():
    """Name the threads of this process, where the system tells."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


def main(out):
    """Make the runs, and leave what each process found in OUT/RANK.json."""
    torch.set_num_threads(1)
    with init_ranks() as ranks:
        config, dataset, digests = make_config(), make_dataset(), {}

        def run(name, resume=False, stop=lambda: False, **settings):
            state = loop.train(
                config, make_settings(**settings), dataset, out / name, resume,
                should_stop=stop, device=CPU, ranks=ranks,
            )  # fmt: skip
            digests[name] = digest(state)
            return state

        run("fp32")
        run("bf16", precision="bf16")
        run("parts", accumulate=2)
        run("few", samples_per_step=1)  # a clip a step: nothing is left for the other process
        # only the second process wishes to stop
        stopped = run("stopped", stop=lambda: ranks.rank == 1).step
        run("stopped", resume=True)
        run("afterwards", stop=lambda: ranks.rank == 1)

        # the control: every process counts the same, however many targets it has
        nll = loop.fed_nll
        loop.fed_nll = lambda model, fed: nll(model, fed) * 250 / fed.targets / 2
        run("wrong")
        loop.fed_nll = nll

        try:
            other = Dataset(train=dataset.train[ranks.rank :])
            loop.train(config, make_settings(), other, out / "other", device=CPU, ranks=ranks)
            words = ""
        except TrainingError as error:
            words = str(error)
        during = threads()
        ranks.meet()
    found = {"digests": digests, "stopped": stopped, "words": words}
    found |= {"during": during, "afterwards": threads()}
    (out / f"{ranks.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
