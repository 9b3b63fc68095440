"""Base of the models of images: their config, memory and output layers.

An image of `height` rows and `width` columns is a clip: its codes are the pixels, row by row, each
row from left to right ("raster order"). Pixel t is in row t // width and column t % width, and the
chain rule p(x) = prod_t p(x_t | x_<t) is that of a waveform. So training, scores, engines and
generation need nothing new. Only the neighbourhood differs: the pixel above is `width` codes ago.
`masked_convolution` reads it. Called by `pixel_cnn`, `gated_pixel_cnn` and `row_lstm`.

Source: van den Oord et al. 2016, "Pixel Recurrent Neural Networks".
"""

from abc import abstractmethod
from typing import Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from wavenet.config import Width
from wavenet.model.autoregressive_model import AutoregressiveModel, Fact, sample_biases
from wavenet.model.conditioning import Conditioning
from wavenet.model.masked_convolution import Place
from wavenet.model.memory import Memory, TensorMemory
from wavenet.model.model_config import ModelConfig


class ImageConfig(ModelConfig):
    """Base of the configs of models of images.

    Attributes:
        height, width: rows and columns of an image; a clip has at most height * width samples.
        channels: features of a pixel in every layer.
        layers: number of layers.
        kernel_size: odd; a layer reaches kernel_size // 2 pixels to each side.
        output_channels: width of the hidden layer before the output layer.
    """

    height: int = Field(default=32, ge=1, le=1024)
    width: int = Field(default=24, ge=1, le=1024)
    channels: Width = 32
    layers: int = Field(default=6, ge=1, le=64)
    kernel_size: int = Field(default=3, ge=3, le=15)
    output_channels: Width = 64

    @model_validator(mode="after")
    def _check_kernel(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size must be odd, so that a pixel is in the middle of its kernel; found "
                f"{self.kernel_size}; choose {self.kernel_size - 1} or {self.kernel_size + 1}"
            )
        if self.width < self.kernel_size:
            raise ValueError(
                f"width must be at least kernel_size, {self.kernel_size}, found {self.width}; "
                "choose a smaller kernel or wider images"
            )
        return self

    @property
    @abstractmethod
    def past_description(self) -> str:
        """The pixels that a prediction reads."""

    @property
    def longest_clip(self) -> int:
        """The pixels of an image."""
        return self.height * self.width

    @property
    def clip_limit_advice(self) -> str:
        """Advice for a clip that is longer than an image."""
        return (
            f"that is an image of {self.height} x {self.width} pixels: use images, as `wavenet "
            "images encode` writes them, of this size"
        )

    @property
    def reach(self) -> int:
        """Pixels that one layer reaches to each side."""
        return self.kernel_size // 2

    @property
    def past_pixels(self) -> int:
        """Number of pixels before the current one that a square kernel spans."""
        return self.reach * (self.width + 1)

    @property
    def bias_layers(self) -> int:
        """Every layer has a bias of the conditions."""
        return self.layers


class ImageModel(AutoregressiveModel[ImageConfig]):
    """Base of the networks: embedding, layers of the subclass, a hidden layer and the output layer.

    The `__init__` of a subclass adds its layers and ends with `_finish_init`.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    def __init__(
        self, config: ImageConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        self._add_embedding(config.channels)
        self.hidden = nn.Linear(config.channels, config.output_channels)
        self.output = nn.Linear(config.output_channels, self.distribution.n_params)

    @abstractmethod
    def memory_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the tensors of a memory, without rows and without the position."""

    @abstractmethod
    def pixel_features(
        self, x: Tensor, bias: Tensor | None, place: Place, stored: list[Tensor] | None
    ) -> Tensor:
        """Compute the features of pixels from those before them.

        Args:
            x: (B, T, channels), the embedding of the code before each pixel.
            bias: (B, T, layers, bias width) of the conditions, or None.
            place: of the pixels.
            stored: the tensors of a memory, updated in place; None: nothing is known.
        Returns:
            (B, T, channels).
        """

    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the features of the pixels, (B, T, channels); see the base class."""
        bias = sample_biases(conditioning, start, inputs.shape[1])
        return self._run(inputs, bias, start, memory)

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return params (.., P) from features (.., channels)."""
        params: Tensor = self.output(F.relu(self.hidden(F.relu(hidden))))
        return params

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return zeros: the features of the pixels before the image, and the position (B,)."""
        place = device or self.device
        shapes = [(batch, *shape) for shape in self.memory_shapes()]
        tensors = [torch.zeros(shape, device=place, dtype=self.dtype) for shape in shapes]
        return TensorMemory([*tensors, torch.zeros(batch, dtype=torch.int64, device=place)])

    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Predict the next pixel of every row of the batch."""
        bias = None if bias is None else bias[:, None]
        return self.output_params(self._run(codes[:, None], bias, None, memory)[:, 0])

    def describe(self) -> dict[str, Fact]:
        """Return the facts of the base class, with the pixels that a prediction reads."""
        facts = super().describe() | {"receptive_field": self.config.past_description}
        del facts["receptive_field_ms"]  # an image has no duration
        return facts

    def network_facts(self) -> dict[str, Fact]:
        """Return the size of an image, depth and widths."""
        names = ("height", "width", "layers", "channels", "kernel_size", "output_channels")
        return {name: getattr(self.config, name) for name in names}

    def _run(
        self, inputs: Tensor, bias: Tensor | None, start: Tensor | None, memory: Memory | None
    ) -> Tensor:
        x = self.embedding(inputs)
        stored = None if memory is None else cast(TensorMemory, memory).tensors
        first = torch.zeros(1, dtype=torch.int64, device=x.device)
        if stored is not None:
            first = stored[-1].clone()
            stored[-1].add_(inputs.shape[1])
        elif start is not None:
            first = start.to(x.device, non_blocking=True)
        index = first[:, None] + torch.arange(inputs.shape[1], device=x.device)
        place = Place(index // self.config.width, index % self.config.width)
        return self.pixel_features(x, bias, place, stored)
