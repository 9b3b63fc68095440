"""What an import gives, and the checkpoint folder that it becomes.

A config and tensors in our layout enter, with what there is to say about them; a folder leaves.
Everything is built in memory and checked before the first file is written.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from audio_utils.files import atomic_file
from wavenet import checkpoint
from wavenet.config import AudioConfig, CheckpointConfig, CodecConfig, ModelConfig
from wavenet.errors import CheckpointError, ConditionError
from wavenet.model.wavenet import WaveNet
from wavenet.parsing import make

CARD_TEXT = """\
---
library_name: wavenet-studio
pipeline_tag: text-to-audio
tags: [audio, wavenet]
---
# {name}

Weights that somebody else trained, imported by `wavenet import {layout}`.

| | |
|---|---|
| file | `{file}` |
| sha256 | `{digest}` |
| layout | {layout} |
| licence | that of its authors; it is not known to us |
| sample rate | {rate} Hz |
| codec | {law}, {bits} bits, rounded {rounding}, silence code {silence} |
| receptive field | {field} samples |
| parameters | {parameters:,} |

{facts}
"""


@dataclass(frozen=True)
class Imported:
    """A model in our layout.

    Attributes:
        config: of the checkpoint.
        model: the same numbers as the original, but for rounding.
        layout: whose files these are.
        facts: sentences for the card.
        upsample: frames (F, columns) to one frame a sample (T, columns), where the original has a
            network for that.
    """

    config: CheckpointConfig
    model: WaveNet
    layout: str
    facts: tuple[str, ...]
    upsample: Callable[[Tensor], Tensor] | None = None


def make_config(
    source: str, name: str, sample_rate: int, codec: CodecConfig, model: ModelConfig
) -> CheckpointConfig:
    """Make the config of an imported checkpoint, its name in letters that a config takes.

    Raises:
        ConfigError: a sample rate out of range.
    """
    letters = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:60]
    return make(
        CheckpointConfig,
        source,
        name=letters if re.match(r"[A-Za-z_]", letters) else f"_{letters}",
        audio=make(AudioConfig, source, sample_rate=sample_rate),
        codec=codec,
        model=model,
    )


def build(config: CheckpointConfig, tensors: dict[str, Tensor], source: str) -> WaveNet:
    """Make the network of a config with these weights, as float32.

    Raises:
        CheckpointError: a number became too large for float32.
    """
    model = checkpoint.build(config).requires_grad_(False).eval()
    single = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    for name, tensor in single.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source}: numbers too large for float32, in what became {name}")
    model.load_state_dict(single)
    return model


def side_by_side(weight: Tensor) -> Tensor:
    """Lay the taps of a convolution (out, in, K), the oldest first, into one matrix (out, K in)."""
    return weight.permute(0, 2, 1).flatten(1)


def save(imported: Imported, folder: Path, original: Path) -> None:
    """Write the checkpoint and its card.

    Args:
        folder: made if need be; files in it are replaced.
        original: the file that was imported; its name and digest go into the card.
    Raises:
        CheckpointError: the folder cannot be written.
    """
    text = card(imported, original)
    checkpoint.save(folder, imported.config, imported.model)
    try:
        with atomic_file(folder / checkpoint.CARD) as path:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"the card of {folder} cannot be written: {error}") from None


def stretch(imported: Imported, frames: Tensor) -> Tensor:
    """Run the original's upsampling network on frames.

    Args:
        frames: (F, columns) or (columns, F); the number of columns tells which.
    Returns:
        (T, columns) float32, one frame a sample.
    Raises:
        ConditionError: it has no such network, or the frames do not fit it.
    """
    if imported.upsample is None:
        raise ConditionError("this model has no upsampling network; leave --frames out")
    columns = sum(condition.columns for condition in imported.config.model.locals)
    fits = [n for n in range(2) if frames.ndim == 2 and frames.shape[n] == columns]
    if len(fits) != 1 or not bool(torch.isfinite(frames).all()):
        found = " x ".join(map(str, frames.shape)) or "a single number"
        raise ConditionError(
            f"frames must be an array of finite numbers, frames x {columns} or {columns} x frames, "
            f"and not {columns} of both, which tells no order; found {found}"
        )
    return imported.upsample(frames.T if fits == [0] else frames)


def card(imported: Imported, original: Path) -> str:
    """Say where the weights came from and what was done to them."""
    config, codec = imported.config, imported.config.codec
    with original.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CARD_TEXT.format(
        name=config.name,
        layout=imported.layout,
        file="".join(c if c.isprintable() and c not in "`|" else "?" for c in original.name),
        digest=digest,
        rate=config.audio.sample_rate,
        law=codec.law,
        bits=codec.bits,
        rounding=codec.rounding,
        silence=codec.silence_code,
        field=imported.model.receptive_field,
        parameters=imported.model.parameter_count,
        facts=_list(imported.facts),
    )


def _list(facts: Sequence[str]) -> str:
    return "\n".join(f"- {fact}" for fact in facts)
