"""`wavenet vocode`: a recording or its frames -> audio resynthesised by a model.

Input: options of the command line. Output: one audio file, and its path on stdout. Called by
`main`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.clip_generation import (
    GuardOption,
    draw_from_candidates,
    generate_with_progress,
    plan_output_paths,
    print_clip,
    save_clip,
)
from wavenet.cli.options import (
    CandidatesOption,
    ChannelChoice,
    ChannelOption,
    DeviceOption,
    EngineOption,
    GreedyOption,
    GuidanceOption,
    JsonOption,
    MelMatchingOption,
    NormalizeOption,
    OverwriteOption,
    PrecisionOption,
    SeedOption,
    SetOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    create_folder,
    parse_condition_values,
    print_conversions,
    print_message,
)
from wavenet.errors import ConditionError

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint
    from wavenet.generation.generate import GeneratedClip
    from wavenet.generation.request import GenerationRequest


def vocode(
    source: Annotated[Path, typer.Argument(help="A recording, or frames as .npy.")],
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="Folder of a checkpoint conditioned on frames.")
    ] = Path("checkpoints/vocoder"),
    set_: SetOption = None,
    seed: SeedOption = 0,
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
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Output file (.wav, .flac, .ogg, .mp3) or folder.")
    ] = None,
    overwrite: OverwriteOption = False,
    guard: GuardOption = True,
    json_: JsonOption = False,
) -> None:
    """Resynthesise a recording from its features and print the path of the output file.

    The checkpoint determines the features and how they are computed; the model receives only these
    features of the recording. If the features are mel frames, the clip is then filtered until its
    mel frames match them. With --candidates above 1, the clip is drawn without the guard.
    """
    conditions = parse_condition_values(set_)
    from wavenet import checkpoint as checkpoints
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.generation.request import GenerationRequest
    from wavenet.sampling import resolve_sampling

    paths = plan_output_paths(out, [f"{source.stem}_{checkpoint.name}_seed{seed}"], overwrite)
    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    loaded = checkpoints.load(checkpoint, device_for(engine_name, device))
    sampling = resolve_sampling(loaded.config.sampling, guidance=guidance, **values)
    frame_features, samples = read_source(loaded, source, channel, normalize)
    request = GenerationRequest(samples, conditions, seed, frame_features=frame_features)
    engine = make_engine(engine_name, loaded.model, precision, threads)
    if candidates == 1:
        ((clip, elapsed),) = generate_with_progress(loaded, [request], sampling, engine, guard)
    else:
        clip, elapsed = draw_from_candidates(loaded, request, candidates, sampling, engine)
    clip = apply_mel_matching(loaded, clip, request, mel_matching_iterations)
    audio = samples / loaded.config.audio.sample_rate
    create_folder(paths[0].parent)
    save_clip(loaded, paths[0], request, clip, False)
    print_clip(loaded, paths[0], request, clip, False, elapsed / audio, json_)
    print_message(
        f"{audio:.2f} s of audio in {elapsed:.2f} s, {audio / elapsed:.2f} times real time"
    )


def apply_mel_matching(
    loaded: "Checkpoint",
    clip: "GeneratedClip",
    request: "GenerationRequest",
    iterations: int | None,
) -> "GeneratedClip":
    """Filter a clip until its mel frames match those of the request.

    Args:
        loaded: the checkpoint.
        clip: the generated clip.
        request: its request.
        iterations: 0 returns the clip as it is; None means the default if the model is conditioned
            on mel, otherwise 0.
    Raises:
        ConditionError: iterations above 0, but the model is not conditioned on mel.
    """
    has_mel = any(condition.kind == "mel" for condition in loaded.config.model.locals)
    if iterations == 0 or (iterations is None and not has_mel) or request.frame_features is None:
        return clip
    from audio_utils.levels import describe_levels, measure_levels
    from audio_utils.mel_matching import DEFAULT_ITERATIONS
    from wavenet.generation.clip_mel_matching import match_clip_mel

    number = DEFAULT_ITERATIONS if iterations is None else iterations
    waveform = match_clip_mel(loaded, clip.waveform, request.frame_features, number)
    for phrase in describe_levels(measure_levels(waveform.numpy()), advise=False):
        print_message(f"after mel matching: {phrase}")
    return replace(clip, waveform=waveform.clamp(-1, 1))


def read_source(
    loaded: "Checkpoint",
    source: Path,
    channel: ChannelChoice = ChannelChoice.MIX,
    normalize: bool = False,
) -> "tuple[Tensor, int]":
    """Read a recording or an array of frames.

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
        recording = io.read(source, rate, channel=channel.value, normalize=normalize)
        print_conversions(source, recording, channel)
        return compute_frame_features(config, rate, recording.waveform), recording.waveform.numel()
    if len(config.locals) > 1:
        names = ", ".join(condition.name for condition in config.locals)
        raise ConditionError(
            f"this model needs frames of {names}; pass one array for each to "
            "`wavenet generate --frames`"
        )
    frames = compute_frame_features(config, rate, None, {config.locals[0].name: read_array(source)})
    return frames, max(1, (frames.shape[0] - 1) * config.condition_hop)
