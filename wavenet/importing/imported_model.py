"""An imported model, and the checkpoint folder that it becomes.

Input: a config, tensors in the layout of this project, and notes. Output: a folder. The model is
built in memory and checked before the first file is written. Called by the importers and by
`wavenet import`.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_utils.atomic_files import atomic_file
from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import Codec
from wavenet.config import make_config
from wavenet.errors import CheckpointError, ConditionError
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.model_config import ModelConfig

CARD_TEXT = """\
---
library_name: wavenet-studio
pipeline_tag: text-to-audio
tags: [audio, wavenet]
---
# {name}

Weights of another project, imported by `wavenet import {layout}`.

| | |
|---|---|
| file | `{file}` |
| sha256 | `{digest}` |
| layout | {layout} |
| licence | that of its authors; this program does not know it |
| sample rate | {rate} Hz |
| codec | {codec}, silence code {silence} |
| receptive field | {receptive_field} samples |
| parameters | {parameters:,} |

{notes}
"""


@dataclass(frozen=True)
class ImportedModel:
    """A model of another program, converted to the layout of this project.

    Attributes:
        config: of the checkpoint.
        model: computes the same numbers as the original, except for rounding.
        source_format: name of the original program, as in `wavenet import`.
        notes: sentences for the card.
        upsample: converts frames (F, columns) to one frame per sample, (T, columns); None if the
            original has no upsampling network.
    """

    config: CheckpointConfig
    model: AutoregressiveModel[Any]
    source_format: str
    notes: tuple[str, ...]
    upsample: Callable[[Tensor], Tensor] | None = None


def make_checkpoint_config(
    source: str, name: str, sample_rate: int, codec: Codec, model: ModelConfig
) -> CheckpointConfig:
    """Build the config of an imported checkpoint.

    Args:
        source: the original file, for error messages.
        name: of the checkpoint; characters that a config does not allow are replaced.
        sample_rate: Hz.
        codec, model: configs of the parts.
    Raises:
        ConfigError: the sample rate is out of range.
    """
    letters = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:60]
    return make_config(
        CheckpointConfig,
        source,
        name=letters if re.match(r"[A-Za-z_]", letters) else f"_{letters}",
        audio=make_config(AudioConfig, source, sample_rate=sample_rate),
        codec=codec,
        model=model,
    )


def build_model(
    config: CheckpointConfig, tensors: dict[str, Tensor], source: str
) -> AutoregressiveModel[Any]:
    """Build the model of a config with these weights, as float32.

    Raises:
        CheckpointError: a number is too large for float32.
    """
    model = checkpoint.build(config).requires_grad_(False).eval()
    weights = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source}: numbers too large for float32 in {name}")
    model.load_state_dict(weights)
    return model


def flatten_taps(weight: Tensor) -> Tensor:
    """Reshape the taps of a convolution, (out, in, K), oldest first, to a matrix (out, K * in)."""
    return weight.permute(0, 2, 1).flatten(1)


def save_checkpoint(
    imported: ImportedModel, folder: Path, original: Path, replace: bool = True
) -> None:
    """Write the checkpoint and its card.

    Args:
        imported: the model.
        folder: created if necessary.
        original: the imported file; its name and its digest go into the card.
        replace: whether an existing checkpoint may be replaced.
    Raises:
        CheckpointError: the folder cannot be written.
    """
    text = render_card(imported, original)
    checkpoint.save(folder, imported.config, imported.model, replace)
    try:
        with atomic_file(folder / checkpoint.CARD, replace) as path:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"cannot write the card of {folder}: {error}") from None


def upsample_frames(imported: ImportedModel, frames: Tensor) -> Tensor:
    """Run the original's upsampling network on frames.

    Args:
        imported: the model.
        frames: (F, columns) or (columns, F); the number of columns determines which.
    Returns:
        (T, columns) float32, one frame per sample.
    Raises:
        ConditionError: the model has no upsampling network, or the frames do not fit it.
    """
    if imported.upsample is None:
        raise ConditionError("this model has no upsampling network; omit --frames")
    columns = sum(condition.columns for condition in imported.config.model.locals)
    fitting = [n for n in range(2) if frames.ndim == 2 and frames.shape[n] == columns]
    if len(fitting) != 1 or not bool(torch.isfinite(frames).all()):
        shape = " x ".join(map(str, frames.shape)) or "a single number"
        raise ConditionError(
            f"expected finite numbers of shape frames x {columns} or {columns} x frames; "
            f"{columns} x {columns} is ambiguous; found {shape}"
        )
    return imported.upsample(frames.T if fitting == [0] else frames)


def render_card(imported: ImportedModel, original: Path) -> str:
    """Return the text of the card: the origin of the weights, and how they were converted."""
    config, codec = imported.config, imported.config.codec
    with original.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CARD_TEXT.format(
        name=config.name,
        layout=imported.source_format,
        file="".join(c if c.isprintable() and c not in "`|" else "?" for c in original.name),
        digest=digest,
        rate=config.audio.sample_rate,
        codec=codec.description,
        silence=codec.silence_code,
        receptive_field=imported.model.receptive_field,
        parameters=imported.model.parameter_count,
        notes=_as_list(imported.notes),
    )


def _as_list(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)
