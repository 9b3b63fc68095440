"""Check the arguments of the public Python interface, which a program may pass with any type.

Input: values as they were passed. Output: the same values, or an error of one sentence. Called by
`loaded_model`, `audio_clip` and `training_run`.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch

from wavenet.errors import ConditionError, ConfigError
from wavenet.generation.request import random_seed
from wavenet.model.condition_values import condition_names, resolve_condition_values
from wavenet.model.conditioning import ConditionValue
from wavenet.model.frame_features import read_array
from wavenet.model.model_config import ModelConfig
from wavenet.user_input.close_names import find_close_name, find_equal_name

# of `Model.generate`, for the message on a misspelt one
ARGUMENTS = (
    *("seconds", "seed", "prompt", "keep_prompt", "sample_rate", "frames", "frames_scale"),
    *("conditions", "temperature", "top_k", "top_p", "greedy", "guidance", "guard"),
)


def check_path(what: str, value: Any) -> str:
    """Return a path as text.

    Raises:
        ConfigError: it is neither text nor a path.
    """
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{what} must be text or a path, found {value!r:.100}")
    return str(os.fspath(value))


def check_flags(**values: Any) -> None:
    """Check that values are True or False.

    Raises:
        ConfigError: one is something else.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be True or False, found {value!r:.100}")


def check_count(name: str, value: Any, least: int) -> None:
    """Check that a value is None or a whole number.

    Raises:
        ConfigError: it is something else, or too small.
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if value is not None and (not is_whole or value < least):
        raise ConfigError(
            f"{name} must be a whole number of at least {least}, found {value!r:.100}"
        )


def check_seconds(name: str, value: Any) -> None:
    """Check that a duration is None or a number above 0.

    Raises:
        ConditionError: it is something else.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if value is not None and not (is_number and math.isfinite(value) and value > 0):
        raise ConditionError(f"{name} must be a number of seconds above 0, found {value!r:.100}")


def check_rate(value: Any) -> None:
    """Check that a number of false alarms an hour is a number.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ConfigError(f"false_alarms_per_hour must be a number, found {value!r:.100}")


def check_mapping(name: str, value: Any, example: str) -> Mapping[str, Any]:
    """Return a mapping; for None an empty one.

    Raises:
        ConditionError: it is no mapping.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConditionError(
            f"{name} must be a mapping such as {example}, found {type(value).__name__}"
        )
    return value


def check_pronunciation_types(value: Any) -> Mapping[str, str | Sequence[str]]:
    """Return words and their phones; for None no words.

    Raises:
        ConditionError: a word or its phones have another type.
    """
    example = "{'GIF': 'JH IH1 F'}"
    given = check_mapping("pronunciations", value, example)
    for word, phones in given.items():
        symbols = phones if isinstance(phones, str | list | tuple) else [phones]
        if not all(isinstance(text, str) for text in (word, *symbols)):
            raise ConditionError(
                f"pronunciations must be words and phones such as {example}, found {word!r:.50}: "
                f"{phones!r:.50}"
            )
    return given


def check_text(value: Any) -> Iterable[str]:
    """Return a text, or its parts, each of which is checked when it is read.

    Raises:
        ConditionError: it is neither text nor parts of text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise ConditionError(f"the text must be text, or parts of text, found {value!r:.100}")
    return map(_check_part, value)


def _check_part(part: Any) -> str:
    if not isinstance(part, str):
        raise ConditionError(f"a part of the text must be text, found {part!r:.100}")
    return part


def list_rows(rows: Any) -> list[Mapping[str, Any]]:
    """Return the rows of a batch as a list.

    Raises:
        ConditionError: they are no list of mappings.
    """
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise ConditionError(
            f"the rows must be a list of mappings such as {{'digit': 7, 'seed': 3}}, found "
            f"{type(rows).__name__}"
        )
    return [check_mapping("a row", row, "{'digit': 7, 'seed': 3}") for row in rows]


def merge_values(config: ModelConfig, conditions: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the condition values of both sources.

    Args:
        conditions: a mapping or None.
        values: further keyword arguments.
    Raises:
        ConditionError: both have a value for one name, or a keyword is probably another argument
            that is misspelt.
    """
    known = condition_names(config)
    for name in values:
        close = find_close_name(name, ARGUMENTS)
        if close and find_equal_name(name, known) is None and not find_close_name(name, known):
            raise ConditionError(f"there is no argument {name!r}; did you mean {close}?")
    given = check_mapping("conditions", conditions, "{'digit': 7}")
    twice = [name for name in given if find_equal_name(str(name), list(values)) is not None]
    if twice:
        raise ConditionError(
            f"the condition {twice[0]} is set twice, as an argument and in conditions; omit one"
        )
    return {**given, **values}


def resolve_values(
    config: ModelConfig, conditions: Any, values: Mapping[str, Any]
) -> dict[str, ConditionValue]:
    """Return the condition values of `merge_values` by the names of the model.

    Raises:
        ConditionError: as in `merge_values`; or a name or a value is unknown.
    """
    return resolve_condition_values(config, merge_values(config, conditions, values))


def choose_seed(seed: int | None) -> int:
    """Return a seed, for None a random one.

    Raises:
        ConditionError: it is no whole number.
    """
    if seed is None:
        return random_seed()
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ConditionError(f"the seed must be a whole number or None, found {seed!r}")
    return int(seed)


def read_frames(name: str, frames: Any) -> torch.Tensor:
    """Return frames (F, columns) from a `.npy` file or an array.

    Raises:
        ConditionError: it is neither, or cannot be read.
    """
    if isinstance(frames, str | os.PathLike):
        return read_array(Path(frames))
    try:
        return torch.as_tensor(frames, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise ConditionError(
            f"the frames of {name} must be an array of numbers or a .npy file, found "
            f"{type(frames).__name__}"
        ) from None
