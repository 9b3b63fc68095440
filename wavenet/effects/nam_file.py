"""Read and write `.nam` files: captures of amplifiers and effects of Neural Amp Modeler.

A file is UTF-8 JSON with version, architecture, config, weights, sample rate and metadata, and may
contain other models. Input of `read_nam`: a path. Output: a `NamModel`; sizes are bounded and the
weights are counted before anything is built. A read file that is written, read and written again
gives the same bytes. Source: NeuralAmpModelerCore, `nam_file.cpp`; `model-file.rst` of the trainer.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.effects.effect_shapes import (
    EffectShape,
    FeedForwardShape,
    SeriesShape,
    SizeChoiceShape,
)
from wavenet.effects.nam_config import parse_nam_config
from wavenet.effects.nam_config_writer import required_version, write_nam_config
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import read_weight_list
from wavenet.errors import DataError, EffectFileError
from wavenet.user_input.json_objects import unique_object

SUFFIX = ".nam"
MAX_FILE_BYTES = 16 << 20  # a capture has 0.4 MB
# Brackets and quotes cost the parser far more memory than digits; the largest files have thousands.
MAX_BRACKETS = 100_000
MAX_QUOTES = 400_000
MAX_NESTING = 8  # models inside models
MAX_MODELS = 64  # in one file
MAX_RATE = 1e6  # Hz
MAX_WEIGHTS_IN_FILE = 4_000_000
OLDEST, NEWEST = (0, 5, 0), (0, 7, 0)
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", re.ASCII)


def read_nam(path: Path) -> NamModel:
    """Read a file.

    Raises:
        EffectFileError: one sentence: what was expected, what was found.
    """
    return parse_nam(read_effect_bytes(path), str(path))


def read_effect_bytes(path: Path) -> bytes:
    """Return the content of a file of bounded size.

    Raises:
        EffectFileError: it is missing, too large, or cannot be read.
    """
    try:
        if not path.is_file():
            raise EffectFileError(f"{path} is not a file; expected the path of a file of an effect")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise EffectFileError(f"{path} cannot be read: {os_error_reason(error)}") from None
    if len(content) > MAX_FILE_BYTES:
        raise EffectFileError(
            f"{path} has more than {MAX_FILE_BYTES:,} bytes; expected a file of an effect"
        )
    return content


def parse_nam(content: bytes, source: str) -> NamModel:
    """Read the content of a file.

    Args:
        content: UTF-8 JSON.
        source: named in the errors.
    Raises:
        EffectFileError: as `read_nam`.
    """
    return _read_model(parse_effect_json(content, source), source, ModelBudget(), 0)


def parse_effect_json(content: bytes, source: str) -> dict[str, Any]:
    """Return the JSON object of a file, with bounded memory.

    Raises:
        EffectFileError: it is not UTF-8 or JSON, is nested too deeply, or has a key twice.
    """
    brackets = sum(content.count(mark) for mark in (b"[", b"{"))
    if len(content) > MAX_FILE_BYTES:
        raise EffectFileError(f"{source} has more than {MAX_FILE_BYTES:,} bytes")
    if brackets > MAX_BRACKETS or content.count(b'"') > MAX_QUOTES:
        raise EffectFileError(
            f"{source} has more than {MAX_BRACKETS:,} lists and objects, or too many texts"
        )
    try:
        document = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=unique_object,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        raise EffectFileError(f"{source} is not UTF-8 text; expected JSON") from None
    except RecursionError:
        raise EffectFileError(f"{source} is nested too deeply; expected a model") from None
    except DataError as error:
        raise EffectFileError(f"{source}: an object {error}") from None
    except ValueError as error:
        raise EffectFileError(f"{source} is not JSON, or is incomplete: {error}") from None
    if not isinstance(document, dict):
        raise EffectFileError(f"{source}: expected a JSON object, found {type(document).__name__}")
    return document


def write_nam(model: NamModel, path: Path, replace: bool = True) -> None:
    """Write a model, completely or not at all.

    Raises:
        EffectFileError: the file cannot be written.
    """
    content = format_nam(model)
    try:
        with atomic_file(path, replace) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise EffectFileError(f"{path} cannot be written: {os_error_reason(error)}") from None


def format_nam(model: NamModel) -> bytes:
    """Return the content of a file: one model has one text.

    Raises:
        EffectFileError: a weight is not finite, or the model has knobs; fold them first.
    """
    document = _write_model(model, float(model.rate))
    try:
        return (json.dumps(document, allow_nan=False) + "\n").encode("ascii")
    except ValueError:
        raise EffectFileError("a weight of the model, or its metadata, is not finite") from None


class ModelBudget:
    """Counts of models and weights of one file.

    Attributes:
        models: read so far.
        weights: read so far.
    """

    def __init__(self) -> None:
        self.models = 0
        self.weights = 0

    def add(self, source: str, weights: int) -> None:
        """Count one model.

        Raises:
            EffectFileError: there are too many.
        """
        self.models += 1
        self.weights += weights
        if self.models > MAX_MODELS or self.weights > MAX_WEIGHTS_IN_FILE:
            raise EffectFileError(
                f"{source}: the file has more than {MAX_MODELS} models or "
                f"{MAX_WEIGHTS_IN_FILE:,} weights"
            )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it contains {name}, which is no number of JSON")


def _read_model(
    document: Mapping[str, Any], source: str, budget: ModelBudget, depth: int
) -> NamModel:
    if depth > MAX_NESTING:
        raise EffectFileError(f"{source}: more than {MAX_NESTING} models inside each other")
    for key in ("version", "architecture", "config"):
        if key not in document:
            raise EffectFileError(f"{source}: the key {key} is missing; expected a .nam file")
    version = _read_version(document["version"], source)
    parsed = parse_nam_config(document["architecture"], document["config"], source)
    shape, values = parsed.shape, document.get("weights")
    is_container = isinstance(shape, SizeChoiceShape | SeriesShape)
    if values is None and not is_container:
        raise EffectFileError(f"{source}: the key weights is missing; expected a list of numbers")
    budget.add(source, len(values) if isinstance(values, list) else 0)
    model = NamModel(
        shape=shape,
        sample_rate=_read_rate(document.get("sample_rate"), source),
        version=version,
        metadata=_read_metadata(document.get("metadata"), source),
        parts=tuple(
            _read_model(part, f"{source}: {name}", budget, depth + 1) for name, part in parsed.parts
        ),
    )
    check_parts(model, source)
    weights = read_weight_list(shape, [] if values is None else values, source)
    return replace(model, weights=weights)


def _read_version(value: object, source: str) -> str:
    match = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if match is None or not isinstance(value, str):
        raise EffectFileError(
            f"{source}: version: expected a text such as 0.5.4, found {repr(value)[:60]}"
        )
    numbers = tuple(int(part) for part in match.groups())
    if numbers < OLDEST or numbers[:2] > NEWEST[:2]:
        raise EffectFileError(
            f"{source}: version {value} is not supported; expected 0.5.0 to 0.7.x"
        )
    return value


def is_newer_version(model: NamModel) -> bool:
    """Return whether the file has a later version than the last one that was known here."""
    return tuple(map(int, model.version.split("."))) > NEWEST


def _read_rate(value: object, source: str) -> float | None:
    if value is None or value == -1:  # -1: unknown, in other programs
        return None
    is_number = type(value) in (int, float)
    if not is_number or not isinstance(value, int | float) or not 1 <= value <= MAX_RATE:
        raise EffectFileError(
            f"{source}: sample_rate: expected a number from 1 to {MAX_RATE:,.0f} Hz, found "
            f"{repr(value)[:60]}"
        )
    return float(value)


def _read_metadata(value: object, source: str) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise EffectFileError(
            f"{source}: metadata: expected an object, found {type(value).__name__}"
        )
    if not _is_finite(value):
        raise EffectFileError(f"{source}: metadata: expected finite numbers, found infinity")
    return value


def _is_finite(value: object) -> bool:
    """Return whether all numbers of a JSON value are finite; without recursion."""
    rest: list[object] = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return False
        if isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return True


def check_parts(model: NamModel, source: str) -> None:
    """Check that the models inside a model fit each other.

    Raises:
        EffectFileError: sample rates or channels differ.
    """
    for part in model.parts:
        known = {rate for rate in (model.sample_rate, part.sample_rate) if rate is not None}
        if len(known) > 1:
            low, high = sorted(known)
            raise EffectFileError(
                f"{source}: a model inside has another sample rate ({low:g} and {high:g} Hz); "
                "expected equal rates"
            )
    match model.shape:
        case FeedForwardShape():
            inputs = model.parts[0].in_channels if model.parts else model.in_channels
            outputs = model.parts[0].out_channels if model.parts else model.in_channels
            found = model.shape.arrays[0].condition_size - model.shape.knob_channels
            if (inputs, outputs) != (model.in_channels, found):
                kind = "condition_dsp" if model.parts else "input"
                raise EffectFileError(
                    f"{source}: condition_size is {found}, but the {kind} has {outputs} channels "
                    f"(from {inputs} of {model.in_channels}); expected equal numbers"
                )
        case SizeChoiceShape():
            sizes = {(part.in_channels, part.out_channels) for part in model.parts}
            if len(sizes) > 1:
                raise EffectFileError(f"{source}: submodels have different numbers of channels")
        case SeriesShape():
            for first, second in zip(model.parts, model.parts[1:], strict=False):
                if first.out_channels != second.in_channels:
                    raise EffectFileError(
                        f"{source}: a model has {first.out_channels} outputs, but the next has "
                        f"{second.in_channels} inputs; expected equal numbers"
                    )
        case _:
            pass


def _write_model(model: NamModel, rate: float) -> dict[str, Any]:
    shape: EffectShape = model.shape
    if isinstance(shape, FeedForwardShape) and shape.knob_channels:
        raise EffectFileError("a .nam file has no knobs; fold them into the model first")
    weights = [_short_float(value) for value in model.weights]
    parts = [_write_model(part, rate) for part in model.parts]
    config = write_nam_config(shape, parts, weights[-1] if weights else 1.0)
    needed = required_version(shape, bool(parts))
    version = max(model.version, needed, key=lambda v: tuple(map(int, v.split("."))))
    document: dict[str, Any] = {"version": version}
    if model.metadata is not None:
        document["metadata"] = dict(model.metadata)
    document |= {"architecture": model.architecture, "config": config, "weights": weights}
    return document | {"sample_rate": int(rate) if rate.is_integer() else rate}


def _short_float(value: np.float32) -> float:
    """Return the number of fewest digits that is rounded to this weight."""
    short = float(str(value))
    return short if np.float32(short) == value else float(value)
