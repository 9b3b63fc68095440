"""Jobs of the Generate tab on the GPU of a ZeroGPU Space; on other machines nothing changes.

On ZeroGPU the package `spaces` forks a worker that has a GPU for a minute. Arguments and results
are pickled; the worker does not wait until the page has processed a result. The main process never
has a GPU: it keeps models on the CPU, and generates on the CPU if no GPU is available. Called by
`app.py`, before the studio is built.
"""

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from audio_utils.errors import AudioError
from wavenet.engines.registry import GPU_NAMES, device_for
from wavenet.errors import WaveNetError
from wavenet.generation.generate import warm_up
from wavenet.terminal import print_message
from wavenet.ui import generate_tab
from wavenet.ui.checkpoint_library import load_checkpoint, move_to_device
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.generation_job import MAX_SECONDS
from wavenet.ui.uploads import read_upload

START_SECONDS = 20  # longest time to start a worker and compile a kernel
COMPUTE_PER_AUDIO_SECOND = 2  # longest time to generate one second of audio, s
MAX_GPU_SECONDS = 60
Run = Callable[..., Iterator[tuple[Any, ...]]]
run_locally: Run = generate_tab.run_generation


def use_zerogpu() -> bool:
    """Run the Generate tab on allocated GPUs if this is a ZeroGPU Space; return whether it is."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return False
    try:
        import spaces
    except ImportError:
        return False
    # `spaces` makes torch report a GPU in the main process, which has none. In the worker torch
    # reports correctly.
    torch.cuda.is_available = lambda: False
    run_on_gpu = spaces.GPU(duration=gpu_seconds)(run_in_worker)
    generate_tab.run_generation = with_local_fallback(run_on_gpu)
    return True


def with_local_fallback(run_on_gpu: Run) -> Run:
    """Return a function that uses the GPU worker, or this process if no worker is available."""

    def run_generation(
        root: Path, stop_requests: StopRequests, job_number: int, *controls: Any
    ) -> Iterator[tuple[Any, ...]]:
        engine = _arguments_by_name(root, job_number, *controls)["engine"]
        if engine == "cpu":
            yield from run_locally(root, stop_requests, job_number, *controls)
            return
        has_begun = False
        try:
            with contextlib.closing(run_on_gpu(root, job_number, *controls)) as outputs:  # type: ignore[type-var]
                for output in outputs:
                    # The worker has separate memory: it cannot read stop requests.
                    if job_number in stop_requests:
                        return
                    has_begun = True
                    yield output
            return
        except (
            Exception
        ) as error:  # `spaces` has its own errors: the quota is used up, the worker died
            if has_begun or engine in GPU_NAMES:
                raise
            print_message(f"no GPU is available, using the CPU: {error}")
        yield from run_locally(root, stop_requests, job_number, *controls)

    return run_generation


def run_in_worker(root: Path, job_number: int, *controls: Any) -> Iterator[tuple[Any, ...]]:
    """Run in the worker, and copy its files to a folder that outlives the worker."""
    arguments = _arguments_by_name(root, job_number, *controls)
    if arguments["engine"] == "auto":
        arguments["engine"] = working_engine(root, arguments["name"])
    first = [value for name, value in arguments.items() if name != "conditions"]
    for output in run_locally(*first, *arguments["conditions"]):
        yield tuple(map(_save_files, output))


@lru_cache(maxsize=16)
def working_engine(root: Path, name: str | None) -> str:
    """Return the fastest engine that works on this GPU: some kernels may not compile."""
    if not torch.cuda.is_available():
        return "auto"
    for engine in (*GPU_NAMES, "cached"):
        try:
            warm_up(move_to_device(load_checkpoint(root, name), device_for(engine)), engine)
            return engine
        except WaveNetError as error:
            print_message(f"the engine {engine} is not used: {error}")
        except Exception as error:  # compilers and drivers have their own errors
            print_message(f"the engine {engine} failed: {error!r}")
    return "cpu"


def gpu_seconds(root: Path, job_number: int, *controls: Any) -> int:
    """Return the seconds for which a job needs the GPU at most.

    A smaller value shortens the queue and uses less quota.
    """
    length = _clip_seconds(root, _arguments_by_name(root, job_number, *controls))
    compute = round(COMPUTE_PER_AUDIO_SECOND * min(length, 1000))
    return min(MAX_GPU_SECONDS, START_SECONDS + compute)


def _clip_seconds(root: Path, arguments: dict[str, Any]) -> float:
    """Return the length of a clip; 0 if the job will end with an error."""
    seconds, source = arguments["seconds"], arguments["source"]
    try:
        if load_checkpoint(root, arguments["name"]).config.model.locals:
            # The recording determines the length; the hidden length field may have any value.
            recording = read_upload(source, None, MAX_SECONDS, warn=False) if source else None
            return recording.waveform.numel() / recording.sample_rate if recording else 0
    except (WaveNetError, AudioError):
        return 0
    return seconds if isinstance(seconds, int | float) and seconds > 0 else 0


def _arguments_by_name(root: Path, job_number: int, *controls: Any) -> dict[str, Any]:
    bound = inspect.signature(run_locally).bind(root, StopRequests(), job_number, *controls)
    bound.apply_defaults()
    return bound.arguments


def _save_files(value: Any) -> Any:
    """Return an output; its file is copied to a folder that outlives the worker."""
    if isinstance(value, dict) and isinstance(path := value.get("value"), str):
        return value | {"value": _save_files(path)}
    if isinstance(value, str) and value.startswith(os.sep) and Path(value).is_file():
        return save_file_to_cache(value, get_upload_folder())
    return value
