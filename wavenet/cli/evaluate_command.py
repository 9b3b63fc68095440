"""`wavenet evaluate`: tables that say how good a model is, beside baselines or real recordings.

Here a vocoder; `likelihood` and `digits` have files of their own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.evaluate_digits_command import digits
from wavenet.cli.evaluate_likelihood_command import likelihood
from wavenet.cli.options import (
    CandidatesOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    PrecisionOption,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    create_folder,
    print_message,
)
from wavenet.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.evaluation.vocoder import Recorded

app = typer.Typer(help="Measure what a model makes, beside a baseline.", no_args_is_help=True)
app.command()(likelihood)
app.command()(digits)
HEADER = "group                method       clips   PESQ   STOI  MCD dB   STFT  pitch"


@app.callback()
def evaluate() -> None:
    """Measure what a model makes, beside a baseline."""


@app.command()
def vocoder(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of recordings; each is a group of the table.")
    ],
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="Folder of a checkpoint conditioned on mel.")
    ] = Path("checkpoints/vocoder"),
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    candidates: CandidatesOption = 1,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Recordings of each folder, spread evenly over it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for metrics.json, and per group one clip as sound and picture."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Compare a vocoder with Griffin-Lim on the same mel spectrograms: PESQ, STOI and distances.

    PESQ and STOI rise with quality; the mel-cepstral (MCD) and the STFT distance fall, and so does
    the share of frames whose voicing or pitch is wrong. A recording that one of them is not defined
    for, such as a very short one, is left out of its mean. Two rows are filtered to the mel frames:
    "matched" is what the model made, "noise" is white noise: what the filter does by itself.
    """
    from audio_utils.metrics import missing_packages
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import progress_bar
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.evaluation.vocoder import METHODS, mel_condition, summarise
    from wavenet.evaluation.vocoder import evaluate as run
    from wavenet.sampling import resolve_sampling

    loaded = checkpoints.load(checkpoint, device_for(engine, device))
    sampling = resolve_sampling(loaded.config.sampling, temperature=temperature)
    mel_condition(loaded)
    rate = loaded.config.audio.sample_rate
    recordings = [one for folder in folders for one in read_group(folder, rate, limit)]
    for package in missing_packages():
        words = "is not installed, its column stays empty:"
        print_message(f'{package} {words} pip install "wavenet-studio[eval]"')
    keep = keeper(out, rate)
    runner = make_engine(engine, loaded.model, precision, threads)
    measures = []
    with progress_bar("recordings", len(recordings) * len(METHODS)) as advance:
        for one in run(loaded, recordings, sampling, runner, seed, keep, candidates, print_message):
            measures.append(one)
            advance(1)
    rows = summarise(measures)
    report = {"checkpoint": loaded.config.name, "seed": seed, "sampling": sampling.model_dump()}
    report |= {"candidates": candidates}
    report |= {"groups": rows, "recordings": [vars(one) for one in measures]}
    if out is not None:
        (out / "metrics.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if json_:
        typer.echo(json.dumps(report))
        return
    typer.echo(HEADER)
    for row in rows:
        show(row)


def read_group(folder: Path, rate: int, limit: int | None) -> "list[Recorded]":
    """Read the recordings of a folder, or as many as wanted, spread over it.

    Raises:
        DataError: no folder, or no file of it can be read.
    """
    from audio_utils import io
    from audio_utils.errors import AudioError
    from wavenet.evaluation.vocoder import Recorded
    from wavenet.manifest import find_entries

    entries = find_entries(folder)
    if limit is not None and limit < len(entries):
        entries = [entries[n * len(entries) // limit] for n in range(limit)]
    found = []
    for entry in entries:
        try:
            waveform = io.read(entry.path, rate).waveform
        except AudioError as error:
            print_message(f"skipped: {error}")
            continue
        found.append(Recorded(folder.name, entry.path.name, waveform))
    if not found:
        raise DataError(f"none of {len(entries)} files of {folder} could be read")
    return found


def keeper(out: Path | None, rate: int) -> Any:
    """Give a function that keeps the first clip of each group as sound and picture."""
    kept: set[str] = set()
    if out is not None:
        create_folder(out)

    def keep(recorded: "Recorded", made: "Mapping[str, Tensor]") -> None:
        from audio_utils import io, plots

        if out is None or recorded.group in kept:
            return
        kept.add(recorded.group)
        all_three = {"original": recorded.waveform, **made}
        for name, waveform in all_three.items():
            io.write(out / f"{recorded.group}_{name}.wav", waveform.clamp(-1, 1), rate)
        picture = plots.plot_side_by_side(all_three, rate)
        plots.save_figure(picture, out / f"{recorded.group}.png")

    return keep


def show(row: dict[str, Any]) -> None:
    """Print one line of the table; a dash where a measure is defined for no recording."""
    values = [
        f"{'-' if row[name] is None else format(row[name], '.3f'):>{width}}"
        for name, width in (
            ("pesq", 6),
            ("stoi", 6),
            ("mel_cepstral", 7),
            ("stft", 6),
            ("pitch", 6),
        )
    ]
    typer.echo(f"{row['group'][:20]:20} {row['method']:12} {row['clips']:5} {' '.join(values)}")
