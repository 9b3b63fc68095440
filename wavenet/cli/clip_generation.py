"""Steps that `wavenet generate` and `wavenet vocode` share.

Generate with a progress bar, write each clip and print its record. Input:
requests and options. Output: audio files, and paths or JSON records on stdout. Called by
`generate_command` and `vocode_command`.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import print_message
from wavenet.cli.output_paths import write_to_free_name
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.checkpoint import Checkpoint
    from wavenet.engines.engine import Engine
    from wavenet.generation.generate import GeneratedClip
    from wavenet.generation.guard import Retry
    from wavenet.generation.request import GenerationRequest
    from wavenet.model.conditioning import ConditionValue
    from wavenet.sampling import SamplingConfig

GuardOption = Annotated[
    bool,
    typer.Option(
        "--guard/--no-guard",
        help="Draw a window again if it is only noise or silence, and report it.",
    ),
]


def save_clip(
    loaded: "Checkpoint",
    path: Path,
    request: "GenerationRequest",
    clip: "GeneratedClip",
    with_prompt: bool,
    overwrite: bool,
) -> Path:
    """Write a clip to a file atomically; the prompt comes first if `with_prompt` is true.

    Args:
        path: the planned file; if it exists and `overwrite` is false, the next number is used.
    Returns:
        The file that was written.
    Raises:
        AudioError: the file cannot be written.
    """
    import torch

    from audio_utils import io

    waveform = clip.waveform
    if request.prompt is not None and with_prompt:
        waveform = torch.cat([request.prompt, waveform])
    rate = loaded.config.audio.sample_rate
    return write_to_free_name(path, lambda to: io.write(to, waveform, rate, replace=overwrite))


@contextmanager
def count_written_on_interrupt(written: Collection[object], total: int) -> Iterator[None]:
    """Add to a KeyboardInterrupt how many of all clips were written.

    Args:
        written: the clips that are written when the block ends.
        total: number of clips of the command.
    """
    try:
        yield
    except KeyboardInterrupt:
        count = len(written)
        clips = "1 clip was" if count == total == 1 else f"{count:,} of {total:,} clips were"
        raise KeyboardInterrupt(f"{clips} written" if count else "nothing was written") from None


def print_clip(
    loaded: "Checkpoint",
    path: Path,
    request: "GenerationRequest",
    clip: "GeneratedClip",
    with_prompt: bool,
    rtf: float,
    as_json: bool,
    scored: bool = True,
) -> None:
    """Print the path of a written clip, or its JSON record; print each retry on stderr.

    Args:
        loaded: the checkpoint that generated the clip.
        path: the written file.
        request: the request of the clip.
        clip: the generated clip.
        with_prompt: whether the file begins with the prompt.
        rtf: real-time factor, seconds of computing per second of audio.
        as_json: whether to print a record instead of the path.
        scored: whether to compute the bits per sample for the record, in one forward pass.
    """
    import torch

    from wavenet.generation.request import with_defaults

    rate = loaded.config.audio.sample_rate
    for retry in clip.retries:
        print_message(f"{path}: {describe_retry(retry, rate)}")
    if not as_json:
        print_line(path)
        return
    prompt_samples = 0 if request.prompt is None or not with_prompt else request.prompt.numel()
    used = with_defaults(request, loaded.config.model).conditions
    conditions = {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in used.items()
    }
    record = {
        "file": str(path),
        "seconds": (prompt_samples + clip.waveform.numel()) / rate,
        "bits_per_sample": compute_bits_per_sample(loaded, request, clip) if scored else None,
        "sample_rate": rate,
        # Only beam search computes the probability, and it does not use the seed.
        "seed": request.seed if clip.log_prob is None else None,
        "precision": clip.precision,
        "labels": conditions,
        "rtf": rtf,
        "retries": [
            {
                "reason": retry.reason,
                "first": retry.first,
                "last": retry.last,
                "attempts": retry.attempts,
                "solved": retry.solved,
            }
            for retry in clip.retries
        ],
    }
    print_json(record)


def describe_retry(retry: "Retry", rate: int) -> str:
    """Describe a retry in one sentence; its seconds count the generated audio only."""
    reason = f"{retry.reason} detected at {retry.last / rate:.2f} s"
    if retry.stopped:
        return (
            f"{reason} again; the guard stopped here, because the clip had too many attempts; if "
            "it should be noise or silence, use --no-guard"
        )
    if not retry.attempts:
        return f"{reason}; not drawn again, because greedy sampling always selects the same codes"
    times = "once" if retry.attempts == 1 else f"{retry.attempts} times"
    action = f"{reason}; drawn again from {retry.first / rate:.2f} s {times}"
    return action if retry.solved else f"{action}, without success; try another --seed"


def generate_with_progress(
    loaded: "Checkpoint",
    requests: "list[GenerationRequest]",
    sampling: "SamplingConfig",
    engine: "Engine[Any]",
    guarded: bool = True,
) -> "Iterator[tuple[GeneratedClip, float]]":
    """Generate all requests with a progress bar; yield each complete clip and the seconds so far.

    Args:
        loaded: the checkpoint.
        requests: the requests; all are checked before the engine is compiled.
        sampling: how codes are selected.
        engine: the engine.
        guarded: whether the guard checks the clips.
    """
    import torch

    from wavenet.cli.progress_bars import ProgressBar, status_spinner
    from wavenet.generation.batch_size import default_batch_size
    from wavenet.generation.generate import DEFAULT_GUARD, generate_many, warm_up
    from wavenet.sampling import rows_per_clip

    if engine.name == "cached":
        torch.set_num_threads(1)  # The products are small: a second thread makes them slower.
    guard = DEFAULT_GUARD if guarded else None
    progress_bar = ProgressBar("samples", sum(request.samples for request in requests))
    # `generate_many` checks all requests immediately: an error is raised before `warm_up` compiles.
    together = default_batch_size(loaded, engine, rows_per_clip(sampling))
    clips = generate_many(loaded, requests, sampling, engine, guard, progress_bar, together)
    print_choice(loaded, requests, f"engine {engine.name} in {engine.precision}")
    with status_spinner("preparing the engine (compiled once per machine, 10 to 15 seconds)"):
        warm_up(loaded, engine)
    start = time.perf_counter()
    with progress_bar:
        for clip in clips:
            yield clip, time.perf_counter() - start


def print_choice(
    loaded: "Checkpoint", requests: "list[GenerationRequest]", method: str, uses_seeds: bool = True
) -> None:
    """Print on stderr what is generated: model, conditions, seeds, length and method.

    Args:
        loaded: the checkpoint.
        requests: checked requests of equal length and conditions, with consecutive seeds.
        method: the engine or the search.
        uses_seeds: whether the clips depend on the seeds.
    """
    from wavenet.generation.request import with_defaults

    first, last = requests[0], requests[-1]
    values = with_defaults(first, loaded.config.model).conditions
    seeds = f"seed {first.seed}" + (f" to {last.seed}" if len(requests) > 1 else "")
    seconds = f"{first.samples / loaded.sample_rate:.2f} s"
    parts = [loaded.config.name, *starmap(_format_condition, values.items())]
    print_message(", ".join([*parts, *([seeds] if uses_seeds else []), seconds, method]))


def _format_condition(name: str, value: "ConditionValue") -> str:
    """Return name=value; of a vector only its size."""
    if isinstance(value, str):
        return f"{name}={value}"
    return f"{name}={value:g}" if isinstance(value, float) else f"{name} of {len(value)} numbers"


def compute_bits_per_sample(
    loaded: "Checkpoint", request: "GenerationRequest", clip: "GeneratedClip"
) -> float:
    """Compute the bits per sample of a generated clip under the model, without its prompt."""
    from wavenet.likelihood.score import score_clip

    score = score_clip(
        loaded,
        clip.waveform,
        clip.codes,
        request.prompt,
        request.conditions,
        request.frame_features,
    )
    return float(score.surprise[-clip.codes.numel() :].double().mean())


def draw_from_candidates(
    loaded: "Checkpoint",
    request: "GenerationRequest",
    candidates: int,
    sampling: "SamplingConfig",
    engine: "Engine[Any]",
) -> "tuple[GeneratedClip, float]":
    """Draw candidates per frame and keep the closest to the target mel, with a progress bar.

    Returns:
        The clip and the seconds that it took.
    """
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.generation.search import generate_with_candidates

    start = time.perf_counter()
    with ProgressBar("samples", request.samples) as progress_bar:
        clip = generate_with_candidates(loaded, request, candidates, sampling, engine, progress_bar)
    print_choice(
        loaded, [request], f"{candidates} candidates, engine {engine.name} in {engine.precision}"
    )
    return clip, time.perf_counter() - start


def run_beam_search(
    loaded: "Checkpoint", request: "GenerationRequest", beams: int
) -> "Iterator[tuple[GeneratedClip, float]]":
    """Search for the most likely clip with a progress bar; print its log-probability.

    Yields:
        The only clip, and the seconds that it took.
    """
    import torch

    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.generation.search import beam_search

    torch.set_num_threads(1)  # The products are small: a second thread makes them slower.
    start = time.perf_counter()
    with ProgressBar("samples", request.samples) as progress_bar:
        clip = beam_search(loaded, request, beams, progress_bar)
    print_choice(loaded, [request], f"{beams} beams", uses_seeds=False)
    print_message(
        f"log-probability {clip.log_prob:.2f} nats, {clip.bits_per_sample:.4f} bits per sample"
    )
    yield clip, time.perf_counter() - start
