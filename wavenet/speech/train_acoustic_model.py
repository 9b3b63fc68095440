"""Train the acoustic model of a voice on aligned recordings.

Input: examples, a config and settings. Output: the model, and after every validation its errors.
Every batch depends on the seed and the step only, so an interrupted training continues as if it had
not been interrupted. Called by the training of voices.

The loss is the mean absolute error of the frames, plus the squared errors of log duration, F0 (of
voiced tokens) and energy.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wavenet.errors import DataError
from wavenet.model.frame_scales import MEL_SPAN
from wavenet.network_training import (
    NetworkState,
    StepSettings,
    apply_step,
    step_generator,
    train_network,
)
from wavenet.speech.acoustic_model import AcousticConfig, AcousticModel, Prosody, length_mask
from wavenet.speech.spoken_examples import SpokenExample

PROSODY_WEIGHT = 0.1  # of the loss of the prosody, relative to that of the frames
VARIANCE_EXAMPLES = 100  # that the variance of the frames is measured on
MAX_VARIANCE_RATIO = 1.5  # a band without energy has noise that cannot be predicted
SIMILAR_LENGTHS = 8  # batches are formed from this many times as many recordings


class AcousticSettings(StepSettings):
    """The settings of the training of an acoustic model.

    Attributes:
        clips_per_step: recordings in a batch.
    """

    steps: int = Field(default=6000, ge=1, le=10_000_000)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    clips_per_step: int = Field(default=16, ge=1, le=4096)


class AcousticBatch(NamedTuple):
    """Padded examples.

    Attributes:
        tokens: (B, N, 4) int64; counts: (B,) tokens of each row.
        speakers: (B,) int64.
        durations: (B, N) int64.
        prosody: the targets, F0 in standard deviations.
        is_voiced: (B, N) bool, whether F0 was measured.
        frames: (B, T, bands).
    """

    tokens: Tensor
    counts: Tensor
    speakers: Tensor
    durations: Tensor
    prosody: Prosody
    is_voiced: Tensor
    frames: Tensor


@dataclass(frozen=True)
class AcousticErrors:
    """The errors on recordings; the frames are decoded with the prosody of the recordings.

    Attributes:
        frames_db: mean absolute error of the mel frames, dB.
        duration_ms: mean absolute error of the duration of a token.
        f0_semitones: root of the mean squared error of the F0 of a voiced token.
        energy_db: root of the mean squared error of the energy of a token.
    """

    frames_db: float
    duration_ms: float
    f0_semitones: float
    energy_db: float


def measure_f0(examples: Sequence[SpokenExample], speakers: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of log F0 of each speaker."""
    means, deviations = [], []
    for speaker in range(speakers):
        values = [e.f0[e.is_voiced] for e in examples if e.speaker == speaker]
        joined = torch.cat(values) if values else torch.zeros(0)
        if joined.numel() < 2:
            raise DataError(f"speaker {speaker} has no voiced recordings; F0 cannot be measured")
        means.append(joined.mean().item())
        deviations.append(max(joined.std().item(), 1e-3))
    return means, deviations


def collate_examples(config: AcousticConfig, examples: Sequence[SpokenExample]) -> AcousticBatch:
    """Pad examples to one length."""
    speakers = torch.tensor([e.speaker for e in examples])
    mean, deviation = (
        torch.tensor(values)[speakers, None] for values in (config.f0_mean, config.f0_deviation)
    )
    durations = pad_sequence([e.durations for e in examples], batch_first=True)
    f0 = pad_sequence([e.f0 for e in examples], batch_first=True)
    counts = torch.tensor([len(e.durations) for e in examples])
    mask = length_mask(counts, durations.shape[1])[..., 0]
    prosody = Prosody(
        (durations + 1.0).log(),
        (f0 - mean) / deviation * mask,
        pad_sequence([e.energy for e in examples], batch_first=True),
    )
    return AcousticBatch(
        pad_sequence([e.tokens for e in examples], batch_first=True),
        counts,
        speakers,
        durations,
        prosody,
        pad_sequence([e.is_voiced for e in examples], batch_first=True),
        pad_sequence([e.frames for e in examples], batch_first=True),
    )


def train_acoustic_model(
    config: AcousticConfig,
    settings: AcousticSettings,
    training: Sequence[SpokenExample],
    validation: Sequence[SpokenExample],
    folder: Path,
    save: Callable[[AcousticModel], None],
    report: Callable[[int, AcousticErrors | None], None] = lambda step, errors: None,
    should_stop: Callable[[], bool] = lambda: False,
    initial: AcousticModel | None = None,
) -> AcousticModel:
    """Train to the last step, or until `should_stop` returns true; continue a training in `folder`.

    Args:
        config: of the model.
        settings: of the training.
        training, validation: examples.
        folder: of the state of the training.
        save: called after every validation.
        report: called after every step with its number and, after a validation, the errors.
        should_stop: called after every step.
        initial: as in `start_model`.
    Raises:
        DataError: there are no recordings to train on.
        TrainingError: a loss that is not finite, or the folder has another training.
        FolderInUse: another process trains into the folder.
    """
    if not training:
        raise DataError("there are no recordings to train the acoustic model on")
    return train_network(
        lambda: start_model(config, initial),
        config,
        settings,
        folder,
        lambda state: train_step(state, settings, training),
        lambda model: measure_errors(model, validation or training),
        save,
        report,
        should_stop,
    )


def start_model(config: AcousticConfig, initial: AcousticModel | None) -> AcousticModel:
    """Return the model before the first step.

    Args:
        config: of the model.
        initial: a model of the same sizes with the first weights; each speaker starts as its first
            speaker. None: random weights.
    """
    model = AcousticModel(config)
    if initial is not None:
        weights = initial.state_dict()
        name = "speakers.weight"
        weights[name] = weights[name][:1].expand(len(config.speakers), -1)
        model.load_state_dict(weights)
    return model


def train_step(
    state: NetworkState[AcousticModel],
    settings: AcousticSettings,
    training: Sequence[SpokenExample],
) -> float:
    """Do one step; return the loss.

    Raises:
        TrainingError: the loss is not finite.
    """
    generator = step_generator(settings, state.step)
    chosen = draw_similar(training, settings.clips_per_step, generator)
    batch = collate_examples(state.model.config, chosen)
    torch.manual_seed(int(torch.randint(1 << 31, (), generator=generator)))  # of the dropout
    state.model.train()
    loss = acoustic_loss(state.model, batch)
    apply_step(state, settings, loss)
    return loss.item()


def draw_similar(
    examples: Sequence[SpokenExample], count: int, generator: torch.Generator
) -> list[SpokenExample]:
    """Draw examples of similar length: neighbours, by length, among random ones."""
    drawn = torch.randint(len(examples), (SIMILAR_LENGTHS * count,), generator=generator)
    ordered = sorted((examples[n] for n in drawn.tolist()), key=lambda e: len(e.frames))
    first = count * int(torch.randint(SIMILAR_LENGTHS, (), generator=generator))
    return ordered[first : first + count]


def acoustic_loss(model: AcousticModel, batch: AcousticBatch) -> Tensor:
    """Return the loss of a batch, a scalar."""
    hidden = model.encode(batch.tokens, batch.speakers, batch.counts)
    frames = model.decode(hidden, batch.prosody.f0, batch.prosody.energy, batch.durations)
    present = batch.durations.sum() * batch.frames.shape[2]
    loss = (frames - batch.frames).abs().sum() / present
    found = model.predict_prosody(hidden, batch.counts)
    mask = length_mask(batch.counts, batch.tokens.shape[1])[..., 0]
    for guess, target, where in zip(
        found, batch.prosody, (mask, mask & batch.is_voiced, mask), strict=True
    ):
        squares = (guess - target).square() * where
        loss = loss + PROSODY_WEIGHT * squares.sum() / where.sum().clamp(min=1)
    return loss


@torch.no_grad()
def match_variance(model: AcousticModel, examples: Sequence[SpokenExample]) -> None:
    """Change the output layer so that predicted frames vary as much as those of recordings.

    A regression predicts a mean, so its frames vary less, and their sound is dull. In each band the
    deviation from the mean is scaled by the ratio of the two standard deviations.

    Source: Toda and Tokuda 2007, "A speech parameter generation algorithm considering global
    variance", in its simplest form.

    Args:
        model: trained; it is changed.
        examples: of recordings; some are enough.
    """
    predicted, recorded = [], []
    for example in examples[:: max(1, len(examples) // VARIANCE_EXAMPLES)]:
        predicted.append(decode_example(model, example))
        recorded.append(example.frames)
    found, wanted = torch.cat(predicted), torch.cat(recorded)
    if len(found) < 2:
        return
    mean = found.mean(0)
    ratio = wanted.std(0) / found.std(0).clamp(min=1e-6)
    ratio = ratio.clamp(1, MAX_VARIANCE_RATIO)
    model.output.weight.mul_(ratio[:, None])
    model.output.bias.copy_((model.output.bias - mean) * ratio + mean)


@torch.no_grad()
def decode_example(model: AcousticModel, example: SpokenExample) -> Tensor:
    """Return the frames (F, bands) of an example, from its phones and its prosody."""
    batch = collate_examples(model.config, [example])
    hidden = model.encode(batch.tokens, batch.speakers, batch.counts)
    f0, energy = batch.prosody.f0, batch.prosody.energy
    frames: Tensor = model.decode(hidden, f0, energy, batch.durations)[0]
    return frames


@torch.no_grad()
def measure_errors(model: AcousticModel, examples: Sequence[SpokenExample]) -> AcousticErrors:
    """Compare the predictions with recordings."""
    was_training = model.training
    model.eval()
    config = model.config
    absolute = milliseconds = f0 = energy = 0.0
    numbers = tokens = voiced = 0
    for example in examples:
        batch = collate_examples(config, [example])
        hidden = model.encode(batch.tokens, batch.speakers, batch.counts)
        frames = model.decode(hidden, batch.prosody.f0, batch.prosody.energy, batch.durations)
        found = model.predict_prosody(hidden, batch.counts)
        absolute += (frames - batch.frames).abs().sum().item()
        numbers += frames.numel()
        guessed = found.log_duration.exp() - 1
        milliseconds += (guessed - batch.durations).abs().sum().item()
        difference = (found.f0 - batch.prosody.f0)[batch.is_voiced]
        f0 += (difference * config.f0_deviation[example.speaker]).square().sum().item()
        energy += (found.energy - batch.prosody.energy).square().sum().item()
        tokens += len(example.durations)
        voiced += int(example.is_voiced.sum())
    model.train(was_training)
    return AcousticErrors(
        frames_db=absolute / numbers * MEL_SPAN,
        duration_ms=milliseconds / tokens / config.frames_per_second * 1000,
        f0_semitones=math.sqrt(f0 / max(1, voiced)) * 12 / math.log(2),
        energy_db=math.sqrt(energy / tokens) * MEL_SPAN,
    )
