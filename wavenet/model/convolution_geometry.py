"""The geometry of a stack of dilated convolutions, without weights.

A kernel size and dilations enter; the samples that a node depends on leave, relative to that node:
negative numbers are before it. Called by the studio, which draws them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, cycle, islice

from wavenet.model.wavenet import WaveNetConfig

MAX_LAYERS = 1_000_000  # where counting stops; nobody builds so many


@dataclass(frozen=True)
class ConvolutionStack:
    """Layers of one kernel size.

    Attributes:
        dilations: one per layer, the lowest layer first.
        is_causal: whether an output sees nothing after its own time; otherwise the kernel is
            centred, as in `torch.nn.Conv1d(padding="same")`.
    """

    kernel_size: int
    dilations: tuple[int, ...]
    is_causal: bool = True

    @property
    def plain(self) -> "ConvolutionStack":
        """The same number of layers without dilation."""
        return replace(self, dilations=(1,) * len(self.dilations))

    def taps(self, dilation: int) -> list[int]:
        """Return the times that a node of a layer reads in the layer below, the oldest first."""
        width = (self.kernel_size - 1) * dilation
        before = width if self.is_causal else width // 2
        return [k * dilation - before for k in range(self.kernel_size)]

    def spans(self) -> list[tuple[int, int]]:
        """Return the oldest and newest input that a node of the input and of each layer sees."""
        edges = [(self.taps(d)[0], self.taps(d)[-1]) for d in self.dilations]
        return list(accumulate(edges, lambda a, b: (a[0] + b[0], a[1] + b[1]), initial=(0, 0)))

    def sizes(self) -> list[int]:
        """Return the number of samples from the oldest to the newest of `spans`."""
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
    """Return the number of layers from which on a causal stack sees so many samples.

    Args:
        dilations: of the layers, without end.
        samples: to be seen, the newest included.
    Returns:
        None if no depth is enough, or more than `MAX_LAYERS` would be.
    """
    if samples <= 1:
        return 0
    if kernel_size == 1:
        return None
    seen = 1
    for layers, dilation in enumerate(islice(dilations, MAX_LAYERS), start=1):
        seen += (kernel_size - 1) * dilation
        if seen >= samples:
            return layers
    return None


def compare_dilations(stack: ConvolutionStack, samples: int) -> dict[str, int | None]:
    """Return the number of layers that three ways to dilate need for so many samples.

    Returns:
        "given": the dilations of the stack, repeated; "doubled": 1, 2, 4, .. without end;
        "plain": all 1.
    """
    ways = {"given": cycle(stack.dilations), "doubled": doublings(), "plain": cycle((1,))}
    return {
        name: layers_for_receptive_field(stack.kernel_size, dilations, samples)
        for name, dilations in ways.items()
    }
