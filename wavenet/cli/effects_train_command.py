"""`wavenet effects train`: dry and wet recordings -> a trained effect.

Input: two files, a table of files with the settings of knobs, or a dry file and a model to imitate.
Output: the folder of the effect on stdout; checks, progress and the table of errors on stderr.
Called by `effects_command`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import ChannelChoice, ChannelOption, QuietOption, print_message
from wavenet.cli.output_paths import check_new_folder
from wavenet.config import make_config, name_of_folder
from wavenet.errors import ConfigError, DataError
from wavenet.interrupts import stop_on_interrupt
from wavenet.terminal import print_line

if TYPE_CHECKING:
    from wavenet.effects.pair_report import PairReport
    from wavenet.effects.training.effect_job import EffectJob
    from wavenet.effects.training.effect_losses import LossWeights
    from wavenet.effects.training.effect_recipe import EffectRecipe
    from wavenet.effects.training.pair_files import PairFiles, ReadPairs
    from wavenet.effects.training.training_results import TrainingResults

STOPPED = 130  # exit code
AUTO = "auto"
DEFAULT_RECIPE = "capture"


def train(
    dry: Annotated[Path | None, typer.Argument(help="What was played into the effect.")] = None,
    wet: Annotated[Path | None, typer.Argument(help="What came out of it.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Table of pairs instead of DRY and WET: columns dry, wet, one per knob (0 to 1)."
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Model or effect to imitate: it makes the wet recording of DRY."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the effect.")] = Path(
        "runs/effect"
    ),
    recipe: Annotated[str, typer.Option(help="Recipe: a .toml file or a name.")] = DEFAULT_RECIPE,
    model: Annotated[
        str | None,
        typer.Option(
            help="standard, lite, feather, nano, a2-full or a2-lite, instead of the recipe's."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps; overrides the recipe.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Time budget instead of a number of steps.")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="esr, mse, emphasised-esr, emphasised-mse, spectral; with weights: "
            "esr=1,spectral=0.001."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The highest; overrides the recipe.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Validations without a smaller error after which the training ends."),
    ] = None,
    latency: Annotated[
        str, typer.Option(help="Samples by which the wet recordings are late, or auto.")
    ] = AUTO,
    clip_samples: Annotated[
        int | None,
        typer.Option(help="Length of independent clips that lie one after the other in the files."),
    ] = None,
    clip_past: Annotated[
        str | None,
        typer.Option(
            help="What was before a clip: silence; unknown, if it was cut from a longer one."
        ),
    ] = None,
    validation_share: Annotated[
        float | None, typer.Option(help="Share of each recording that selects the best weights.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Share at the end that is only measured.")
    ] = None,
    channel: ChannelOption = ChannelChoice.MIX,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Check the recordings first.")
    ] = True,
    seed: Annotated[int | None, typer.Option(help="Of the weights and of the batches.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; default: one per core.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in OUT.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model of an amplifier or effect on dry and wet recordings.

    The recordings are checked as by `wavenet effects check`; a failed check ends the command. Part
    of each recording is not trained on and selects the best weights. At the end a table compares
    the errors with those of a linear filter. Ctrl-C keeps the best weights so far; the same command
    with --resume continues, with the same result as without the interruption.

    With a table, one model learns all settings of the knobs and interpolates between them. Optional
    columns: part (training, validation or test: for the whole pair), weight. With --teacher, a
    model learns from another one, for example a smaller one from a larger one.
    """
    from wavenet.effects.training.effect_recipe import load_effect_recipe

    training = {
        "steps": steps,
        "learning_rate": learning_rate,
        "patience": patience,
        "seed": seed,
        "loss": None if loss is None else parse_loss(loss),
    }
    split = {
        "clip_samples": clip_samples,
        "clip_past": clip_past,
        "validation_share": validation_share,
        "test_share": test_share,
    }
    chosen = change_recipe(load_effect_recipe(recipe), out, model, training, split)
    if steps is not None and minutes is not None:
        raise ConfigError("--steps and --minutes exclude each other; omit one of them")
    if not resume:
        check_new_folder(out, False)
    elif not out.is_dir():
        raise ConfigError(f"{out} has no training to continue; omit --resume")
    files = list_pairs(dry, wet, data, teacher)
    samples = _parse_latency(latency)
    read = _read(files, teacher, samples, check, channel, quiet)
    job = _make_job(chosen, files, read, teacher is not None)
    results = _run(job, out, threads, minutes, quiet)
    if results is None:
        print_message("stopped; continue with the same command and --resume")
        raise typer.Exit(STOPPED)
    _print_results(results)
    print_line(out)


def change_recipe(
    recipe: "EffectRecipe",
    out: Path,
    model: str | None,
    training: dict[str, Any],
    split: dict[str, Any],
) -> "EffectRecipe":
    """Return a recipe with the options that are given.

    Raises:
        ConfigError: a value is out of range.
    """
    from wavenet.effects.training.effect_architecture import EffectArchitecture
    from wavenet.effects.training.effect_pairs import SplitSettings
    from wavenet.effects.training.effect_recipe import EffectRecipe
    from wavenet.effects.training.train_effect import EffectTrainingSettings

    def given(options: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in options.items() if value is not None}

    values: dict[str, Any] = {**dict(recipe), "name": name_of_folder(out, "effect")}
    values["training"] = make_config(
        EffectTrainingSettings, "the options", **dict(recipe.training) | given(training)
    )
    values["data"] = make_config(SplitSettings, "the options", **dict(recipe.data) | given(split))
    if model is not None:
        scale = recipe.architecture.head_scale
        values["architecture"] = make_config(
            EffectArchitecture, "--model", kind=model, head_scale=scale
        )
    return make_config(EffectRecipe, "the options", **values)


def parse_loss(text: str) -> "LossWeights":
    """Return the weights of a text such as esr or esr=1,spectral=0.001.

    Raises:
        ConfigError: an unknown name, or a weight out of range.
    """
    from wavenet.effects.training.effect_losses import LossWeights
    from wavenet.user_input.typed_numbers import read_number

    values: dict[str, float] = {"esr": 0.0}
    seen: set[str] = set()
    for part in text.split(","):
        name, equals, weight = part.partition("=")
        number = read_number(weight) if equals else 1.0
        if number is None:
            raise ConfigError(f"--loss: expected a number after {name}=, found {weight!r}")
        key = name.strip().replace("-", "_")
        if key not in LossWeights.model_fields:
            known = ", ".join(field.replace("_", "-") for field in LossWeights.model_fields)
            raise ConfigError(f"--loss: {name.strip()} is not known; expected {known}")
        if key in seen:
            raise ConfigError(f"--loss names {name.strip()} twice; expected every loss once")
        seen.add(key)
        values[key] = float(number)
    return make_config(LossWeights, "--loss", **values)


def list_pairs(
    dry: Path | None, wet: Path | None, data: Path | None, teacher: Path | None
) -> "list[PairFiles]":
    """Return the files of the pairs.

    Raises:
        ConfigError: the options do not say which files are meant.
        DataError: the table cannot be read.
    """
    from wavenet.effects.training.pair_files import PairFiles, read_pair_table

    if data is not None:
        if dry is not None or teacher is not None:
            raise ConfigError("--data names all files; omit DRY, WET and --teacher")
        return read_pair_table(data)
    if dry is None:
        raise ConfigError("no recordings are given; name DRY and WET, or a table with --data")
    if teacher is not None:
        if wet is not None:
            raise ConfigError("--teacher makes the wet recording; omit WET")
        return [PairFiles(dry, dry)]
    if wet is None:
        raise ConfigError("the wet recording is missing; name DRY and WET, or a --teacher")
    return [PairFiles(dry, wet)]


def _parse_latency(text: str) -> int | None:
    from wavenet.effects.training.pair_files import MAX_LATENCY
    from wavenet.user_input.typed_numbers import read_number

    if text == AUTO:
        return None
    number = read_number(text)
    if not isinstance(number, int) or abs(number) > MAX_LATENCY:
        raise ConfigError(f"--latency: expected auto or a number of samples, found {text}")
    return number


def _read(
    files: "Sequence[PairFiles]",
    teacher: Path | None,
    latency: int | None,
    check: bool,
    channel: ChannelChoice,
    quiet: bool,
) -> "ReadPairs":
    """Read and check the recordings; print the warnings.

    Raises:
        DataError: a check failed.
    """
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.effects.training.pair_files import read_pairs, render_teacher

    with status_spinner("reading and checking the recordings", quiet):
        if teacher is not None:
            from wavenet.effects.load_effect import load_effect

            return render_teacher(files[0].dry, load_effect(teacher).model_at(), channel.value)
        read = read_pairs(files, latency, check, channel.value)
    for pair, report in zip(files, read.reports, strict=False):
        _judge(pair.wet, report, quiet)
    return read


def _judge(path: Path, report: "PairReport", quiet: bool) -> None:
    for check in report.checks:
        if check.verdict == "fail":
            raise DataError(
                f"{path}: {check.name}: {check.sentence}; to train on it anyway, add --no-check"
            )
    for check in report.checks:
        if check.verdict == "warn" and not quiet:
            print_message(f"{path}: {check.name}: {check.sentence}")


def _make_job(
    recipe: "EffectRecipe", files: "Sequence[PairFiles]", read: "ReadPairs", is_teacher: bool
) -> "EffectJob":
    from wavenet.effects.training.effect_job import EffectJob
    from wavenet.effects.training.pair_files import make_knobs

    return EffectJob(recipe, read.pairs, make_knobs(files), read.sample_rate, is_teacher)


def _run(
    job: "EffectJob", out: Path, threads: int | None, minutes: float | None, quiet: bool
) -> "TrainingResults | None":
    """Train with a progress bar."""
    from contextlib import ExitStack

    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.devices import available_cores
    from wavenet.effects.training.effect_job import run_effect_job
    from wavenet.effects.training.train_effect import EffectProgress

    last, bars = 0, []

    with ExitStack() as stack:
        should_stop = stack.enter_context(stop_on_interrupt())

        def on_start(steps: int) -> None:
            bars.append(stack.enter_context(ProgressBar("steps", steps, quiet)))

        def report(step: int, progress: EffectProgress | None) -> None:
            nonlocal last
            bars[0].advance(step - last)
            last = step
            if progress is not None and not quiet:
                worst = max(error for error in progress.errors if error is not None)
                bars[0].message(
                    f"step {step:,}: ESR {progress.mean_error:.5f} (mean), {worst:.5f} (largest), "
                    f"training loss {progress.loss:.5f}, best {progress.best_error:.5f}"
                )

        return run_effect_job(
            job,
            out,
            threads or available_cores(),
            minutes,
            on_start,
            report,
            should_stop,
        )


def _print_results(results: "TrainingResults") -> None:
    from wavenet.effects.training.training_results import format_results

    for line in format_results(results):
        print_message(line)
    print_message(
        f"best weights: step {results.best_step:,} of {results.steps:,}; linear: a filter of "
        f"{results.linear_taps} taps, fitted to each pair"
    )
