"""What a person asks for -> a checked job, and a job -> sound as it is made.

Values from the page or from the API enter, whatever they are; a `Job` or one sentence leaves.
Callers: the Generate tab and the public API function.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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
from wavenet.config import StrictConfig, make_config
from wavenet.engines.base import Engine
from wavenet.engines.registry import NAMES, device_for, make_engine
from wavenet.errors import CheckpointError, ConditionError, WaveNetError
from wavenet.generation.generate import Chunk, generate
from wavenet.generation.request import GenerationRequest, clip_name, samples_from_seconds
from wavenet.model.frame_features import compute_frame_features
from wavenet.sampling import SamplingConfig

# The reference recomputes the whole past for every sample: for tests, not for ears.
ENGINES = ("auto", *(name for name in NAMES if name != "reference"))
MAX_SECONDS = 30.0
MAX_PROMPT_SECONDS = 120.0
MAX_VARIANTS = 4
MAX_SEED = (1 << 53) - 1  # the largest whole number that a browser keeps exactly
DRAWN_SEEDS = 1 << 31
# The page takes in about twenty updates a second; faster ones would be lost.
PACE_SECONDS = 0.08
# The player begins with so much in hand: less would only wait there for the next piece.
FIRST_SECONDS = 0.2


class Wish(StrictConfig):
    """What is asked for; seed -1 draws one, top_k 0, top_p 1 and guidance 1 are off.

    How to draw is the checkpoint's own matter where it is None.

    Attributes:
        variants: clips at once; their seeds count up.
        labels: label or number by condition name; what may be left out need not be there.
    """

    seconds: float = Field(gt=0, le=MAX_SECONDS)
    seed: int = Field(default=-1, ge=-1, le=MAX_SEED)
    temperature: float | None = Field(default=None, gt=0, le=10)
    top_k: int | None = Field(default=None, ge=0, le=1024)
    top_p: float | None = Field(default=None, gt=0, le=1)
    guidance: float | None = Field(default=None, ge=0, le=10)
    variants: int = Field(default=1, ge=1, le=MAX_VARIANTS)
    labels: dict[str, str | float] = Field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """Clips that differ in their seeds alone, checked and ready to be made.

    Attributes:
        wish: what was asked for, its seed drawn, and nothing None.
        opening: (T,) what is heard before the first generated sample: the prompt, or nothing.
        source: name of the recording that is continued or said again; "" without one.
    """

    checkpoint: Checkpoint
    engine: Engine[Any]
    wish: Wish
    items: tuple[GenerationRequest, ...]
    opening: Tensor
    source: str = ""

    @property
    def sampling(self) -> SamplingConfig:
        """How samples are drawn."""
        wish = self.wish
        top_p = None if wish.top_p == 1 else wish.top_p
        drawing = {"temperature": wish.temperature, "guidance": wish.guidance}
        drawing |= {"top_k": wish.top_k or None, "top_p": top_p}
        return make_config(SamplingConfig, "sampling", **drawing)

    @property
    def rate(self) -> int:
        """Hz."""
        return self.checkpoint.config.audio.sample_rate

    @property
    def samples(self) -> int:
        """Length of a clip as it is heard, the opening included."""
        return self.opening.numel() + self.items[0].samples

    @property
    def file_names(self) -> list[str]:
        """checkpoint_labels_seed.wav of each clip, safe on every system."""
        name = self.checkpoint.config.name
        return [clip_name(name, item.conditions, item.seed) + ".wav" for item in self.items]

    def start(self) -> Iterator[Chunk]:
        """Check everything; the chunks of all clips leave as they are made."""
        return generate(self.checkpoint, self.items, self.sampling, self.engine)

    def waveform(self) -> Tensor:
        """Make the first clip to its end, after the opening."""
        return torch.cat([self.opening, *(chunk.waveforms[0].cpu() for chunk in self.start())])


def make_job(
    checkpoint: Checkpoint,
    wish: Wish,
    engine: str = "auto",
    prompt: str | None = None,
    with_prompt: bool = True,
    source: str | None = None,
) -> Job:
    """Turn a request into a job.

    Args:
        engine: one of `ENGINES`.
        prompt: path of an uploaded audio file to continue, or None.
        with_prompt: whether the prompt is heard and saved before its continuation.
        source: path of one whose features are turned back into sound, for a checkpoint that takes
            frames; the clip gets its length.
    Raises:
        AudioError: the prompt or the source cannot be read.
        WaveNetError: a label, length or engine that this checkpoint cannot take.
    """
    rate, model = checkpoint.config.audio.sample_rate, checkpoint.config.model
    given = None if prompt is None else read_upload(prompt, rate, MAX_PROMPT_SECONDS).waveform
    samples, local = samples_from_seconds(wish.seconds, rate), None
    if model.locals:
        if source is None:
            raise ConditionError(
                f"{checkpoint.config.name} says a recording again: give it one, up to "
                f"{MAX_SECONDS:g} s"
            )
        recording = read_upload(source, rate, MAX_SECONDS).waveform
        local, samples = compute_frame_features(model, rate, recording), recording.numel()
    usual = usual_drawing(checkpoint)
    filled = {name: value for name, value in usual.items() if getattr(wish, name) is None}
    if wish.seed < 0:
        filled["seed"] = SystemRandom().randrange(DRAWN_SEEDS)
    wish = wish.model_copy(update=filled)
    first = GenerationRequest(samples, wish.labels, wish.seed, prompt=given, frame_features=local)
    items = tuple(replace(first, seed=wish.seed + n) for n in range(wish.variants))
    opening = given if given is not None and with_prompt else torch.empty(0)
    name = Path(source if local is not None and source else prompt or "").name
    placed = on_device(checkpoint, device_for(engine))
    return Job(placed, make_engine(engine, placed.model), wish, items, opening, name)


def read_upload(path: str, rate: int | None, longest: float) -> io.Recording:
    """Read an upload of so many seconds at most; at its own rate if rate is None.

    An error names the file as the person knows it, not where we keep it.
    """
    name = Path(path).name
    try:
        recording = io.read(path, rate)
    except AudioError as error:
        raise AudioError(str(error).replace(path, name)) from None
    seconds = recording.waveform.numel() / recording.sample_rate
    if seconds > longest:
        raise ConditionError(
            f"{name} lasts {seconds:.0f} s; at most {longest:.0f} s are taken, so cut it first"
        )
    return recording


def paced(
    waveforms: Iterable[Tensor], seconds: float = PACE_SECONDS, first: int = 0
) -> Iterator[Tensor]:
    """Join what comes sooner than `seconds` after the piece before; the first has `first` samples.

    Or more, or all there are.
    """
    waiting: list[Tensor] = []
    left: float | None = None
    for waveform in waveforms:
        waiting.append(waveform)
        held = sum(piece.numel() for piece in waiting)
        if held >= first if left is None else time.monotonic() - left >= seconds:
            yield torch.cat(waiting)
            waiting, left = [], time.monotonic()
    if waiting:
        yield torch.cat(waiting)


def usual_seconds(checkpoint: Checkpoint) -> float:
    """Give the length of a clip where none is asked for, as far as the page allows."""
    return min(checkpoint.config.default_seconds, MAX_SECONDS)


def usual_drawing(checkpoint: Checkpoint) -> dict[str, float]:
    """Give how a checkpoint draws where nobody says otherwise, as values of controls."""
    usual = checkpoint.config.sampling
    top_k, top_p = usual.top_k or 0, 1.0 if usual.top_p is None else usual.top_p
    drawing = {"temperature": usual.temperature, "top_k": top_k, "top_p": top_p}
    return drawing | {"guidance": usual.guidance}


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
    return _load(root / name, _modified(root / name), device_for("auto"))


def on_device(checkpoint: Checkpoint, device: torch.device) -> Checkpoint:
    """Give a checkpoint on a device; the one that came, if it is there already."""
    if checkpoint.model.device.type == device.type:
        return checkpoint
    return _load(checkpoint.folder, _modified(checkpoint.folder), device)


def _modified(folder: Path) -> tuple[int, ...]:
    files = (folder / CONFIG, folder / WEIGHTS)
    return tuple(f.stat().st_mtime_ns for f in files if f.exists())


# two checkpoints, on a GPU and for the engine that takes the CPU
@lru_cache(maxsize=4)
def _load(folder: Path, modified: tuple[int, ...], device: torch.device) -> Checkpoint:
    try:
        return load(folder, device)
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
