"""`wavenet generate`: labels, a seed and perhaps a prompt -> audio files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.clip_generation import (
    GuardOption,
    Made,
    find_likeliest,
    make_all,
    plan_outputs,
    tell,
    write,
)
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    GreedyOption,
    GuidanceOption,
    JsonOption,
    OverwriteOption,
    PrecisionOption,
    SeedOption,
    SetOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    make_folder,
    parse_assignments,
    parse_labels,
    say,
    say_converted,
)
from wavenet.errors import ConditionError

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint
    from wavenet.synthesis.items import Item


def generate(
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    set_: SetOption = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length to generate; the checkpoint's usual length.")
    ] = None,
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    greedy: GreedyOption = None,
    guidance: GuidanceOption = None,
    beams: Annotated[
        int | None, typer.Option(help="Search for the likeliest clip with so many beams, slowly.")
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(help="Frames of a condition, as in --frames curve=FILE.npy. Repeatable."),
    ] = None,
    prompt: Annotated[Path | None, typer.Option(help="Audio to continue.")] = None,
    with_prompt: Annotated[bool, typer.Option(help="Begin the file with the prompt.")] = True,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    count: Annotated[int, typer.Option(help="How many clips; their seeds count up.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="A file (.wav, .flac, .ogg, .mp3) or a folder.")
    ] = None,
    overwrite: OverwriteOption = False,
    guard: GuardOption = True,
    json_: JsonOption = False,
) -> None:
    """Generate audio and print the path of each file written."""
    labels = parse_labels(set_)
    arrays = parse_assignments("--frames", frames)
    if count < 1:
        raise ConditionError(f"--count must be at least 1, found {count}")
    if beams is not None and count > 1:
        raise ConditionError("--beams finds one clip, whatever the seed; leave --count out")

    from wavenet import checkpoint as checkpoints
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.sampling import choose_sampling
    from wavenet.synthesis.items import Item, clip_name, samples_for

    seeds = range(seed, seed + count)
    paths = plan_outputs(out, [clip_name(checkpoint.name, labels, s) for s in seeds], overwrite)
    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    loaded = checkpoints.load(checkpoint, device_for(engine, device))
    sampling = choose_sampling(loaded.config.sampling, guidance=guidance, **values)
    rate = loaded.config.audio.sample_rate
    given = read_prompt(prompt, rate)
    local = read_frames(loaded, arrays)
    if seconds is None and local is not None:
        before = 0 if given is None else given.numel()
        samples = max(1, (local.shape[0] - 1) * loaded.config.model.condition_hop - before)
    else:
        samples = samples_for(loaded.config.default_seconds if seconds is None else seconds, rate)
    items = [Item(samples, labels, s, prompt=given, local=local) for s in seeds]
    if beams is not None:
        found = iter([(0, find_likeliest(loaded, items[0], beams))])
    else:
        runner = make_engine(engine, loaded.model, precision, threads)
        found = make_all(loaded, items, sampling, runner, guard)
    keep(loaded, paths, items, found, with_prompt, json_)


def keep(
    loaded: "Checkpoint",
    paths: list[Path],
    items: "list[Item]",
    found: "Iterator[tuple[int, Made]]",
    with_prompt: bool,
    as_json: bool,
) -> None:
    """Write every clip as soon as it is made, and then say so, even if not all could be made."""
    made: dict[int, Made] = {}
    try:
        for n, clip in found:
            make_folder(paths[n].parent)
            write(loaded, paths[n], items[n], clip, with_prompt)
            made[n] = clip
    finally:
        complete = len(made) == len(items)
        samples = sum(clip.waveform.numel() for clip in made.values())
        audio = samples / loaded.config.audio.sample_rate
        took = max((clip.took for clip in made.values()), default=0.0)
        for n, clip in sorted(made.items()):
            # a device that was lost does not score, either
            tell(loaded, paths[n], items[n], clip, with_prompt, took / audio, as_json, complete)
        if made and not complete:
            say(f"{len(made)} of {len(items)} clips were made")
    say(f"{audio:.2f} s of audio in {took:.2f} s, {audio / took:.2f} times real time")


def read_prompt(path: Path | None, rate: int) -> "Tensor | None":
    """Read the audio to continue, at the model's rate."""
    if path is None:
        return None
    from audio_utils import io

    recording = io.read(path, rate)
    say_converted(path, recording)
    return recording.waveform


def read_frames(loaded: "Checkpoint", arrays: dict[str, str]) -> "Tensor | None":
    """Read the frames of all local conditions; None for a model that has none.

    Raises:
        ConditionError: a file is missing or does not fit, or a feature would need a recording.
    """
    from wavenet.model.features import frames_of, read_array

    config = loaded.config
    given = {name: read_array(Path(path)) for name, path in arrays.items()}
    if not given and config.model.locals:
        first = config.model.locals[0]
        raise ConditionError(
            f"this model is conditioned on {first.name!r}; give --frames {first.name}=FILE.npy, or "
            "a recording to `wavenet vocode`"
        )
    frames = frames_of(config.model, config.audio.sample_rate, None, given)
    return frames if frames.numel() else None
