"""Jobs of the Generate tab on the GPU of a ZeroGPU Space; on other machines nothing changes.

On ZeroGPU the package `spaces` forks a worker that has a GPU for a minute. Arguments and results
are pickled; the worker does not wait until the page has processed a result. The main process never
has a GPU: it keeps models on the CPU, and generates on the CPU if no GPU is available. Called by
`app.py`, before the studio is built.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import torch

from wavenet.checkpoint import load
from wavenet.devices import DEVICE_VARIABLE
from wavenet.engines.registry import GPU_NAMES
from wavenet.errors import WaveNetError
from wavenet.generation.checkpoint_engine import make_checkpoint_engine
from wavenet.generation.generate import Chunk, generate, warm_up
from wavenet.generation.request import GenerationRequest
from wavenet.sampling import SamplingConfig
from wavenet.terminal import print_message
from wavenet.ui.generate.generate_events import Start, start_here
from wavenet.ui.generate.generation_job import GenerationJob

START_SECONDS = 20  # longest time to start a worker and compile a kernel
COMPUTE_PER_AUDIO_SECOND = 2  # longest time to generate one second of audio, s
MAX_GPU_SECONDS = 60
# Generates clips in a worker: seconds of audio, folder of the checkpoint, requests, sampling, name
# of the engine.
RunOnGpu = Callable[
    [float, Path, Sequence[GenerationRequest], SamplingConfig, str], Iterator[Chunk]
]


def choose_start() -> Start:
    """Return what generates the clips of a job: GPU workers if this is a ZeroGPU Space."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return start_here
    try:
        import spaces
    except ImportError:
        return start_here
    # `spaces` makes torch report a GPU in the main process, which has none.
    os.environ[DEVICE_VARIABLE] = "cpu"
    return with_local_fallback(spaces.GPU(duration=gpu_seconds)(run_in_worker))


def with_local_fallback(run_on_gpu: RunOnGpu) -> Start:
    """Return a function that uses the GPU worker, or this process if no worker is available."""

    def start(job: GenerationJob) -> Iterator[Chunk]:
        if job.requested_engine == "cpu":
            yield from job.start()
            return
        seconds = job.samples / job.sample_rate
        folder, engine = job.checkpoint.folder, job.requested_engine
        has_begun = False
        try:
            chunks = run_on_gpu(seconds, folder, job.requests, job.sampling, engine)
            with contextlib.closing(chunks) as outputs:  # type: ignore[type-var]
                for chunk in outputs:
                    has_begun = True
                    yield chunk
            return
        except Exception as error:
            # `spaces` has its own errors: the quota is used up, the worker died.
            if has_begun:
                raise
            print_message(f"no GPU is available, using the CPU: {error}")
        yield from job.start()

    return start


def run_in_worker(
    seconds: float,
    folder: Path,
    requests: Sequence[GenerationRequest],
    sampling: SamplingConfig,
    engine: str,
) -> Iterator[Chunk]:
    """Generate clips in the worker, on its GPU; the chunks are on the CPU.

    Args:
        seconds: of audio; only `gpu_seconds` uses them.
        folder: of the checkpoint.
        requests, sampling: as in `generate`.
        engine: a name for `make_engine`; "auto" is the fastest one that works.
    """
    del seconds
    name = working_engine(folder) if engine == "auto" else engine
    has_gpu = torch.cuda.is_available() and name != "cpu"
    checkpoint = load(folder, torch.device("cuda" if has_gpu else "cpu"))
    job_engine = make_checkpoint_engine(name, checkpoint)
    for chunk in generate(checkpoint, requests, sampling, job_engine):
        codes = [codes.cpu() for codes in chunk.codes]
        waveforms = [waveform.cpu() for waveform in chunk.waveforms]
        yield Chunk(chunk.first, codes, waveforms, chunk.retries)


@lru_cache(maxsize=16)
def working_engine(folder: Path) -> str:
    """Return the fastest engine that works on this GPU: some kernels may not compile."""
    if not torch.cuda.is_available():
        return "auto"
    for engine in (*GPU_NAMES, "cached"):
        try:
            warm_up(load(folder, torch.device("cuda")), engine)
            return engine
        except WaveNetError as error:
            print_message(f"the engine {engine} is not used: {error}")
        except Exception as error:  # compilers and drivers have their own errors
            print_message(f"the engine {engine} failed: {error!r}")
    return "cpu"


def gpu_seconds(seconds: float, *others: object) -> int:
    """Return the seconds for which a job needs the GPU at most.

    A smaller value shortens the queue and uses less quota.
    """
    compute = round(COMPUTE_PER_AUDIO_SECOND * min(seconds, 1000))
    return min(MAX_GPU_SECONDS, START_SECONDS + compute)
