"""`wavenet vocode`: a recording, or its spectrogram, said again by a model."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.clip_generation import (
    GuardOption,
    Made,
    find_nearest,
    make_all,
    plan_outputs,
    tell,
    write,
)
from wavenet.cli.options import (
    CandidatesOption,
    DeviceOption,
    EngineOption,
    GreedyOption,
    GuidanceOption,
    JsonOption,
    MatchOption,
    OverwriteOption,
    PrecisionOption,
    SeedOption,
    SetOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    make_folder,
    parse_labels,
    say,
    say_converted,
)
from wavenet.errors import ConditionError

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint
    from wavenet.synthesis.items import Item


def vocode(
    source: Annotated[Path, typer.Argument(help="A recording, or frames as .npy.")],
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="Folder of a checkpoint that takes frames.")
    ] = Path("checkpoints/vocoder"),
    set_: SetOption = None,
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    greedy: GreedyOption = None,
    guidance: GuidanceOption = None,
    candidates: CandidatesOption = 1,
    match: MatchOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None, typer.Option(help="A file (.wav, .flac, .ogg, .mp3) or a folder.")
    ] = None,
    overwrite: OverwriteOption = False,
    guard: GuardOption = True,
    json_: JsonOption = False,
) -> None:
    """Turn features of a recording back into sound and print the path of the file written.

    The checkpoint says which features, and how they are computed; nothing else of the recording
    reaches the model. Made from mel frames, the clip is filtered in the end until it has them.
    """
    labels = parse_labels(set_)
    from wavenet import checkpoint as checkpoints
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.sampling import choose_sampling
    from wavenet.synthesis.items import Item

    paths = plan_outputs(out, [f"{source.stem}_{checkpoint.name}_seed{seed}"], overwrite)
    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    loaded = checkpoints.load(checkpoint, device_for(engine, device))
    sampling = choose_sampling(loaded.config.sampling, guidance=guidance, **values)
    local, samples = read_source(loaded, source)
    item = Item(samples, labels, seed, local=local)
    runner = make_engine(engine, loaded.model, precision, threads)
    if candidates == 1:
        ((_, made),) = make_all(loaded, [item], sampling, runner, guard)
    else:
        made = find_nearest(loaded, item, candidates, sampling, runner)
    made = matched(loaded, made, item, match)
    rate, took = loaded.config.audio.sample_rate, made.took
    make_folder(paths[0].parent)
    rtf = took * rate / samples
    write(loaded, paths[0], item, made, False)
    tell(loaded, paths[0], item, made, False, rtf, json_)
    say(f"{samples / rate:.2f} s of audio in {took:.2f} s, {samples / rate / took:.2f} x real time")


def matched(loaded: "Checkpoint", made: Made, item: "Item", iterations: int | None) -> Made:
    """Filter the clip to its mel frames, unless told not to, or there are none.

    Raises:
        ConditionError: wanted of a model that is not conditioned on mel.
    """
    has_mel = any(condition.kind == "mel" for condition in loaded.config.model.locals)
    if iterations == 0 or (iterations is None and not has_mel) or item.local is None:
        return made
    from audio_utils.matching import ITERATIONS
    from wavenet.synthesis.matching import match_frames

    wanted = ITERATIONS if iterations is None else iterations
    waveform = match_frames(loaded, made.waveform, item.local, wanted).clamp(-1, 1)
    return replace(made, waveform=waveform)


def read_source(loaded: "Checkpoint", source: Path) -> "tuple[Tensor, int]":
    """Read a recording or an array: its frames, and how many samples they stand for.

    Raises:
        ConditionError: the model takes no frames, or these do not fit it.
    """
    from audio_utils import io
    from wavenet.model.features import frames_of, read_array

    config, rate = loaded.config.model, loaded.config.audio.sample_rate
    if not config.locals:
        raise ConditionError(
            f"{loaded.folder} takes no frames; `wavenet vocode` needs a checkpoint that does"
        )
    if source.suffix.lower() != ".npy":
        recording = io.read(source, rate)
        say_converted(source, recording)
        return frames_of(config, rate, recording.waveform), recording.waveform.numel()
    if len(config.locals) > 1:
        names = ", ".join(condition.name for condition in config.locals)
        raise ConditionError(
            f"this model takes {names}; give an array for each to `wavenet generate --frames`"
        )
    frames = frames_of(config, rate, None, {config.locals[0].name: read_array(source)})
    return frames, max(1, (frames.shape[0] - 1) * config.condition_hop)
