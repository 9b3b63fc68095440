"""Changes of a recipe by options: added labels, another sample rate, the model of a checkpoint.

Input: a recipe and the values of options. Output: a checked recipe. All other settings keep their
meaning: conditions stay, and settings in samples keep their length in time. Called by
`wavenet train`, before any recording is read.
"""

from collections.abc import Sequence
from typing import Any

import torch

from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.config import make_config
from wavenet.errors import ConfigError
from wavenet.model.conditions import (
    Condition,
    FramesCondition,
    LabelCondition,
    MelCondition,
    NumberCondition,
    PositionCondition,
    RasterCondition,
)
from wavenet.model.frame_features import LOUDNESS_WINDOW, compute_condition_frames
from wavenet.model.model_config import ModelConfig
from wavenet.training.recipe import RecipeConfig, TrainConfig


def add_labels(recipe: RecipeConfig, names: Sequence[str]) -> RecipeConfig:
    """Return the recipe with additional label conditions; existing ones are unchanged.

    Raises:
        ConfigError: an invalid name, or that of a condition of another kind.
    """
    conditions = {_name(c): c for c in recipe.model.conditions}
    for name in names:
        existing = conditions.get(name)
        if existing is not None and not isinstance(existing, LabelCondition):
            raise ConfigError(
                f"--label {name}: the recipe {recipe.name} has a condition of that name, of kind "
                f"{existing.kind}; rename the field of the recordings"
            )
        if existing is None:
            conditions[name] = make_config(LabelCondition, "--label", name=name)
    return _replace_model(recipe, "--label", conditions=tuple(conditions.values()))


def change_sample_rate(recipe: RecipeConfig, sample_rate: int) -> RecipeConfig:
    """Return the recipe at another rate; settings in samples keep their length in time.

    These are the hop and the windows of the conditions, and `samples_per_step`. The receptive field
    keeps its number of samples, because it follows from the layers.

    Raises:
        ConfigError: a setting is out of its range at this rate.
    """
    option = f"--sample-rate {sample_rate}"
    audio = make_config(AudioConfig, "--sample-rate", sample_rate=sample_rate)
    ratio = sample_rate / recipe.audio.sample_rate
    if recipe.model.conditions and ratio != 1:
        conditions = tuple(_scale_window(c, ratio, option) for c in recipe.model.conditions)
        hop = round(recipe.model.condition_hop * ratio)
        recipe = _replace_model(recipe, option, conditions=conditions, condition_hop=hop)
    train = _scale_steps(recipe.train, ratio)
    return make_config(type(recipe), option, **{**dict(recipe), "audio": audio, "train": train})


def use_model_of(recipe: RecipeConfig, config: CheckpointConfig) -> RecipeConfig:
    """Return the recipe with rate, codec and model of a checkpoint.

    Raises:
        ConfigError: the recipe has a condition that the checkpoint lacks.
    """
    has = [_name(c) for c in config.model.conditions]
    missing = [name for c in recipe.model.conditions if (name := _name(c)) not in has]
    if missing:
        raise ConfigError(
            f"the recipe {recipe.name} conditions on {', '.join(missing)}, but the checkpoint "
            f"{config.name} on {', '.join(has) or 'nothing'}; use a recipe without conditions, "
            "such as small, or another checkpoint"
        )
    ratio = config.audio.sample_rate / recipe.audio.sample_rate
    changes = {"audio": config.audio, "codec": config.codec, "model": config.model}
    train = _scale_steps(recipe.train, ratio)
    return make_config(type(recipe), recipe.name, **{**dict(recipe), **changes, "train": train})


def check_same_codes(recipe: RecipeConfig, config: CheckpointConfig) -> None:
    """Check that a recipe states no other rate or codec than a checkpoint.

    Args:
        recipe: as it was read; settings that it omits are not compared.
        config: of the checkpoint whose model replaces that of the recipe.
    Raises:
        ConfigError: it states another rate or codec.
    """
    differences = _differences(recipe, config, ("audio", "codec"))
    if differences:
        raise ConfigError(
            f"--from uses rate, codec and model of the checkpoint {config.name}, but the recipe "
            f"{recipe.name} states others ({', '.join(differences)}); write the values of the "
            "checkpoint in the recipe, or train without --from"
        )


def describe_replaced(
    recipe: RecipeConfig, config: CheckpointConfig, chosen: RecipeConfig
) -> str | None:
    """Describe the settings of a recipe that a checkpoint replaces; None if there are none.

    Args:
        recipe: as it was read; settings that it omits are not compared.
        config: of the checkpoint.
        chosen: from `use_model_of`.
    """
    replaced = _differences(recipe, config, ("audio", "codec", "model"))
    if not replaced:
        return None
    text = (
        f"--from uses rate, codec and model of the checkpoint {config.name} instead of the "
        f"recipe's: {', '.join(replaced)}"
    )
    if chosen.audio == recipe.audio:
        return text
    return f"{text}; a step has {chosen.train.samples_per_step:,} samples, as long in time"


def _differences(recipe: RecipeConfig, config: CheckpointConfig, parts: Sequence[str]) -> list[str]:
    """Return "model.residual_channels 12 → 8" for each stated setting that differs."""
    texts = []
    for part in parts:
        before, now = getattr(recipe, part), getattr(config, part)
        stated = before.model_fields_set if part in recipe.model_fields_set else ()
        for name in type(before).model_fields:
            if name not in stated or not hasattr(now, name):
                continue
            old, new = getattr(before, name), getattr(now, name)
            if name == "conditions":
                old = _add_values(old, new)
            if old != new:
                shown, replacement = _summarise(old), _summarise(new)
                other = "others" if shown == replacement else replacement
                texts.append(f"{part}.{name} {shown} → {other}")
    return texts


def _add_values(
    conditions: Sequence[Condition], others: Sequence[Condition]
) -> tuple[Condition, ...]:
    """Return conditions whose labels without values have those of the others."""
    values = {c.name: c.values for c in others if isinstance(c, LabelCondition)}
    return tuple(
        c.model_copy(update={"values": values.get(c.name, ())})
        if isinstance(c, LabelCondition) and not c.values
        else c
        for c in conditions
    )


def _summarise(value: Any) -> str:
    """Return a setting in a few words: a long list by its length, a config class by its kind."""
    if isinstance(value, tuple):
        if value and hasattr(value[0], "kind"):
            return " ".join(_name(condition) for condition in value)
        return f"of {len(value)} values" if value else "none"
    if isinstance(value, int):
        return f"{value:,}"
    return str(getattr(value, "kind", value))


def describe_rate_change(before: RecipeConfig, after: RecipeConfig) -> str:
    """Describe the changes of a recipe by another sample rate, with lengths in time."""
    old, new = before.audio.sample_rate, after.audio.sample_rate
    kept = [f"samples_per_step = {after.train.samples_per_step:,}"]
    if after.model.conditions:
        kept.append(_in_time("condition_hop", after.model.condition_hop, new))
    kept += [
        _in_time(f"the window of {_name(c)}", c.win_length, new)
        for c in after.model.locals
        if hasattr(c, "win_length")
    ]
    text = f"{new:,} Hz instead of the recipe's {old:,}: {', '.join(kept)}, all as long in time"
    field = after.model.receptive_field
    if field is not None:
        text += (
            f"; the receptive field stays {field:,} samples, now {_milliseconds(field, new)} "
            f"instead of {_milliseconds(field, old)} (model.dilations in a recipe changes it)"
        )
    for condition in after.model.conditions:
        if isinstance(condition, MelCondition) and condition.f_max is None:
            text += (
                f"; the {condition.n_mels} bands of {condition.name} now reach {new / 2:,g} Hz "
                f"instead of {old / 2:,g}"
            )
        if isinstance(condition, NumberCondition) and condition.derived_from == "loudness":
            now, earlier = (_milliseconds(LOUDNESS_WINDOW, rate) for rate in (new, old))
            text += f"; {condition.name} is measured over {now} instead of {earlier}"
    return text


def check_conditions(model: ModelConfig, sample_rate: int) -> None:
    """Check that all computed frames can be computed at a sample rate.

    Raises:
        ConditionError: a setting does not fit, such as an `f_max` above half the rate.
    """
    silence = torch.zeros(sample_rate // 10)
    for condition in model.locals:
        if not isinstance(condition, FramesCondition):
            compute_condition_frames(condition, silence, sample_rate, model.condition_hop)


def _name(condition: Condition) -> str:
    if isinstance(condition, PositionCondition | RasterCondition):
        return condition.kind
    return condition.name


def _replace_model(recipe: RecipeConfig, source: str, **changes: Any) -> RecipeConfig:
    model = make_config(type(recipe.model), source, **{**dict(recipe.model), **changes})
    return make_config(type(recipe), recipe.name, **{**dict(recipe), "model": model})


def _scale_window(condition: Condition, ratio: float, source: str) -> Condition:
    if not hasattr(condition, "win_length"):
        return condition
    length = round(condition.win_length * ratio)
    return make_config(type(condition), source, **{**dict(condition), "win_length": length})


def _scale_steps(settings: TrainConfig, ratio: float) -> TrainConfig:
    """Return the settings with as many seconds of audio per step."""
    samples = max(1, round(settings.samples_per_step * ratio))
    return make_config(TrainConfig, "train", **{**dict(settings), "samples_per_step": samples})


def _in_time(what: str, samples: int, rate: int) -> str:
    return f"{what} = {samples:,} samples ({_milliseconds(samples, rate)})"


def _milliseconds(samples: int, rate: int) -> str:
    return f"{1000 * samples / rate:.1f} ms"
