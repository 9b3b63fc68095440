"""The recipe of a voice: an acoustic model and a vocoder, read from TOML.

Input: a file name, or the name of a built-in recipe of a voice. Output: a checked `VoiceRecipe`.
Rate, hop and mel settings are those of the vocoder, which both models share. Called by
`wavenet train`.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from wavenet.checkpoint import AudioConfig
from wavenet.config import Name, StrictConfig, load_toml, make_config
from wavenet.errors import ConfigError
from wavenet.model.conditions import MelCondition
from wavenet.model.model_config import ModelConfig
from wavenet.speech.acoustic_model import AcousticConfig, AcousticSizes
from wavenet.speech.train_acoustic_model import AcousticSettings
from wavenet.training.recipe import VOICES, DataConfig, RecipeConfig
from wavenet.user_input.recipe_files import find_recipe

# of the vocoder: the clips, their frames and the held-out clips are those of the voice
_OWN_DATA = ("folder", "pattern", "metadata", "validation", "test", "stored_frames")


class AdaptationSettings(StrictConfig):
    """The training of the vocoder on predicted frames, after that on recordings; none by default.

    Attributes:
        steps: 0: none.
        learning_rate, muon_learning_rate: as in `TrainConfig`, lower than in the first training.
    """

    steps: int = Field(default=0, ge=0, le=100_000_000)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    muon_learning_rate: float | None = Field(default=1.5e-3, gt=0, le=1)


class VoiceRecipe(StrictConfig):
    """The settings of both models of a voice, and of their trainings.

    Attributes:
        kind: distinguishes it from the recipe of one model.
        name: of the voice.
        acoustic_model: its sizes.
        acoustic_training: its steps.
        vocoder: recipe of a model with the condition `mel` only. Its `data` says how recordings are
            read for both models, and which fraction of the clips is held out from both.
        adaptation: of the vocoder to the frames of the acoustic model.
    """

    kind: Literal["voice"] = "voice"
    name: Name
    acoustic_model: AcousticSizes = AcousticSizes()
    acoustic_training: AcousticSettings = AcousticSettings()
    vocoder: RecipeConfig
    adaptation: AdaptationSettings = AdaptationSettings()

    @model_validator(mode="after")
    def _vocoder_fits(self) -> Self:
        default = DataConfig()
        for name in _OWN_DATA:
            if getattr(self.vocoder.data, name) != getattr(default, name):
                raise ValueError(
                    f"vocoder.data.{name} cannot be used: the clips are those of metadata.csv, "
                    "their frames are computed, and vocoder.data.validation_fraction holds out "
                    "clips; remove it"
                )
        find_mel(self.vocoder.model)
        return self


def find_mel(model: ModelConfig) -> MelCondition:
    """Return the mel condition of a vocoder.

    Raises:
        ValueError: the model has no condition `mel`, or others.
    """
    conditions = model.conditions
    if len(conditions) != 1 or not isinstance(conditions[0], MelCondition):
        found = ", ".join(c.kind for c in conditions) or "none"
        raise ValueError(f"the vocoder must have the condition mel only, found {found}")
    return conditions[0]


def make_acoustic_config(
    recipe: VoiceRecipe, speaker: str, audio: AudioConfig, vocoder: ModelConfig
) -> AcousticConfig:
    """Return the config of the acoustic model for the frames of a vocoder.

    Args:
        speaker: name of the only speaker.
        audio, vocoder: rate and model of the vocoder.
    Raises:
        ConfigError: the vocoder has other conditions, or a setting is out of its range.
    """
    try:
        mel = find_mel(vocoder)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return make_config(
        AcousticConfig,
        recipe.name,
        name=recipe.name,
        sample_rate=audio.sample_rate,
        hop=vocoder.condition_hop,
        mel=mel,
        speakers=(speaker,),
        **dict(recipe.acoustic_model),
    )


def load_voice_recipe(name: str) -> VoiceRecipe:
    """Read the file of a recipe of a voice, or a built-in one by its name.

    Raises:
        ConfigError: there is no such recipe, or a setting is out of its range.
    """
    path = find_recipe(name, VOICES)
    if path is None:
        known = ", ".join(sorted(path.stem for path in VOICES.glob("*.toml")))
        raise ConfigError(
            f"{name} is not the recipe of a voice; expected a .toml file or one of {known}"
        )
    return load_toml(VoiceRecipe, path)


def change_steps(recipe: VoiceRecipe, steps: int) -> VoiceRecipe:
    """Return the recipe with this number of steps for the acoustic model and the adaptation.

    Raises:
        ConfigError: the number is out of its range.
    """
    settings = {**dict(recipe.acoustic_training), "steps": steps}
    acoustic = make_config(AcousticSettings, "--steps", **settings)
    adaptation = recipe.adaptation
    if adaptation.steps:
        values = {**dict(adaptation), "steps": steps}
        adaptation = make_config(AdaptationSettings, "--steps", **values)
    changed = {**dict(recipe), "acoustic_training": acoustic, "adaptation": adaptation}
    return make_config(VoiceRecipe, "--steps", **changed)
