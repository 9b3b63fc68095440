"""The interface of models that are estimated from statistics of the recordings, without gradients.

Some models have the best parameters for given data in closed form: relative frequencies for tables,
the solution of linear equations for linear prediction. Both need only sums over the samples, the
sufficient statistics, so each recording is read once, and there is no learning rate. A network has
no such sums: it is trained by many small steps along the gradient.

The statistics are buffers of the model, saved in its checkpoint, so that training can continue from
it. They are float32, as all tensors of a checkpoint: whole numbers are exact up to `MAX_COUNT`, and
sums of other numbers are stored in two parts (`add_to_parts`). Extended by `ngram` and
`linear_prediction`. Called by `training.loop`.
"""

from abc import abstractmethod
from collections.abc import Collection
from typing import Any, TypeGuard

from torch import Tensor, nn

from wavenet.model.autoregressive_model import AutoregressiveModel, ConfigT
from wavenet.model.conditioning import Conditioning
from wavenet.model.model_config import ModelConfig

MAX_COUNT = 1 << 24  # float32 represents all whole numbers up to here


class StatisticsModel(AutoregressiveModel[ConfigT]):
    """Base of the models that are estimated from statistics."""

    @abstractmethod
    def observe(
        self,
        codes: Tensor,
        mask: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        input_codes: Tensor | None = None,
    ) -> None:
        """Add a batch to the statistics and update the estimate.

        Args:
            codes: (B, T) int64, the recordings.
            mask: (B, T) bool, true where a sample is added; the others are context or padding.
            conditioning, start: as in `hidden_states`.
            input_codes: (B, T) int64, the past of the samples instead of the codes; None: the
                codes.
        """

    @property
    @abstractmethod
    def macs_per_sample(self) -> int:
        """Number of multiply-adds per generated sample."""

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Return no matrices: there are no layers."""
        return []

    def shifted_inputs(self, codes: Tensor) -> Tensor:
        """Return the code before each sample (B, T): the start code, then all but the last."""
        return nn.functional.pad(codes[:, :-1], (1, 0), value=self.start_code)


def uses_statistics(model: AutoregressiveModel[Any]) -> TypeGuard[StatisticsModel[Any]]:
    """Return whether a model is trained by `observe` instead of gradients."""
    return isinstance(model, StatisticsModel) and model.config.uses_statistics


def check_inputs(config: ModelConfig, name: str, accepted: Collection[str]) -> None:
    """Check that a config has a categorical output and no other conditions than the accepted ones.

    Args:
        name: of the model with its article, for the message.
        accepted: kinds of conditions.
    Raises:
        ValueError: one sentence.
    """
    if config.output.kind != "categorical":
        raise ValueError(
            f"{name} predicts the codes of a mu-law codec, so its output must be 'categorical', "
            f"found {config.output.kind!r}; remove the output from the model"
        )
    for condition in config.conditions:
        if condition.kind not in accepted:
            kinds = " and ".join(f"{kind} conditions" for kind in accepted) or "no conditions"
            raise ValueError(
                f"{name} accepts {kinds} only, found a condition of kind {condition.kind!r}; "
                "remove it from the model"
                if accepted
                else f"{name} accepts {kinds}, found one of kind {condition.kind!r}; remove it "
                "from the model"
            )


def add_to_parts(parts: Tensor, amount: Tensor) -> None:
    """Add to a sum that is stored as two float32 numbers: the rounded sum, and its rounding error.

    Together they have 48 bits, so that a sum over days of audio is as exact as its terms.

    Args:
        parts: (2, ..), changed in place.
        amount: (..) float64.
    """
    total = sum_parts(parts) + amount
    rounded = total.float()
    parts[0].copy_(rounded)
    parts[1].copy_(total - rounded.double())


def sum_parts(parts: Tensor) -> Tensor:
    """Return the sum (..) float64 that is stored in two parts (2, ..)."""
    return parts[0].double() + parts[1].double()
