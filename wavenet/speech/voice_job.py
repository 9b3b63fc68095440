"""What a training of a voice is: its settings, and the file with which it is resumed.

Input: a `VoiceJob`. Output: `voice.json` in the folder of the training, written at its start and
compared when it is resumed. Called by `train_voice.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.checkpoint import Checkpoint
from wavenet.config import Name, StrictConfig, name_of_folder, parse_config
from wavenet.errors import ConfigError, FolderError, TrainingError
from wavenet.speech.acoustic_model import AcousticConfig, AcousticModel, AcousticSizes
from wavenet.speech.voice_folder import have_equal_frames
from wavenet.speech.voice_recipe import VoiceRecipe, make_acoustic_config
from wavenet.training.snapshots import has_snapshot
from wavenet.training.task import describe_checkpoint, hash_weights
from wavenet.training.training_setup import TrainingSetup

PLAN = "voice.json"
MAX_NAMED = 5  # values that a message names


class VoicePlan(StrictConfig):
    """The content of `voice.json`.

    Attributes:
        recipe: with the values of the options.
        speaker: name of the speaker.
        vocoder: name and digest of the vocoder that is used as it is; None: it is trained.
        initial: name and digest of the checkpoint from which the vocoder is trained.
        initial_acoustic: name and digest of the acoustic model from which that of the voice is
            trained.
    """

    format_version: Literal[1] = 1
    recipe: VoiceRecipe
    speaker: Name
    vocoder: str | None = None
    initial: str | None = None
    initial_acoustic: str | None = None


@dataclass(frozen=True)
class VoiceJob:
    """What is trained, from what, and where.

    Attributes:
        recipe: of the voice.
        corpus: folder in the layout of LJSpeech.
        folder: of the training.
        setup: of the training of the vocoder; its recordings are replaced by those of the voice.
        vocoder: a trained vocoder, which is used as it is; None: one is trained.
        initial_acoustic: the acoustic model with the first weights; None: they are random.
        resume: continue a training in the folder.
        threads: of the CPU, and number of worker processes; None: all cores.
    """

    recipe: VoiceRecipe
    corpus: Path
    folder: Path
    setup: TrainingSetup
    vocoder: Checkpoint | None = None
    initial_acoustic: AcousticModel | None = None
    resume: bool = False
    threads: int | None = None

    @property
    def acoustic_config(self) -> AcousticConfig:
        """The config of the acoustic model, before F0 is measured."""
        recipe = self.setup.recipe
        audio, model = recipe.audio, recipe.model
        if self.vocoder is not None:
            audio, model = self.vocoder.config.audio, self.vocoder.config.model
        config = make_acoustic_config(self.recipe, self.speaker, audio, model)
        initial = self.initial_acoustic
        if initial is None:
            return config
        check_same_frames(config, initial.config)
        sizes = {name: getattr(initial.config, name) for name in AcousticSizes.model_fields}
        return AcousticConfig(**{**dict(config), **sizes})

    @property
    def speaker(self) -> str:
        """The name of the speaker, that of the folder of the recordings."""
        return name_of_folder(self.corpus, "speaker")

    @property
    def plan(self) -> VoicePlan:
        """The settings that a resumed training must share."""
        initial, acoustic = self.setup.initial, self.initial_acoustic
        digest = "" if acoustic is None else hash_weights(acoustic)
        recipe = VoiceRecipe(**{**dict(self.recipe), "vocoder": self.setup.recipe})
        return VoicePlan(
            recipe=recipe,
            speaker=self.speaker,
            vocoder=None if self.vocoder is None else describe_checkpoint(self.vocoder),
            initial=None if initial is None else describe_checkpoint(initial),
            initial_acoustic=None if acoustic is None else f"{acoustic.config.name} {digest}",
        )


def check_same_frames(config: AcousticConfig, initial: AcousticConfig) -> None:
    """Check that an acoustic model can start from another one.

    Raises:
        ConfigError: the other one has other frames.
    """
    for name in ("sample_rate", "hop", "mel"):
        wanted, found = getattr(config, name), getattr(initial, name)
        if not (have_equal_frames(wanted, found) if name == "mel" else wanted == found):
            raise ConfigError(
                f"the acoustic model of {initial.name} has another {name} ({found}) than the "
                f"vocoder ({wanted}); use a vocoder with the same frames, or train without --from"
            )


def open_training(job: VoiceJob) -> None:
    """Write the plan of a new training, or compare it with that of the training to resume.

    Raises:
        TrainingError: the folder has a training that is not to be resumed, or of other settings, or
            none to resume.
        FolderError: the folder cannot be written.
    """
    path, plan = job.folder / PLAN, job.plan
    has_training = path.exists() or has_snapshot(job.folder)
    if has_training and not job.resume:
        raise TrainingError(
            f"{job.folder} already contains a run; resume it or choose another folder"
        )
    if job.resume and not path.exists():
        raise TrainingError(f"{job.folder} has no training of a voice; start it without --resume")
    if not job.resume:
        write_text(path, plan.model_dump_json(indent=2) + "\n")
        return
    try:
        saved = parse_config(VoicePlan, path.read_bytes(), str(path))
    except (OSError, ConfigError) as error:
        raise TrainingError(f"{path} is damaged: {error}; train in another folder") from None
    changed = list(_find_changes(saved.model_dump(), plan.model_dump()))
    if changed:
        named = ", ".join(changed[:MAX_NAMED]) + (", .." if len(changed) > MAX_NAMED else "")
        raise TrainingError(
            f"{job.folder} has a training with other values of {named}; resume with the same "
            "values, or choose another folder"
        )


def _find_changes(saved: object, now: object, name: str = "") -> Iterator[str]:
    """Yield each value that differs, such as "recipe.vocoder.train.steps (600, now 700)"."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in {**saved, **now}:
            path = f"{name}.{key}" if name else str(key)
            yield from _find_changes(saved.get(key), now.get(key), path)
    elif saved != now:
        yield f"{name} ({saved}, now {now})"


def write_text(path: Path, text: str) -> None:
    """Write a text file, completely or not at all.

    Raises:
        FolderError: it cannot be written.
    """
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {os_error_reason(error)}") from None
