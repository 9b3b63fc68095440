"""What the commands that make clips share: where files go, the work behind a bar, writing them."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import say
from wavenet.errors import ConditionError

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint
    from wavenet.config import SamplingConfig
    from wavenet.engines.base import Engine
    from wavenet.synthesis.guard import Rescue
    from wavenet.synthesis.items import Item

GuardOption = Annotated[
    bool,
    typer.Option(
        "--guard/--no-guard", help="Draw again, and say so, where a clip turns to noise or silence."
    ),
]


@dataclass(frozen=True)
class Made:
    """A clip and how it came about.

    Attributes:
        waveform: (samples,) float32; codes: the same, int64.
        took: seconds until it was there, since the work began.
        rescues: what the guard had drawn again.
    """

    waveform: "Tensor"
    codes: "Tensor"
    took: float
    rescues: "Sequence[Rescue]" = ()


def write(loaded: "Checkpoint", path: Path, item: "Item", made: Made, with_prompt: bool) -> None:
    """Write a clip, whole or not at all."""
    import torch

    from audio_utils import io

    waveform = made.waveform
    if item.prompt is not None and with_prompt:
        waveform = torch.cat([item.prompt, waveform])
    io.write(path, waveform, loaded.config.audio.sample_rate)


def tell(
    loaded: "Checkpoint",
    path: Path,
    item: "Item",
    made: Made,
    with_prompt: bool,
    rtf: float,
    as_json: bool,
    scored: bool = True,
) -> None:
    """Print the path of a clip that was written, or a record; say what was drawn again."""
    import torch

    rate = loaded.config.audio.sample_rate
    for rescue in made.rescues:
        say(f"{path}: {describe(rescue, rate)}")
    if not as_json:
        typer.echo(str(path))
        return
    given = 0 if item.prompt is None or not with_prompt else item.prompt.numel()
    labels = {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in item.labels.items()
    }
    record = {
        "file": str(path),
        "seconds": (given + made.waveform.numel()) / rate,
        "bits_per_sample": bits_per_sample(loaded, item, made) if scored else None,
        "sample_rate": rate,
        "seed": item.seed,
        "labels": labels,
        "rtf": rtf,
        "rescues": [
            {
                "reason": rescue.reason,
                "first": rescue.first,
                "last": rescue.last,
                "attempts": rescue.attempts,
                "solved": rescue.solved,
            }
            for rescue in made.rescues
        ],
    }
    typer.echo(json.dumps(record))


def describe(rescue: "Rescue", rate: int) -> str:
    """Put a rescue into one sentence; its seconds are those generated."""
    where = f"{rescue.reason} by {rescue.last / rate:.2f} s"
    if not rescue.attempts:
        return f"{where}; greedy draws nothing else, so it was left"
    times = "once" if rescue.attempts == 1 else f"{rescue.attempts} times"
    again = f"{where}; drawn again from {rescue.first / rate:.2f} s {times}"
    return again if rescue.solved else f"{again}, without success; another --seed may help"


def make_all(
    loaded: "Checkpoint",
    items: "list[Item]",
    sampling: "SamplingConfig",
    runner: "Engine[Any]",
    guarded: bool = True,
) -> "Iterator[tuple[int, Made]]":
    """Generate all items behind a progress bar; each leaves, with its number, when it is made."""
    from wavenet.cli.progress import bar, waiting
    from wavenet.synthesis.generate import GUARD, warm_up
    from wavenet.synthesis.many import make_clips

    guard = GUARD if guarded else None
    # checks everything before the wait
    clips = make_clips(
        loaded, items, sampling, runner, guard, lambda samples: advance(samples), say
    )
    with waiting("preparing the engine (compiled once on a machine, in ten to twenty seconds)"):
        warm_up(loaded, runner)
    began = time.perf_counter()
    with bar("samples", sum(item.samples for item in items)) as advance:
        for clip in clips:
            took = time.perf_counter() - began
            yield clip.item, Made(clip.waveform, clip.codes, took, clip.rescues)


def plan_outputs(out: Path | None, names: list[str], overwrite: bool) -> list[Path]:
    """Name the files and see that they can be written, before any work is done.

    Args:
        out: a file, a folder, or None for the current folder.
        names: of the clips, without suffix, for a folder.
        overwrite: whether files that are there may be replaced.
    Raises:
        ConditionError: a file that exists, a folder that cannot be written, one file for many.
    """
    if out is not None and out.suffix and not out.is_dir():
        if len(names) > 1:
            raise ConditionError(f"--count {len(names)} needs a folder for --out, found file {out}")
        paths = [out]
    else:
        paths = [(out or Path()) / f"{name}.wav" for name in names]
    folder = paths[0].parent
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ConditionError(f"the folder {folder} cannot be written; choose another with --out")
    for path in paths:
        if path.exists() and not overwrite:
            raise ConditionError(f"{path} exists already; choose another --out or add --overwrite")
    return paths


def bits_per_sample(loaded: "Checkpoint", item: "Item", made: Made) -> float:
    """Give what the model itself thinks of a clip that it made, the prompt not counted."""
    from wavenet.likelihood.score import score_clip

    found = score_clip(loaded, made.waveform, made.codes, item.prompt, item.labels, item.local)
    return float(found.bits[-made.codes.numel() :].double().mean())


def find_nearest(
    loaded: "Checkpoint",
    item: "Item",
    candidates: int,
    sampling: "SamplingConfig",
    runner: "Engine[Any]",
) -> Made:
    """Draw candidates and keep what fits the frames best, behind a progress bar."""
    from wavenet.cli.progress import bar
    from wavenet.synthesis.candidates import draw_nearest

    began = time.perf_counter()
    with bar("samples", item.samples) as advance:
        found = draw_nearest(loaded, item, candidates, sampling, runner, advance)
    return Made(found.waveform, found.codes, time.perf_counter() - began)


def find_likeliest(loaded: "Checkpoint", item: "Item", beams: int) -> Made:
    """Search for the likeliest clip behind a progress bar."""
    import torch

    from wavenet.cli.progress import bar
    from wavenet.synthesis.beams import search

    torch.set_num_threads(1)  # small products: a second thread only gets in the way
    began = time.perf_counter()
    with bar("samples", item.samples) as advance:
        found = search(loaded, item, beams, report=lambda _: advance(1))
    say(f"log-probability {found.log_prob:.2f} nats, {found.bits_per_sample:.4f} bits per sample")
    return Made(found.waveform, found.codes, time.perf_counter() - began)
