"""What a person asks for -> a checked job, and a job -> sound as it is made.

Values from the page or from the API enter, whatever they are; a `Job` or one sentence leaves.
Callers: the Generate tab and the public API function.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import SystemRandom
from typing import Any

import gradio as gr
import torch
from pydantic import Field
from torch import Tensor

from audio_utils import io
from audio_utils.errors import AudioError
from wavenet.checkpoint import CONFIG, WEIGHTS, Checkpoint, load
from wavenet.conditions import Strict
from wavenet.config import SamplingConfig
from wavenet.engines.base import Engine
from wavenet.engines.registry import NAMES, make_engine
from wavenet.errors import CheckpointError, ConditionError, WaveNetError
from wavenet.parsing import make
from wavenet.synthesis.generate import Item, clip_name, generate, samples_for

# The reference recomputes the whole past for every sample: for tests, not for ears.
ENGINES = ("auto", *(name for name in NAMES if name != "reference"))
MAX_SECONDS = 30.0
MAX_PROMPT_SECONDS = 120.0
MAX_SEED = (1 << 53) - 1  # the largest whole number that a browser keeps exactly
DRAWN_SEEDS = 1 << 31
# The page takes in about twenty updates a second; faster ones would be lost.
PACE_SECONDS = 0.08


class Wish(Strict):
    """The numbers of a request; seed -1 draws one, top_k 0 and top_p 1 are off."""

    seconds: float = Field(gt=0, le=MAX_SECONDS)
    seed: int = Field(default=-1, ge=-1, le=MAX_SEED)
    temperature: float = Field(default=1.0, gt=0, le=10)
    top_k: int = Field(default=0, ge=0, le=1024)
    top_p: float = Field(default=1.0, gt=0, le=1)
    labels: dict[str, str] = Field(default_factory=dict)

    @property
    def sampling(self) -> SamplingConfig:
        """How samples are drawn."""
        top_p = self.top_p if self.top_p < 1 else None
        return make(
            SamplingConfig,
            "sampling",
            temperature=self.temperature,
            top_k=self.top_k or None,
            top_p=top_p,
        )


@dataclass(frozen=True)
class Job:
    """One clip, checked and ready to be made.

    Attributes:
        opening: (T,) what is heard before the first generated sample: the prompt, or nothing.
    """

    checkpoint: Checkpoint
    engine: Engine[Any]
    item: Item
    sampling: SamplingConfig
    opening: Tensor

    @property
    def rate(self) -> int:
        """Hz."""
        return self.checkpoint.config.audio.sample_rate

    @property
    def file_name(self) -> str:
        """checkpoint_labels_seed.wav, safe on every system."""
        name = self.checkpoint.config.name
        return clip_name(name, self.item.labels, self.item.seed) + ".wav"

    def waveforms(self) -> Iterator[Tensor]:
        """Yield the opening, then the chunks as they are made."""
        # Before the opening: this call checks everything.
        chunks = generate(self.checkpoint, [self.item], self.sampling, self.engine)
        if self.opening.numel():
            yield self.opening
        for chunk in chunks:
            yield chunk.waveforms[0]


def make_job(
    checkpoint: Checkpoint,
    wish: Wish,
    engine: str = "auto",
    prompt: str | None = None,
    with_prompt: bool = True,
) -> Job:
    """Turn a request into a job.

    Args:
        engine: one of `ENGINES`.
        prompt: path of an uploaded audio file to continue, or None.
        with_prompt: whether the prompt is heard and saved before its continuation.
    Raises:
        AudioError: the prompt cannot be read.
        WaveNetError: a label, length or engine that this checkpoint cannot take.
    """
    rate = checkpoint.config.audio.sample_rate
    given = None if prompt is None else read_prompt(prompt, rate)
    seed = SystemRandom().randrange(DRAWN_SEEDS) if wish.seed < 0 else wish.seed
    item = Item(samples_for(wish.seconds, rate), wish.labels, seed, prompt=given)
    opening = given if given is not None and with_prompt else torch.empty(0)
    return Job(checkpoint, make_engine(engine, checkpoint.model), item, wish.sampling, opening)


def read_prompt(path: str, rate: int) -> Tensor:
    """Read an upload; an error names the file as the person knows it, not where we keep it."""
    try:
        recording = io.read(path, rate)
    except AudioError as error:
        raise AudioError(str(error).replace(path, Path(path).name)) from None
    seconds = recording.waveform.numel() / rate
    if seconds > MAX_PROMPT_SECONDS:
        raise ConditionError(
            f"the prompt lasts {seconds:.0f} s; at most {MAX_PROMPT_SECONDS:.0f} s are taken, "
            "so cut it first"
        )
    return recording.waveform


def paced(waveforms: Iterable[Tensor], seconds: float = PACE_SECONDS) -> Iterator[Tensor]:
    """Join what comes sooner than `seconds` after the piece before; the first goes out at once."""
    waiting: list[Tensor] = []
    left = float("-inf")
    for waveform in waveforms:
        waiting.append(waveform)
        if time.monotonic() - left >= seconds:
            yield torch.cat(waiting)
            waiting, left = [], time.monotonic()
    if waiting:
        yield torch.cat(waiting)


def list_checkpoints(root: Path) -> list[str]:
    """Name the folders that hold a checkpoint's config; digits first, it is the one we ship."""
    found = [path.parent.name for path in root.glob(f"*/{CONFIG}")]
    return sorted(found, key=lambda name: (name != "digits", name))


def load_named(root: Path, name: str | None) -> Checkpoint:
    """Load a checkpoint by the name of its folder; it stays in memory until its files change.

    Raises:
        CheckpointError: no such checkpoint, or a damaged one.
    """
    known = list_checkpoints(root)
    if name not in known:
        choices = ", ".join(known) or "none: train one, or put one into that folder"
        raise CheckpointError(f"{root.name} has no checkpoint {name!r}; it has {choices}")
    files = (root / name / CONFIG, root / name / WEIGHTS)
    return _load(root / name, tuple(f.stat().st_mtime_ns for f in files if f.exists()))


@lru_cache(maxsize=2)
def _load(folder: Path, modified: tuple[int, ...]) -> Checkpoint:
    try:
        return load(folder)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(folder), folder.name)) from None


@contextlib.contextmanager
def shown_errors() -> Iterator[None]:
    """Show the errors that a person can meet as one sentence; all others are bugs and pass."""
    try:
        yield
    except (WaveNetError, AudioError) as error:
        raise gr.Error(sentence(error), print_exception=False) from None


def sentence(error: Exception) -> str:
    """Give an error's message as a sentence, with a capital and a full stop."""
    text = str(error).strip().rstrip(".")
    # A file or a setting keeps its own spelling.
    first = text.split(maxsplit=1)[0] if text else ""
    return (text[:1].upper() + text[1:] if first.rstrip(":").isalpha() else text) + "."
