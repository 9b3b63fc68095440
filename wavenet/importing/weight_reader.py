"""The tensors of a foreign checkpoint, handed out by name; each must be there and fit.

Whatever a file held enters; float64 tensors of the shapes asked for leave, so that what is folded
into them costs no precision. In the end every tensor must have been asked for: one that was not
would mean a layer that the importer does not know, and other numbers than the original's.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from wavenet.config import MAX_PARAMETERS
from wavenet.errors import CheckpointError

# how weight norm names length and direction: in older PyTorch, in newer
NORMED = (("weight_g", "weight_v"), (".original0", ".original1"))

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Weights:
    """Tensors by name.

    Args:
        found: what a file held where its tensors should be.
        source: names the file in errors.
    Raises:
        CheckpointError: no dict of finite float tensors, or more numbers than any model here has.
    """

    def __init__(self, found: object, source: str):
        if not isinstance(found, Mapping) or not found:
            raise CheckpointError(f"{source} holds no tensors by name; expected a state_dict")
        self.source = source
        self._left: dict[str, Tensor] = {}
        numbers = 0
        for name, tensor in found.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                what = type(tensor).__name__
                raise CheckpointError(f"{source}: {str(name)[:100]!r} is no tensor but {what}")
            # its shape is all that is known so far: strides of 0 make a large one of few numbers
            numbers += tensor.numel()
            if numbers > MAX_PARAMETERS:
                raise CheckpointError(
                    f"{source} holds more than {MAX_PARAMETERS:,} numbers; no such model is built"
                )
            self._left[name] = _sound(tensor, f"{source}: the tensor {name[:100]!r}")
        self.names = frozenset(self._left)

    def has(self, name: str) -> bool:
        """Say whether the file had a tensor of this name."""
        return name in self.names

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Give the shape of a tensor, or of the product that weight norm makes of two.

        Raises:
            CheckpointError: it is missing, empty, or has another number of dimensions.
        """
        whole = next((n for n in (name, *self._directions(name)) if n in self._left), None)
        if whole is None:
            raise CheckpointError(f"{self.source}: the tensor {name} is missing")
        shape = tuple(self._left[whole].shape)
        if len(shape) != dimensions or not all(shape):
            raise CheckpointError(
                f"{self.source}: the tensor {whole} is {_by(shape)}; {dimensions} dimensions were "
                "expected"
            )
        return shape

    def take(self, name: str, *shape: int) -> Tensor:
        """Hand out a tensor, float64.

        Raises:
            CheckpointError: it is missing or has another shape.
        """
        tensor = self._left.pop(name, None)
        if tensor is None:
            raise CheckpointError(f"{self.source}: the tensor {name} is missing")
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{self.source}: the tensor {name} is {_by(tuple(tensor.shape))}, expected "
                f"{_by(shape)}"
            )
        return tensor.detach().to(torch.float64)

    def take_bias(self, name: str, size: int) -> Tensor:
        """Hand out the bias of a layer, (size,); zeros where the layer has none."""
        bias = f"{name}.bias"
        return self.take(bias, size) if bias in self._left else torch.zeros(size).double()

    def take_weight(self, name: str, *shape: int) -> Tensor:
        """Hand out the weight of a layer, as it is or as weight norm g v / ||v||.

        The norm is over all dimensions but the first.

        Raises:
            CheckpointError: it is missing, has another shape, or a direction is all zeros.
        """
        for length, direction in self._pairs(f"{name}.weight"):
            if direction in self._left:
                ones = (1,) * (len(shape) - 1)
                g, v = self.take(length, shape[0], *ones), self.take(direction, *shape)
                norm = v.flatten(1).norm(dim=1).reshape(-1, *ones)
                if not bool((norm > 0).all()):
                    raise CheckpointError(
                        f"{self.source}: the tensor {direction} has a row of zeros, which has no "
                        "direction"
                    )
                product: Tensor = g * v / norm
                return product
        return self.take(f"{name}.weight", *shape)

    def finish(self) -> None:
        """See that nothing is left.

        Raises:
            CheckpointError: a tensor that no layer of the layout has.
        """
        if self._left:
            name = next(iter(self._left))[:100]
            raise CheckpointError(f"{self.source}: the tensor {name!r} is not of this layout")

    def _pairs(self, name: str) -> list[tuple[str, str]]:
        layer = name.removesuffix("weight")
        (old_g, old_v), (new_g, new_v) = NORMED
        new = f"{layer}parametrizations.weight"
        return [(layer + old_g, layer + old_v), (new + new_g, new + new_v)]

    def _directions(self, name: str) -> list[str]:
        return [direction for _, direction in self._pairs(name)]


def _sound(tensor: Tensor, what: str) -> Tensor:
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.dtype not in FLOATS:
        raise CheckpointError(f"{what} is no plain tensor of floating-point numbers")
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"{what} holds NaN or infinity")
    return tensor


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
