"""On a ZeroGPU Space every run of the Generate tab borrows a GPU; anywhere else nothing changes.

There, the package `spaces` forks a worker that has a GPU for a minute. Arguments and results are
pickled on their way, and the worker goes on while the page still takes in what it made. The main
process never has a GPU: it keeps models on the CPU, and makes the sound itself where none can be
had. Caller: `app.py`, before the studio is built.
"""

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from wavenet.engines.registry import GPU_NAMES, device_for
from wavenet.errors import WaveNetError
from wavenet.generation.generate import warm_up
from wavenet.ui import jobs, live

# What starting a worker and compiling a kernel take, and what a second of sound does at most.
START_SECONDS = 20
SECONDS_PER_SECOND = 2
MAX_GPU_SECONDS = 60
Run = Callable[..., Iterator[tuple[Any, ...]]]
run_here: Run = live.run_live


def borrow_gpu() -> bool:
    """Let runs of the Generate tab borrow a GPU, where this is a ZeroGPU Space; tell whether."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return False
    try:
        import spaces
    except ImportError:
        return False
    # `spaces` makes torch promise a GPU to the main process, which has none. The worker gets
    # torch's own answer back.
    torch.cuda.is_available = lambda: False
    live.run_live = borrowing(spaces.GPU(duration=gpu_seconds)(run_there))
    return True


def borrowing(there: Run) -> Run:
    """Make a run of the page that works elsewhere, or here where that is not to be had."""

    def run_live(
        root: Path, stops: live.Stops, run: int, *controls: Any
    ) -> Iterator[tuple[Any, ...]]:
        engine = _named(root, run, *controls)["engine"]
        has_begun = engine == "cpu"
        try:
            with contextlib.closing(there(root, run, *controls)) as outputs:  # type: ignore[type-var]
                for output in outputs if not has_begun else ():
                    # The worker has its own memory: it cannot see that a run is to end.
                    if run in stops:
                        return
                    has_begun = True
                    yield output
            if engine != "cpu":
                return
        except Exception as error:  # a quota that is used up, a worker that died: all are its own
            if has_begun or engine in GPU_NAMES:
                raise
            print(f"no GPU to be had, so the CPU is used: {error}", file=sys.stderr)
        yield from run_here(root, stops, run, *controls)

    return run_live


def run_there(root: Path, run: int, *controls: Any) -> Iterator[tuple[Any, ...]]:
    """Perform a run in the worker; its files outlive it."""
    given = _named(root, run, *controls)
    if given["engine"] == "auto":
        given["engine"] = working_engine(root, given["name"])
    first = [value for name, value in given.items() if name != "chosen"]
    for output in run_here(*first, *given["chosen"]):
        yield tuple(map(_keep, output))


@lru_cache(maxsize=16)
def working_engine(root: Path, name: str | None) -> str:
    """Give the fastest engine that makes a sample here: kernels may not compile on this GPU."""
    if not torch.cuda.is_available():
        return "auto"
    for engine in (*GPU_NAMES, "cached"):
        try:
            warm_up(jobs.on_device(jobs.load_named(root, name), device_for(engine)), engine)
            return engine
        except WaveNetError as error:
            print(f"the engine {engine} is not used: {error}", file=sys.stderr)
        except Exception as error:  # whatever a compiler or a driver says
            print(f"the engine {engine} failed: {error!r}", file=sys.stderr)
    return "cpu"


def gpu_seconds(root: Path, run: int, *controls: Any) -> int:
    """Say how long a run needs the GPU at most: a shorter time waits less and costs less quota."""
    seconds = _named(root, run, *controls)["seconds"]
    wanted = seconds if isinstance(seconds, int | float) and seconds > 0 else 0
    return min(MAX_GPU_SECONDS, START_SECONDS + round(SECONDS_PER_SECOND * min(wanted, 1000)))


def _named(root: Path, run: int, *controls: Any) -> dict[str, Any]:
    """Give what a run is called with, by name."""
    bound = inspect.signature(run_here).bind(root, live.Stops(), run, *controls)
    bound.apply_defaults()
    return bound.arguments


def _keep(value: Any) -> Any:
    """Save the file of an output, which goes with the worker's run, where the page finds it."""
    if isinstance(value, dict) and isinstance(path := value.get("value"), str):
        return value | {"value": _keep(path)}
    if isinstance(value, str) and value.startswith(os.sep) and Path(value).is_file():
        return save_file_to_cache(value, get_upload_folder())
    return value
