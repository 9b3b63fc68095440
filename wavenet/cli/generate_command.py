"""`wavenet generate`: condition values, a seed and an optional prompt -> audio files.

Input: options of the command line. Output: audio files, and their paths on stdout. Called by
`main`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.clip_generation import (
    GuardOption,
    count_written_on_interrupt,
    generate_with_progress,
    print_clip,
    run_beam_search,
    save_clip,
)
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    AutoPrecisionOption,
    ChannelChoice,
    ChannelOption,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    FramesScaleOption,
    GreedyOption,
    GuidanceOption,
    JsonLinesOption,
    NormalizeOption,
    OverwriteOption,
    RandomSeedOption,
    SetOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    choose_seed,
    create_folder,
    folder_name,
    parse_assignments,
    parse_condition_values,
    print_conversions,
    print_message,
)
from wavenet.cli.output_paths import check_space, check_written_name, plan_output_paths
from wavenet.cli.play_command import PlayOption, play_files
from wavenet.cli.unused_options import SAMPLING, refuse_unused, refuse_unused_settings
from wavenet.errors import ConditionError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint
    from wavenet.generation.generate import GeneratedClip
    from wavenet.generation.request import GenerationRequest

MAX_COUNT = 10_000  # clips of one command; a batch has no limit, and resumes


def generate(
    context: typer.Context,
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    set_: SetOption = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            "-t",
            help="Length in seconds; default: that of the frames, otherwise that of the "
            "checkpoint.",
        ),
    ] = None,
    seed: RandomSeedOption = 0,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    greedy: GreedyOption = None,
    guidance: GuidanceOption = None,
    beams: Annotated[
        int | None,
        typer.Option(
            help="Beam search for the most likely clip with this many beams; slow, without guard."
        ),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(help="Frames of a local condition, --frames NAME=FILE.npy. Repeatable."),
    ] = None,
    frames_scale: FramesScaleOption = None,
    prompt: Annotated[Path | None, typer.Option(help="Audio file to continue.")] = None,
    with_prompt: Annotated[
        bool,
        typer.Option(
            "--with-prompt/--without-prompt",
            help="Whether the file begins with the prompt.",
        ),
    ] = True,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    engine_name: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: AutoPrecisionOption = "auto",
    threads: ThreadsOption = None,
    count: Annotated[
        int, typer.Option("--count", "-n", help="Number of clips; the seeds count up from --seed.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output file (.wav, .flac, .ogg, .mp3) or folder."),
    ] = None,
    overwrite: OverwriteOption = False,
    play: PlayOption = False,
    guard: GuardOption = True,
    json_: JsonLinesOption = False,
) -> None:
    """Generate audio and print the path of each file written."""
    conditions = parse_condition_values(set_)
    arrays = parse_assignments("--frames", frames)
    if not 1 <= count <= MAX_COUNT:
        raise ConfigError(f"--count must be 1 to {MAX_COUNT:,}, found {count}; use `wavenet batch`")
    refuse_options_without_effect(context)

    from audio_utils.io import check_format
    from audio_utils.playback import check_player
    from wavenet import checkpoint as checkpoints
    from wavenet.engines.registry import device_for
    from wavenet.generation.checkpoint_engine import make_checkpoint_engine
    from wavenet.generation.request import GenerationRequest, choose_samples, clip_name
    from wavenet.model.condition_values import resolve_condition_values
    from wavenet.sampling import resolve_sampling

    if play:
        check_player()
    seed = choose_seed(seed)
    seeds = range(seed, seed + count)
    methods = list(seeds) if beams is None else [f"beams{beams}"]
    names = [clip_name(folder_name(checkpoint), conditions, method) for method in methods]
    paths = plan_output_paths(out, names, overwrite)
    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    loaded = checkpoints.load(checkpoint, device_for(engine_name, device))
    sampling = resolve_sampling(loaded.config.sampling, guidance=guidance, **values)
    chosen = resolve_condition_values(loaded.config.model, conditions)
    rate = loaded.config.audio.sample_rate
    check_format(paths[0], rate)
    prompt_waveform = read_prompt(prompt, rate, channel, normalize)
    frame_features = read_frames(loaded, arrays, frames_scale)
    samples = choose_samples(loaded, seconds, prompt_waveform, frame_features)
    requests = [
        GenerationRequest(samples, chosen, s, prompt=prompt_waveform, frame_features=frame_features)
        for s in seeds
    ]
    kept = 0 if prompt_waveform is None or not with_prompt else prompt_waveform.numel()
    check_space(paths, kept + samples)
    if beams is not None:
        clips = run_beam_search(loaded, requests[0], beams)
    else:
        engine = make_checkpoint_engine(engine_name, loaded, precision, threads)
        clips = generate_with_progress(loaded, requests, sampling, engine, guard)
    written = write_clips(loaded, paths, requests, clips, with_prompt, overwrite, json_)
    if play:
        play_files(written)
    check_written_name(out, paths[0], written[0])


def refuse_options_without_effect(context: typer.Context) -> None:
    """Refuse options of `generate` that have no effect together with the others.

    Raises:
        ConfigError: such an option is given.
    """
    values = context.params
    for option in ("beams", "greedy"):
        if values[option] and values["count"] > 1:
            raise ConfigError(f"--{option} does not use seeds and returns one clip; omit --count")
    if not values["frames"]:
        reason = "is for frames; add --frames NAME=FILE.npy, or omit it"
        refuse_unused(context, ("frames_scale",), reason)
    if values["prompt"] is None:
        reason = "is for the recording of --prompt; add --prompt, or omit it"
        refuse_unused(context, ("with_prompt", "channel", "normalize"), reason)
    if values["beams"] is not None:
        names = [*SAMPLING, "greedy", "guidance", "seed", "engine_name", "precision", "threads"]
        names += ["guard"] if values["guard"] else []  # --no-guard says what happens
        refuse_unused(context, names, "has no effect with --beams; omit one of them")
    refuse_unused_settings(context)


def write_clips(
    loaded: "Checkpoint",
    paths: list[Path],
    requests: "list[GenerationRequest]",
    clips: "Iterator[tuple[GeneratedClip, float]]",
    with_prompt: bool,
    overwrite: bool,
    as_json: bool,
) -> list[Path]:
    """Write each clip as soon as it is complete; then print all written clips.

    The clips that were complete before an error, or before Ctrl-C, are written and printed as well.

    Args:
        loaded: the checkpoint.
        paths, requests: one output file and one request per clip.
        clips: clips in any order, each with the seconds since the start.
        with_prompt: whether the files begin with the prompt.
        overwrite: whether existing files may be replaced.
        as_json: whether to print records instead of paths.
    Returns:
        The written files, in the order of the requests.
    """
    written: dict[int, tuple[Path, GeneratedClip]] = {}
    elapsed = 0.0
    with count_written_on_interrupt(written, len(requests)):
        try:
            for clip, seconds in clips:
                n, elapsed = clip.index, seconds
                create_folder(paths[n].parent)
                path = save_clip(loaded, paths[n], requests[n], clip, with_prompt, overwrite)
                written[n] = path, clip
        except Exception:
            if written:
                print_message(f"{len(written)} of {len(requests)} clips were generated")
            raise
        finally:
            complete = len(written) == len(requests)
            samples = sum(clip.waveform.numel() for _, clip in written.values())
            audio = samples / loaded.config.audio.sample_rate
            for n, (path, clip) in sorted(written.items()):
                # After an error the device may be lost, so the clips are not scored.
                rtf = elapsed / audio
                print_clip(loaded, path, requests[n], clip, with_prompt, rtf, as_json, complete)
    print_message(
        f"{audio:.2f} s of audio in {elapsed:.2f} s, {audio / elapsed:.2f} times real time"
    )
    return [written[n][0] for n in range(len(requests))]


def read_prompt(
    path: Path | None, rate: int, channel: ChannelChoice, normalize: bool
) -> "Tensor | None":
    """Read the audio to continue, at the sample rate of the model."""
    if path is None:
        return None
    from audio_utils import io

    recording = io.read(path, rate, channel=channel.value, normalize=normalize)
    print_conversions(path, recording, channel)
    return recording.waveform


def read_frames(
    loaded: "Checkpoint", arrays: dict[str, str], frames_scale: str | None = None
) -> "Tensor | None":
    """Read the frames of all local conditions; return None if the model has none.

    Args:
        loaded: the checkpoint.
        arrays: paths of .npy files by the names of the conditions.
        frames_scale: of the files, as for `compute_frame_features`.
    Raises:
        ConditionError: a file is missing or does not fit, or a feature needs a recording.
    """
    from wavenet.model.frame_features import compute_frame_features, read_array
    from wavenet.user_input.user_paths import expand_home

    config = loaded.config
    loaded_arrays = {name: read_array(expand_home(path)) for name, path in arrays.items()}
    if not loaded_arrays and config.model.locals:
        first = config.model.locals[0]
        raise ConditionError(
            f"this model needs frames of {first.name!r}; use --frames {first.name}=FILE.npy, or "
            "`wavenet vocode` with a recording"
        )
    rate, statistics = config.audio.sample_rate, config.frame_statistics
    frames = compute_frame_features(
        config.model, rate, None, loaded_arrays, frames_scale, statistics
    )
    return frames if frames.numel() else None
