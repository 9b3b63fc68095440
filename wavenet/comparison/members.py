"""The models that are compared, and their sizes for a number of parameters.

Input: the name of a member and a budget of parameters. Output: a `ModelConfig` whose number of
parameters is as close to the budget as its widths allow. All members have the same codec and, if
they can use them, the same conditions. Called by `train_members` and the command line.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wavenet.codec import Codec
from wavenet.config import make_config
from wavenet.errors import ConfigError
from wavenet.model.architectures import ARCHITECTURES, build_model
from wavenet.model.conditions import Condition, LabelCondition, PositionCondition
from wavenet.model.model_config import ModelConfig
from wavenet.user_input.close_names import find_close_name

WIDTHS = tuple(range(4, 1028, 4))
DILATIONS = tuple(1 << n for n in range(9)) * 2
# Of all members with a condition network; a small one, because the budgets are small.
CONDITION_CHANNELS = 32
CONDITION_HOP = 80
LARGEST_RATIO = 1.5  # of the smallest model of a member to its budget

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Member:
    """One model of the comparison.

    Attributes:
        name: of its folders and rows.
        title: for tables and plots.
        architecture: of the registry.
        sizes: settings of the model, from the smallest to the largest.
        samples_per_step: largest padded size of a training step; 0 for a model that is not trained
            by gradients, whose steps only divide the recordings.
        uses_position: whether it has the position within the clip as a condition, besides labels.
        uses_labels: whether it has labels as conditions.
        segment_seconds: length of the segments into which the recordings for training are cut;
            None: whole recordings. A recurrent network computes one sample after the other, so many
            short segments side by side allow many more steps in the same time.
    """

    name: str
    title: str
    architecture: str
    sizes: Sequence[Settings]
    samples_per_step: int
    uses_position: bool = True
    uses_labels: bool = True
    segment_seconds: float | None = None

    @property
    def has_gradients(self) -> bool:
        """Whether it is trained by gradients, and so needs a learning rate."""
        return self.samples_per_step > 0


def _widths(settings: Callable[[int], Settings]) -> list[Settings]:
    return [settings(width) for width in WIDTHS]


def _convolutions(dilations: Sequence[int]) -> list[Settings]:
    return _widths(
        lambda width: {
            "residual_channels": width,
            "gate_channels": width,
            "skip_channels": 2 * width,
            "kernel_size": 2,
            "dilations": tuple(dilations),
        }
    )


def _recurrent(name: str, title: str) -> Member:
    sizes = _widths(
        lambda width: {
            "embedding_channels": 32,
            "hidden_channels": width,
            "output_channels": 64,
        }
    )
    return Member(name, title, name, sizes, 16_000, segment_seconds=0.1)


def _attention(name: str, title: str, **more: Any) -> Member:
    sizes = _widths(
        lambda width: {
            "channels": width,
            "heads": 4,
            "layers": 3,
            "feedforward_channels": 4 * width,
            **more,
        }
    )
    return Member(name, title, name, sizes, 16_000)


# Leading bits of the context codes of an n-gram, newest first, from small to large tables.
_CONTEXTS = ((4,), (5,), (6,), (7,), (8,), (6, 3), (7, 3), (8, 3), (8, 4), (8, 5), (8, 6))

MEMBERS = (
    Member("histogram", "histogram", "ngram", [{"context_bits": ()}], 0, False, False),
    Member(
        "ngram",
        "n-gram",
        "ngram",
        [{"context_bits": bits, "smoothing": "interpolation"} for bits in _CONTEXTS],
        0,
        uses_position=False,
        uses_labels=False,
    ),
    Member(
        "linear-prediction",
        "linear prediction",
        "linear-prediction",
        [{"order": 16, "residual": "logistic", "scale_window": 16}],
        0,
        uses_position=False,
        uses_labels=False,
    ),
    Member(
        "made",
        "MADE",
        "made",
        _widths(
            lambda width: {
                # 4, 8, 16 and 32 were tried: the smallest is the best, because one hidden unit in
                # window - 1 reads the newest code
                "window": 4,
                "embedding_channels": 8,
                "hidden_channels": width,
                "layers": 2,
                "output_channels": 16,
                "masks": 1,
            }
        ),
        12_000,
    ),
    _recurrent("rnn", "RNN"),
    _recurrent("gru", "GRU"),
    _recurrent("lstm", "LSTM"),
    Member(
        "convolutions",
        "convolutions, dilation 1",
        "wavenet",
        _convolutions((1,) * len(DILATIONS)),
        12_000,
    ),
    Member("wavenet", "WaveNet", "wavenet", _convolutions(DILATIONS), 12_000),
    _attention("transformer", "transformer", context=256, sliding=True),
    _attention("linear-attention", "linear attention"),
    Member(
        "state-space",
        "state space",
        "state-space",
        _widths(
            lambda width: {"channels": width, "states": 16, "layers": 4, "output_channels": 64}
        ),
        12_000,
    ),
)
BY_NAME = {member.name: member for member in MEMBERS}


def find_members(names: Sequence[str]) -> list[Member]:
    """Return the members of these names, or all for no name, in the order of `MEMBERS`.

    Raises:
        ConfigError: there is no member of a name.
    """
    for name in names:
        if name not in BY_NAME:
            close = find_close_name(name, list(BY_NAME))
            hint = f"; did you mean {close}?" if close else ""
            raise ConfigError(
                f"unknown member {name!r}; expected one of {', '.join(BY_NAME)}{hint}"
            )
    return [member for member in MEMBERS if not names or member.name in names]


def choose_size(
    member: Member, parameters: int, labels: Sequence[LabelCondition], codec: Codec, rate: int
) -> ModelConfig:
    """Return the config whose number of parameters is closest to a budget, in ratio.

    Args:
        member: its sizes are tried from the smallest on.
        parameters: the budget, with the condition network.
        labels: with their values.
        codec: of the codes; rate: Hz.
    """
    best, smallest_distance = None, math.inf
    for config in _configs(member, labels):
        count = count_parameters(config, codec, rate)
        distance = abs(math.log(count / parameters))
        if distance < smallest_distance:
            best, smallest_distance = config, distance
        elif count > parameters:
            break
    assert best is not None
    return best


def check_smallest_size(
    member: Member, parameters: int, labels: Sequence[LabelCondition], codec: Codec, rate: int
) -> None:
    """Check that a budget is not far below the smallest model of a member.

    Args:
        member, parameters, labels, codec, rate: as in `choose_size`.
    Raises:
        ConfigError: the smallest model has more than `LARGEST_RATIO` times the parameters.
    """
    smallest = count_parameters(next(_configs(member, labels)), codec, rate)
    if smallest > LARGEST_RATIO * parameters:
        raise ConfigError(
            f"{parameters:,} parameters are too few for {member.name}, whose smallest model has "
            f"{smallest:,}; use --parameters {smallest} or more, or choose other members "
            "with --member"
        )


def count_parameters(config: ModelConfig, codec: Codec, rate: int) -> int:
    """Return the number of parameters of a model; the random numbers of torch stay as they are."""
    with torch.random.fork_rng(devices=[]):
        return build_model(config, codec, rate).parameter_count


def _configs(member: Member, labels: Sequence[LabelCondition]) -> Iterator[ModelConfig]:
    conditions: list[Condition] = list(labels) if member.uses_labels else []
    if member.uses_position:
        conditions.append(PositionCondition())
    shared = {"conditions": tuple(conditions), "condition_hop": CONDITION_HOP}
    if conditions:
        shared["condition_channels"] = CONDITION_CHANNELS
    kind = ARCHITECTURES[member.architecture].config
    for size in member.sizes:
        yield make_config(kind, member.name, **shared, **size)
