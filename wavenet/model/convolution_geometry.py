"""The geometry of a stack of dilated convolutions, without weights.

Input: a kernel size and dilations. Output: the samples that an output depends on,
relative to that output; negative numbers are before it. Called by the studio, which draws them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, cycle, islice

from wavenet.model.wavenet import WaveNetConfig

MAX_LAYERS = 1_000_000  # upper limit of the search for a depth


@dataclass(frozen=True)
class ConvolutionStack:
    """A stack of layers of one kernel size.

    Attributes:
        dilations: one per layer, the lowest layer first.
        is_causal: whether outputs depend on no later inputs; otherwise the kernel is centred, as
            in `torch.nn.Conv1d(padding="same")`.
    """

    kernel_size: int
    dilations: tuple[int, ...]
    is_causal: bool = True

    @property
    def undilated(self) -> "ConvolutionStack":
        """The same number of layers without dilation."""
        return replace(self, dilations=(1,) * len(self.dilations))

    def tap_offsets(self, dilation: int) -> list[int]:
        """Return the offsets, in samples, of the inputs that an output reads, the oldest first."""
        width = (self.kernel_size - 1) * dilation
        before = width if self.is_causal else width // 2
        return [k * dilation - before for k in range(self.kernel_size)]

    def spans(self) -> list[tuple[int, int]]:
        """Return the oldest and newest sample that an output depends on, per depth from 0."""
        edges = [(self.tap_offsets(d)[0], self.tap_offsets(d)[-1]) for d in self.dilations]
        return list(accumulate(edges, lambda a, b: (a[0] + b[0], a[1] + b[1]), initial=(0, 0)))

    def sizes(self) -> list[int]:
        """Return the length in samples of each of `spans`."""
        return [newest - oldest + 1 for oldest, newest in self.spans()]


def stack_from_config(config: WaveNetConfig, is_causal: bool = True) -> ConvolutionStack:
    """Return the geometry of a network."""
    return ConvolutionStack(config.kernel_size, config.dilations, is_causal)


def doublings() -> Iterator[int]:
    """Yield the dilations 1, 2, 4, .. without end."""
    dilation = 1
    while True:
        yield dilation
        dilation *= 2


def layers_for_receptive_field(
    kernel_size: int, dilations: Iterator[int], samples: int
) -> int | None:
    """Return the smallest depth whose causal receptive field is at least `samples`.

    Args:
        dilations: of the layers, without end.
        samples: of the receptive field, the newest included.
    Returns:
        None if no depth is sufficient, or only one above `MAX_LAYERS`.
    """
    if samples <= 1:
        return 0
    if kernel_size == 1:
        return None
    field = 1
    for layers, dilation in enumerate(islice(dilations, MAX_LAYERS), start=1):
        field += (kernel_size - 1) * dilation
        if field >= samples:
            return layers
    return None


def compare_dilations(stack: ConvolutionStack, samples: int) -> dict[str, int | None]:
    """Return the depth that three choices of dilations need for a receptive field.

    Returns:
        "repeated": the dilations of the stack, repeated; "doubled": 1, 2, 4, .. without end;
        "undilated": all 1.
    """
    ways = {"repeated": cycle(stack.dilations), "doubled": doublings(), "undilated": cycle((1,))}
    return {
        name: layers_for_receptive_field(stack.kernel_size, dilations, samples)
        for name, dilations in ways.items()
    }
