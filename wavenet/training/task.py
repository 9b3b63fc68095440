"""The interface between the training loop and models.

Input: a config, settings and a dataset. Output: batches, losses, validations and checkpoints.
`TrainingTask` is the protocol; `CodeLikelihoodTask` implements it for every autoregressive model of
codes. Created by the command line. Called by `loop` and `state`.
"""

import hashlib
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.statistics_model import StatisticsModel
from wavenet.training import cpu_loss
from wavenet.training.batches import MicroBatches, collate, plan_epoch, training_batches
from wavenet.training.dataset import Dataset
from wavenet.training.distributed import SINGLE_RANK, Ranks
from wavenet.training.model_card import write_card
from wavenet.training.prefetch import EncodedBatch, encode_batch, prefetch_batches
from wavenet.training.recipe import TrainConfig
from wavenet.training.run_identity import RunIdentity
from wavenet.training.scheduled_sampling import own_share, replace_by_own_samples
from wavenet.training.segmentation import TrainingClip
from wavenet.training.truncated_loss import truncated_nll

VALIDATION_SAMPLES = 40_000  # largest padded size of a validation batch


class ParameterGroups(NamedTuple):
    """The parameters of a model, by the optimizer that may update them.

    Attributes:
        hidden_matrices: all weight matrices (out, in) except embeddings and the output layer; Muon
            updates them if it is enabled.
        others: embeddings, the output layer, biases; always updated by AdamW.
    """

    hidden_matrices: list[nn.Parameter]
    others: list[nn.Parameter]


class TrainingTask(Protocol):
    """Data, loss, validation and files of one kind of model.

    A batch can be of any type with an attribute `targets`: the number of its targets.
    """

    @property
    def settings(self) -> TrainConfig:
        """The settings of the steps and of the optimizer."""

    def build_model(self) -> AutoregressiveModel[Any]:
        """Build the model on the CPU, with the initial weights of the training."""

    def fingerprint(self) -> str:
        """Return a text that must be equal in all processes of one training.

        It contains config, settings, digests of the recordings, and the position and length of each
        clip, but no audio.
        """

    def identity(self) -> RunIdentity | None:
        """Return the identity that a resumed run must share with the interrupted one, if known."""

    def parameter_groups(self, model: AutoregressiveModel[Any]) -> ParameterGroups:
        """Return the parameters that Muon may update, and all others."""

    def batches(
        self, model: AutoregressiveModel[Any], first_step: int, device: torch.device, ranks: Ranks
    ) -> Generator[MicroBatches[Any], None, None]:
        """Yield the micro-batches of this process for each step, without end.

        Args:
            first_step: index of the first step, counted from 0.
            device: of the batches.
        """

    def loss(self, model: AutoregressiveModel[Any], batch: Any) -> Tensor:
        """Compute the loss of a batch, averaged over its targets, in nats."""

    def observe(self, model: StatisticsModel[Any], batch: Any) -> None:
        """Add a batch to the statistics of a model."""

    def validate(self, model: AutoregressiveModel[Any], ranks: Ranks) -> float | None:
        """Compute bits per sample on held-out clips; None if no clips are held out."""

    def save_checkpoint(self, folder: Path, model: AutoregressiveModel[Any]) -> None:
        """Write a checkpoint."""

    def write_card(
        self,
        folder: Path,
        model: AutoregressiveModel[Any],
        steps: int,
        best_bits: float,
        changes: Sequence[str] = (),
    ) -> None:
        """Write the card of a checkpoint; `changes` as in `TrainState`."""


@dataclass(frozen=True)
class CodeLikelihoodTask:
    """Maximum likelihood training of any autoregressive model of codes.

    Attributes:
        config: of the checkpoint to be trained.
        settings: of the steps and of the optimizer.
        dataset: clips for training and validation.
        initial_checkpoint: its weights are the initial ones; None: random weights.
    """

    config: CheckpointConfig
    settings: TrainConfig
    dataset: Dataset
    initial_checkpoint: Checkpoint | None = None

    def build_model(self) -> AutoregressiveModel[Any]:
        """Build the model of the config, with initial weights of a checkpoint or random ones."""
        model = checkpoint.build(self.config)
        if self.initial_checkpoint is not None:
            model.load_state_dict(self.initial_checkpoint.model.state_dict())
        return model

    def fingerprint(self) -> str:
        """Return config, settings, recordings, and position and length of each clip, as text."""
        parts = (self.dataset.train, self.dataset.validation)
        clips = [(clip.start, clip.samples) for part in parts for clip in part]
        content = f"{self.dataset.recordings} {self.dataset.corpus}"
        return f"{self.config!r} {self.settings!r} {clips} {content}"

    def identity(self) -> RunIdentity:
        """Return rate, codec, recordings and initial checkpoint of the run."""
        initial = self.initial_checkpoint
        return RunIdentity(
            audio=self.config.audio,
            codec=self.config.codec,
            data=self.dataset.data,
            recordings=self.dataset.recordings,
            corpus=self.dataset.corpus,
            initial_checkpoint=None if initial is None else describe_checkpoint(initial),
        )

    def parameter_groups(self, model: AutoregressiveModel[Any]) -> ParameterGroups:
        """Return the hidden matrices, and all other parameters."""
        hidden = model.hidden_matrices()
        ids = {id(parameter) for parameter in hidden}
        return ParameterGroups(hidden, [p for p in model.parameters() if id(p) not in ids])

    def batches(
        self, model: AutoregressiveModel[Any], first_step: int, device: torch.device, ranks: Ranks
    ) -> Generator[MicroBatches[EncodedBatch], None, None]:
        """Yield the micro-batches of this process for each step; closing ends the prefetching.

        Raises:
            DataError: there are no clips.
            ConditionError: a clip lacks a value of a condition.
        """
        parts = ranks.world_size * self.settings.accumulation_steps
        steps = training_batches(
            self.dataset.train,
            self.config.codec,
            self.config.model,
            self.settings.samples_per_step,
            self.settings.gain_db,
            self.settings.seed,
            first_step,
            parts=parts,
            own_parts=range(ranks.rank, parts, ranks.world_size),
            input_noise=self.settings.input_noise,
            own_share=self._own_share(),
        )
        return prefetch_batches(steps, model, device)

    def _own_share(self) -> Callable[[int], float] | None:
        """Return the share of own samples by step; None without scheduled sampling."""
        largest, steps = self.settings.scheduled_sampling, self.settings.steps
        return partial(own_share, steps=steps, largest=largest) if largest else None

    def loss(self, model: AutoregressiveModel[Any], batch: EncodedBatch) -> Tensor:
        """Compute the negative log-likelihood of a batch, averaged over its targets, in nats."""
        return mean_nll(model, batch, self.settings.truncation)

    def observe(self, model: StatisticsModel[Any], batch: EncodedBatch) -> None:
        """Add the targets of a batch to the statistics; noise is in the past only."""
        model.observe(batch.codes, batch.mask, batch.conditioning, batch.start, batch.input_codes)

    def validate(self, model: AutoregressiveModel[Any], ranks: Ranks = SINGLE_RANK) -> float | None:
        """Compute bits per sample on the validation clips; None if there are none."""
        clips = self.dataset.validation
        return bits_per_sample(model, self.config, clips, ranks) if clips else None

    def save_checkpoint(self, folder: Path, model: AutoregressiveModel[Any]) -> None:
        """Write config and weights.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        checkpoint.save(folder, self.config, model)

    def write_card(
        self,
        folder: Path,
        model: AutoregressiveModel[Any],
        steps: int,
        best_bits: float,
        changes: Sequence[str] = (),
    ) -> None:
        """Write the card, unless a person has edited it."""
        initial = self.initial_checkpoint
        write_card(folder, self.config, model, self.dataset, steps, best_bits, initial, changes)


def describe_checkpoint(loaded: Checkpoint) -> str:
    """Return the name of a checkpoint and a digest of its weights."""
    return f"{loaded.config.name} {hash_weights(loaded.model)}"


def hash_weights(network: nn.Module) -> str:
    """Return a digest of the weights of a network."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def mean_nll(
    model: AutoregressiveModel[Any], batch: EncodedBatch, truncation: int | None = None
) -> Tensor:
    """Compute the negative log-likelihood, averaged over the targets of a batch, in nats.

    With gradients, it is the training objective of the architecture (`training_nll`).

    Args:
        truncation: as in `TrainConfig`.
    """
    input_codes = batch.codes if batch.input_codes is None else batch.input_codes
    if batch.own_draws is not None:
        input_codes = replace_by_own_samples(model, batch, input_codes)
    if truncation is not None:
        total = truncated_nll(model, batch, input_codes, truncation)
    elif (
        batch.codes.device.type == "cpu"
        and batch.codes.shape[1] >= cpu_loss.SHORTEST_BATCH
        and cpu_loss.supports(model)
    ):
        total = cpu_loss.clipwise_nll(
            model, batch.codes, batch.mask, batch.start, batch.conditioning, input_codes
        )
    else:
        # a validation measures the predictions as they are used
        compute_nll = model.training_nll if torch.is_grad_enabled() else model.nll
        total = compute_nll(batch.codes, batch.mask, batch.start, batch.conditioning, input_codes)
    return total / batch.targets


@torch.no_grad()
def bits_per_sample(
    model: AutoregressiveModel[Any],
    config: CheckpointConfig,
    clips: Sequence[TrainingClip],
    ranks: Ranks = SINGLE_RANK,
) -> float:
    """Compute bits per sample over all targets of the clips; infinite if there are no targets.

    Each process computes its share of the batches; all get the same result.
    """
    plan = plan_epoch([c.samples for c in clips], VALIDATION_SAMPLES, 0, 0) if clips else []
    nats, targets = 0.0, 0.0
    for indices in plan[ranks.rank :: ranks.world_size]:
        chosen = [clips[i] for i in indices]
        batch = collate(chosen, config.codec, config.model, [1.0] * len(chosen))
        on_device = encode_batch(batch, model).to(model.device)
        nats += mean_nll(model, on_device).item() * on_device.targets
        targets += on_device.targets
    nats, targets = ranks.sum_numbers(nats, targets)
    return nats / targets / math.log(2) if targets else math.inf
