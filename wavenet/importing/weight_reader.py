"""Read the tensors of another program's checkpoint by name and check their shapes.

Input: the unchecked content of a file. Output: tensors of the expected shapes, in float64, so that
factors can be folded into them without loss of precision. At the end every tensor must have been
read: a remaining one belongs to a layer that the importer does not support, and without it the
model would compute other numbers than the original. Called by the importers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from wavenet.errors import CheckpointError
from wavenet.model.model_config import MAX_PARAMETERS

# Names that weight norm uses for length and direction, in older and in newer versions of PyTorch.
WEIGHT_NORM_NAMES = (("weight_g", "weight_v"), (".original0", ".original1"))

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class WeightReader:
    """Tensors by name, each of which can be read once.

    Attributes:
        names: of all tensors in the file, also of those that were read.
        source: the file, for error messages.

    Args:
        content: of the file: expected to be a state_dict.
        source: the file, for error messages.
    Raises:
        CheckpointError: the content is not a dict of finite float tensors, or has more numbers than
            the largest model that can be built.
    """

    def __init__(self, content: object, source: str):
        if not isinstance(content, Mapping) or not content:
            raise CheckpointError(f"{source} contains no tensors by name; expected a state_dict")
        self.source = source
        self._unread: dict[str, Tensor] = {}
        numbers = 0
        for name, tensor in content.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                kind = type(tensor).__name__
                raise CheckpointError(
                    f"{source}: {str(name)[:100]!r} is of type {kind}, expected a tensor"
                )
            # Counted before the numbers are read: with strides of 0, a small file has huge tensors.
            numbers += tensor.numel()
            if numbers > MAX_PARAMETERS:
                raise CheckpointError(
                    f"{source} has more than {MAX_PARAMETERS:,} numbers, the limit of a model"
                )
            self._unread[name] = _checked(tensor, f"{source}: the tensor {name[:100]!r}")
        self.names = frozenset(self._unread)

    def has(self, name: str) -> bool:
        """Return whether the file contains a tensor of this name."""
        return name in self.names

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a tensor, or of the direction if the layer has weight norm.

        Raises:
            CheckpointError: it is missing or empty, or has another number of dimensions.
        """
        stored = next((n for n in (name, *self._direction_names(name)) if n in self._unread), None)
        if stored is None:
            raise CheckpointError(f"{self.source}: the tensor {name} is missing")
        shape = tuple(self._unread[stored].shape)
        if len(shape) != dimensions or not all(shape):
            raise CheckpointError(
                f"{self.source}: the tensor {stored} is {_format_shape(shape)}; expected "
                f"{dimensions} dimensions"
            )
        return shape

    def pop(self, name: str, *shape: int) -> Tensor:
        """Return a tensor as float64, and mark it as read.

        Raises:
            CheckpointError: it is missing or has another shape.
        """
        tensor = self._unread.pop(name, None)
        if tensor is None:
            raise CheckpointError(f"{self.source}: the tensor {name} is missing")
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{self.source}: the tensor {name} is {_format_shape(tuple(tensor.shape))}, "
                f"expected {_format_shape(shape)}"
            )
        return tensor.detach().to(torch.float64)

    def pop_bias(self, name: str, size: int) -> Tensor:
        """Return the bias of a layer, (size,); zeros if the layer has none."""
        bias = f"{name}.bias"
        return self.pop(bias, size) if bias in self._unread else torch.zeros(size).double()

    def pop_weight(self, name: str, *shape: int) -> Tensor:
        """Return the weight of a layer, computed as g v / ||v|| if the layer has weight norm.

        The norm is over all dimensions except the first.

        Raises:
            CheckpointError: it is missing or has another shape, or a direction is all zeros.
        """
        for length, direction in self._weight_norm_names(f"{name}.weight"):
            if direction in self._unread:
                ones = (1,) * (len(shape) - 1)
                g, v = self.pop(length, shape[0], *ones), self.pop(direction, *shape)
                norm = v.flatten(1).norm(dim=1).reshape(-1, *ones)
                if not bool((norm > 0).all()):
                    raise CheckpointError(
                        f"{self.source}: the tensor {direction} has a row of zeros, which has no "
                        "direction"
                    )
                product: Tensor = g * v / norm
                return product
        return self.pop(f"{name}.weight", *shape)

    def check_all_read(self) -> None:
        """Check that every tensor was read.

        Raises:
            CheckpointError: a tensor belongs to no layer of the layout.
        """
        if self._unread:
            name = next(iter(self._unread))[:100]
            raise CheckpointError(f"{self.source}: the tensor {name!r} is not part of this layout")

    def _weight_norm_names(self, name: str) -> list[tuple[str, str]]:
        layer = name.removesuffix("weight")
        (old_g, old_v), (new_g, new_v) = WEIGHT_NORM_NAMES
        new = f"{layer}parametrizations.weight"
        return [(layer + old_g, layer + old_v), (new + new_g, new + new_v)]

    def _direction_names(self, name: str) -> list[str]:
        return [direction for _, direction in self._weight_norm_names(name)]


def _checked(tensor: Tensor, description: str) -> Tensor:
    is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not is_dense or tensor.dtype not in FLOATS:
        raise CheckpointError(f"{description} is not a dense CPU tensor of floating-point numbers")
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"{description} contains NaN or infinity")
    return tensor


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
