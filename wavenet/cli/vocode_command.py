"""`wavenet vocode`: a recording or its frames -> audio resynthesised by a model.

Input: options of the command line. Output: one audio file, and its path on stdout. Called by
`main`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_utils.file_names import shorten_name
from wavenet.cli.clip_generation import (
    GuardOption,
    count_written_on_interrupt,
    draw_from_candidates,
    generate_with_progress,
    print_clip,
    save_clip,
)
from wavenet.cli.options import (
    AutoPrecisionOption,
    CandidatesOption,
    ChannelChoice,
    ChannelOption,
    DeviceOption,
    EngineOption,
    FramesScaleOption,
    GreedyOption,
    GuidanceOption,
    JsonOption,
    MelMatchingOption,
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
    parse_condition_values,
    print_conversions,
    print_message,
)
from wavenet.cli.output_paths import check_space, check_written_name, plan_output_paths
from wavenet.cli.play_command import PlayOption, play_files
from wavenet.cli.unused_options import refuse_unused, refuse_unused_settings
from wavenet.errors import ConditionError

MAX_STEM_BYTES = 200  # of the file name, without seed and suffix

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint
    from wavenet.generation.generate import GeneratedClip
    from wavenet.generation.request import GenerationRequest


def vocode(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A recording, or frames as .npy.")],
    checkpoint: Annotated[
        Path,
        typer.Option(
            "--checkpoint", "-c", help="Folder or name of a checkpoint conditioned on frames."
        ),
    ] = Path("vocoder"),
    frames_scale: FramesScaleOption = None,
    set_: SetOption = None,
    seed: RandomSeedOption = 0,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    greedy: GreedyOption = None,
    guidance: GuidanceOption = None,
    candidates: CandidatesOption = 1,
    mel_matching_iterations: MelMatchingOption = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    engine_name: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: AutoPrecisionOption = "auto",
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output file (.wav, .flac, .ogg, .mp3) or folder."),
    ] = None,
    overwrite: OverwriteOption = False,
    play: PlayOption = False,
    guard: GuardOption = True,
    json_: JsonOption = False,
) -> None:
    """Resynthesise a recording from its features and print the path of the output file.

    The checkpoint determines the features and how they are computed; the model receives only these
    features of the recording. If the features are mel frames, the clip is then filtered until its
    mel frames match them. With --candidates above 1, the clip is drawn without the guard.
    """
    conditions = parse_condition_values(set_)
    refuse_options_without_effect(context)

    from audio_utils.io import check_format
    from audio_utils.playback import check_player
    from wavenet import checkpoint as checkpoints
    from wavenet.engines.registry import device_for
    from wavenet.generation.checkpoint_engine import make_checkpoint_engine
    from wavenet.generation.clip_mel_matching import choose_iterations
    from wavenet.generation.request import GenerationRequest
    from wavenet.model.condition_values import resolve_condition_values
    from wavenet.sampling import resolve_sampling

    stem = shorten_name(f"{source.stem}_{folder_name(checkpoint)}", MAX_STEM_BYTES)
    if play:
        check_player()
    seed = choose_seed(seed)
    paths = plan_output_paths(out, [f"{stem}_seed{seed}"], overwrite)
    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    loaded = checkpoints.load(checkpoint, device_for(engine_name, device))
    sampling = resolve_sampling(loaded.config.sampling, guidance=guidance, **values)
    chosen = resolve_condition_values(loaded.config.model, conditions)
    audio_rate = loaded.config.audio.sample_rate
    check_format(paths[0], audio_rate)
    iterations = choose_iterations(loaded, mel_matching_iterations)
    frame_features, samples = read_source(loaded, source, frames_scale, channel, normalize)
    check_space(paths, samples)
    request = GenerationRequest(samples, chosen, seed, frame_features=frame_features)
    engine = make_checkpoint_engine(engine_name, loaded, precision, threads)
    written: list[Path] = []
    with count_written_on_interrupt(written, 1):
        if candidates == 1:
            ((clip, elapsed),) = generate_with_progress(loaded, [request], sampling, engine, guard)
        else:
            clip, elapsed = draw_from_candidates(loaded, request, candidates, sampling, engine)
        clip = apply_mel_matching(loaded, clip, request, iterations)
        audio = samples / audio_rate
        create_folder(paths[0].parent)
        written.append(save_clip(loaded, paths[0], request, clip, False, overwrite))
        print_clip(loaded, written[0], request, clip, False, elapsed / audio, json_)
    print_message(
        f"{audio:.2f} s of audio in {elapsed:.2f} s, {audio / elapsed:.2f} times real time"
    )
    if play:
        play_files(written)
    check_written_name(out, paths[0], written[0])


def refuse_options_without_effect(context: typer.Context) -> None:
    """Refuse options of `vocode` that have no effect together with the others.

    Raises:
        ConfigError: such an option is given.
    """
    source = context.params["source"]
    if source.suffix.lower() == ".npy":
        reason = f"is for recordings; {source} contains frames, so omit it"
        refuse_unused(context, ("channel", "normalize"), reason)
    if context.params["candidates"] > 1 and context.params["guard"]:
        reason = "has no effect with --candidates, which are drawn without the guard; omit it"
        refuse_unused(context, ("guard",), reason)
    refuse_unused_settings(context)


def apply_mel_matching(
    loaded: "Checkpoint", clip: "GeneratedClip", request: "GenerationRequest", iterations: int
) -> "GeneratedClip":
    """Filter a clip until its mel frames match those of its request, if iterations > 0."""
    if not iterations or request.frame_features is None:
        return clip
    from audio_utils.levels import describe_levels, measure_levels
    from wavenet.generation.clip_mel_matching import match_clip_mel

    waveform = match_clip_mel(loaded, clip.waveform, request.frame_features, iterations)
    for phrase in describe_levels(measure_levels(waveform.numpy()), advise=False):
        print_message(f"after mel matching: {phrase}")
    return replace(clip, waveform=waveform.clamp(-1, 1))


def read_source(
    loaded: "Checkpoint",
    source: Path,
    frames_scale: str | None = None,
    channel: ChannelChoice = ChannelChoice.MIX,
    normalize: bool = False,
) -> "tuple[Tensor, int]":
    """Read a recording or an array of frames.

    Args:
        loaded: the checkpoint.
        source: a recording, or a `.npy` file.
        frames_scale: of the file, as for `compute_frame_features`.
    Returns:
        The frames (F, columns), and the number of samples that they cover.
    Raises:
        ConditionError: the model is not conditioned on frames, or these frames do not fit it.
    """
    from audio_utils import io
    from wavenet.model.frame_features import compute_frame_features, read_array

    config, rate = loaded.config.model, loaded.config.audio.sample_rate
    if not config.locals:
        raise ConditionError(
            f"{loaded.folder} is not conditioned on frames; `wavenet vocode` needs a checkpoint "
            "with local conditions"
        )
    if source.suffix.lower() != ".npy":
        if frames_scale is not None:
            raise ConditionError(f"--frames-scale is for frames (.npy); {source} is a recording")
        recording = io.read(source, rate, channel=channel.value, normalize=normalize)
        print_conversions(source, recording, channel)
        return compute_frame_features(config, rate, recording.waveform), recording.waveform.numel()
    if len(config.locals) > 1:
        names = ", ".join(condition.name for condition in config.locals)
        raise ConditionError(
            f"this model needs frames of {names}; pass one array for each to "
            "`wavenet generate --frames`"
        )
    arrays, statistics = {config.locals[0].name: read_array(source)}, loaded.config.frame_statistics
    frames = compute_frame_features(config, rate, None, arrays, frames_scale, statistics)
    return frames, max(1, (frames.shape[0] - 1) * config.condition_hop)
