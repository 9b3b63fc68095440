"""`wavenet generate`: labels, a seed and perhaps a prompt -> audio files."""

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointOption,
    EngineOption,
    JsonOption,
    PrecisionOption,
    SetOption,
    ThreadsOption,
    make_folder,
    parse_labels,
    say,
    say_converted,
)
from wavenet.errors import ConditionError

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint
    from wavenet.config import SamplingConfig
    from wavenet.engines.base import Engine
    from wavenet.synthesis.generate import Item


def generate(
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    set_: SetOption = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length to generate; the checkpoint's usual length.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same audio.")] = 0,
    temperature: Annotated[float, typer.Option(help="Above 0; below 1 is calmer.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest codes.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest codes that hold this share.")
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Take the likeliest code.")] = False,
    prompt: Annotated[Path | None, typer.Option(help="Audio to continue.")] = None,
    with_prompt: Annotated[bool, typer.Option(help="Begin the file with the prompt.")] = True,
    engine: EngineOption = "auto",
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    count: Annotated[int, typer.Option(help="How many clips; their seeds count up.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="A file (.wav, .flac, .ogg, .mp3) or a folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
    json_: JsonOption = False,
) -> None:
    """Generate audio and print the path of each file written."""
    labels = parse_labels(set_)
    if count < 1:
        raise ConditionError(f"--count must be at least 1, found {count}")

    from audio_utils import io
    from wavenet import checkpoint as checkpoints
    from wavenet.config import SamplingConfig, make
    from wavenet.engines.registry import make_engine
    from wavenet.synthesis.generate import Item, clip_name, samples_for

    seeds = range(seed, seed + count)
    paths = plan_outputs(out, [clip_name(checkpoint.name, labels, s) for s in seeds], overwrite)
    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    sampling = make(SamplingConfig, "sampling", **values)
    loaded = checkpoints.load(checkpoint)
    rate = loaded.config.audio.sample_rate
    samples = samples_for(loaded.config.default_seconds if seconds is None else seconds, rate)
    given = None
    if prompt is not None:
        recording = io.read(prompt, rate)
        say_converted(prompt, recording)
        given = recording.waveform
    items = [Item(samples, labels, s, prompt=given) for s in seeds]
    runner = make_engine(engine, loaded.model, precision, threads)
    waveforms, took = make_all(loaded, items, sampling, runner)
    made = samples * count / rate
    make_folder(paths[0].parent)
    for path, item, waveform in zip(paths, items, waveforms, strict=True):
        write(path, item, waveform, with_prompt, rate, took / made, json_)
    say(f"{made:.2f} s of audio in {took:.2f} s, {made / took:.2f} times real time")


def write(
    path: Path,
    item: "Item",
    waveform: "Tensor",
    with_prompt: bool,
    rate: int,
    rtf: float,
    as_json: bool,
) -> None:
    """Write one clip and print its path, or a record about it."""
    import torch

    from audio_utils import io

    if item.prompt is not None and with_prompt:
        waveform = torch.cat([item.prompt, waveform])
    io.write(path, waveform, rate)
    record = {
        "file": str(path),
        "seconds": waveform.numel() / rate,
        "sample_rate": rate,
        "seed": item.seed,
        "labels": dict(item.labels),
        "rtf": rtf,
    }
    typer.echo(json.dumps(record) if as_json else str(path))


def make_all(
    loaded: "Checkpoint", items: "list[Item]", sampling: "SamplingConfig", runner: "Engine[Any]"
) -> "tuple[list[Tensor], float]":
    """Generate all items to their end behind a progress bar; also gives the seconds it took."""
    import torch

    from wavenet.cli.progress import bar, waiting
    from wavenet.synthesis.generate import generate as stream
    from wavenet.synthesis.generate import warm_up

    chunks = stream(loaded, items, sampling, runner)  # checks everything before the wait
    with waiting("preparing the engine (compiled once on a machine, in ten to twenty seconds)"):
        warm_up(loaded, runner)
    parts: list[list[Tensor]] = [[] for _ in items]
    began = time.perf_counter()
    with bar("samples", sum(item.samples for item in items)) as advance:
        for chunk in chunks:
            for part, waveform in zip(parts, chunk.waveforms, strict=True):
                part.append(waveform)
                advance(waveform.numel())
    return [torch.cat(part) for part in parts], time.perf_counter() - began


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
