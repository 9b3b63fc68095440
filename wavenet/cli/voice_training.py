"""Train a voice, as a part of `wavenet train`: its options and its messages.

Input: a recipe of a voice and options. Output: the folder of the voice on stdout, progress on
stderr. Called by `train_command`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wavenet.cli.options import print_message
from wavenet.errors import ConfigError, DataError
from wavenet.terminal import print_line

if TYPE_CHECKING:
    from wavenet.progress import Progress
    from wavenet.speech.acoustic_model import AcousticModel
    from wavenet.speech.voice_job import VoiceJob
    from wavenet.training.distributed import Ranks
    from wavenet.training.training_setup import RecipeOptions, TrainingSetup

STOPPED = 130  # exit code
RESUME_HINT = "continue with the same command and --resume"


@dataclass(frozen=True)
class VoiceOptions:
    """The options of `wavenet train` that are not settings of a recipe.

    Attributes:
        out: folder of the training; None: runs/NAME.
        initial: checkpoint from which the vocoder is trained, or a voice for both models.
        vocoder: a vocoder that is not trained.
    """

    out: Path | None
    resume: bool
    accept_changes: bool
    initial: Path | None
    vocoder: Path | None
    threads: int | None
    quiet: bool


def train_voice_from(
    recipe: str,
    options: "RecipeOptions",
    chosen: VoiceOptions,
    ranks: "Ranks",
    train_vocoder: "Callable[[TrainingSetup, Path, bool], None]",
) -> None:
    """Train a voice and print its folder.

    Args:
        recipe: a file, or the name of a built-in recipe of a voice.
        options: that change a recipe.
        chosen: the other options.
        ranks: of torchrun.
        train_vocoder: as in `VoiceCallbacks`.
    Raises:
        ConfigError: an option that a voice does not have.
    """
    from wavenet.cli.data_align_command import describe_result
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.speech.train_voice import VoiceCallbacks, train_voice

    _check_options(options, chosen, ranks)
    job = _make_job(recipe, options, chosen)

    def open_progress(unit: str, total: int) -> "AbstractContextManager[Progress]":
        return ProgressBar(unit, total, chosen.quiet)

    callbacks = VoiceCallbacks(train_vocoder, print_message, open_progress, describe_result)
    try:
        voice = train_voice(job, callbacks)
    except KeyboardInterrupt:
        voice = None
    if voice is None:
        print_message(f"stopped; {RESUME_HINT}")
        raise typer.Exit(STOPPED)
    print_line(voice)


def _make_job(recipe: str, options: "RecipeOptions", chosen: VoiceOptions) -> "VoiceJob":
    """Return the job, and report what the options change."""
    from dataclasses import replace

    from wavenet import checkpoint
    from wavenet.speech.voice_job import VoiceJob
    from wavenet.speech.voice_recipe import change_steps, load_voice_recipe
    from wavenet.training.recipe_options import check_conditions
    from wavenet.training.training_setup import set_up_recipe

    loaded = load_voice_recipe(recipe)
    if options.data is None:
        raise DataError("no folder of recordings and texts is given; add --data")
    if options.steps is not None:
        loaded = change_steps(loaded, options.steps)
    # the table of the voice selects the recordings of the vocoder
    own = replace(options, data=None)
    setup = set_up_recipe(loaded.vocoder, own, chosen.initial, chosen.resume)
    check_conditions(setup.recipe.model, setup.recipe.audio.sample_rate)
    if setup.note:
        print_message(setup.note)
    return VoiceJob(
        loaded,
        Path(options.data).expanduser(),
        chosen.out or Path("runs") / loaded.name,
        setup,
        None if chosen.vocoder is None else checkpoint.load(chosen.vocoder),
        _load_initial(chosen.initial),
        chosen.resume,
        chosen.threads,
    )


def _load_initial(initial: Path | None) -> "AcousticModel | None":
    """Return the acoustic model of a voice with the first weights; None for another checkpoint."""
    from wavenet.checkpoint_folders import is_voice, resolve_checkpoint
    from wavenet.speech.voice_folder import load_acoustic_model

    folder = None if initial is None else resolve_checkpoint(initial)
    return None if folder is None or not is_voice(folder) else load_acoustic_model(folder)


def _check_options(options: "RecipeOptions", chosen: VoiceOptions, ranks: "Ranks") -> None:
    """Check that no option is given that a voice does not have."""
    refused = {
        "--pattern": options.pattern,
        "--metadata": options.metadata,
        "--label": options.labels,
        "--sample-rate": options.sample_rate,
        "--accept-changes": chosen.accept_changes,
    }
    given = [name for name, value in refused.items() if value]
    if given:
        raise ConfigError(
            f"{', '.join(given)} cannot be used for a voice; omit it, or write a recipe of your own"
        )
    if chosen.initial is not None and chosen.vocoder is not None:
        raise ConfigError("--from trains a vocoder and --vocoder does not; omit one of them")
    if ranks.world_size > 1:
        raise ConfigError("a voice is trained by one process; start the command without torchrun")
