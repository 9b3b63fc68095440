"""Linear prediction (LPC): an autoregressive process AR(p) over the amplitudes of the codes.

    x_t = phi_1 x_(t-1) + .. + phi_p x_(t-p) + e_t        e_t logistic or Gaussian, of scale s_t
    s_t = floor                                           constant, or
    s_t = floor + gain * mean(|e_(t-1)|, .., |e_(t-W)|)   adaptive, with W = scale_window
    p(code | past) = F((upper - m_t) / s_t) - F((lower - m_t) / s_t)

m_t is the prediction without e_t, and F the distribution function of e. A code stands for the
interval between the midpoints to its neighbours, the outermost codes for everything beyond, so the
probabilities sum to 1. x_t is the amplitude of a code of the mu-law codec.

Estimation by least squares: the sum of w_t e_t^2 is smallest where its derivative by phi is 0, that
is at the solution of the p linear equations of `least_squares`. For p = 1 and w = 1, phi is the sum
of x_t x_(t-1) divided by the sum of x_(t-1)^2. With a constant scale w is 1; with an adaptive scale
it is the inverse of the mean power of the past. Floor and gain are those of a grid with the highest
likelihood. Estimation by gradient finds about the same numbers by many steps.

The process is stable if all poles, the roots of z^p - phi_1 z^(p-1) - .. - phi_p, are inside the
unit circle. Otherwise generated audio grows until the codec limits it.

A prediction costs p multiply-adds, and p + 2 numbers describe the average spectrum of recordings.
But phi is the same for all sounds: a WaveNet changes its prediction with the past. The memory is
p + W numbers, and the scale needs the residuals in order, so a recording is still computed in
parallel. Called by `architectures`.

Sources: Yule 1927, "On a Method of Investigating Periodicities in Disturbed Series"; Makhoul 1975,
"Linear Prediction: A Tutorial Review"; intervals as in Salimans et al. 2017 (PixelCNN++).
"""

import math
from typing import Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from wavenet.codec import MuLawCodec
from wavenet.model.autoregressive_model import Fact
from wavenet.model.code_intervals import CodeIntervals, Residual
from wavenet.model.conditioning import Conditioning
from wavenet.model.least_squares import normal_equations, solve_equations
from wavenet.model.memory import Memory, TensorMemory
from wavenet.model.model_config import ModelConfig
from wavenet.model.statistics_model import StatisticsModel, add_to_parts, check_inputs, sum_parts

INITIAL_FLOOR, INITIAL_GAIN = 0.05, 0.5
BLOCK_SAMPLES = 16_384  # samples per block of the normal equations
GRID_SAMPLES = 4_096  # of a batch, evenly spaced, by which floor and gain are chosen
# The grid: a constant scale, or floors and gains of an adaptive one.
SCALES = tuple(2.0 ** (-n / 4) for n in range(60))
FLOORS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
GAINS = (0.15, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.25, 1.5, 1.8)


class LinearPredictionConfig(ModelConfig):
    """Config of linear prediction.

    Attributes:
        order: p, number of coefficients.
        residual: distribution of the residual.
        scale_window: W, number of residuals of the adaptive scale; 0: a constant scale.
        estimation: "least-squares", or "gradient": by the optimizer, as a network.
    """

    architecture: Literal["linear-prediction"] = "linear-prediction"
    order: int = Field(default=16, ge=1, le=256)
    residual: Residual = "logistic"
    scale_window: int = Field(default=8, ge=0, le=4096)
    estimation: Literal["least-squares", "gradient"] = "least-squares"

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        check_inputs(self, "linear prediction", ())
        return self

    @property
    def uses_statistics(self) -> bool:
        """Whether the estimation is "least-squares"."""
        return self.estimation == "least-squares"

    @property
    def receptive_field(self) -> int:
        """Samples of the prediction, and those before the oldest residual."""
        return self.order + self.scale_window

    @property
    def bias_layers(self) -> int:
        """None: there are no conditions."""
        return 0

    @property
    def bias_width(self) -> int:
        """None: there are no conditions."""
        return 0

    @property
    def memory_values(self) -> int:
        """Past amplitudes and magnitudes of residuals."""
        return self.order + self.scale_window

    @property
    def network_parameters(self) -> int:
        """Coefficients, floor and gain."""
        return self.order + 2


class LinearPredictor(StatisticsModel[LinearPredictionConfig]):
    """Linear prediction with a discretised residual.

    Hidden states are the prediction and the mean magnitude of the newest residuals.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.

    Attributes:
        coefficients: (p,), phi; the first belongs to the newest sample.
        log_scale: (2,), natural logs of floor and gain; the gain of a constant scale is not used.
    """

    levels: Tensor
    grid: Tensor
    products: Tensor
    targets: Tensor
    grid_nll: Tensor

    def __init__(
        self,
        config: LinearPredictionConfig,
        bits: int,
        sample_rate: int,
        start_code: int | None = None,
    ):
        super().__init__(config, bits, sample_rate, start_code)
        self.coefficients = nn.Parameter(torch.zeros(config.order))
        self.log_scale = nn.Parameter(torch.tensor([INITIAL_FLOOR, INITIAL_GAIN]).log())
        with torch.device("cpu"):  # also for a model without data, on the device "meta"
            levels = MuLawCodec(bits=bits).levels
            self.intervals = CodeIntervals(levels, config.residual)
            grid = make_grid(config)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("grid", grid, persistent=False)
        if config.uses_statistics:
            for parameter in (self.coefficients, self.log_scale):
                parameter.requires_grad_(False)
            self.register_buffer("products", torch.zeros(2, config.order, config.order))
            self.register_buffer("targets", torch.zeros(2, config.order))
            self.register_buffer("grid_nll", torch.zeros(2, len(grid)))

    @property
    def macs_per_sample(self) -> int:
        """One multiply-add per coefficient, and two per code for the edges of its interval."""
        return self.config.order + 2 * self.n_classes

    @property
    def largest_pole(self) -> float:
        """Largest magnitude of a pole; the process is stable below 1."""
        companion = torch.diag(torch.ones(self.config.order - 1, dtype=torch.float64), -1)
        companion[0] = self.coefficients.detach().double().cpu()
        return float(torch.linalg.eigvals(companion).abs().max())

    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the prediction of each sample and the mean magnitude of residuals, (B, T, 2)."""
        return self._predict(inputs, memory)

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return log-probabilities (.., K) from predictions and mean magnitudes (.., 2)."""
        codes = torch.arange(self.n_classes, device=hidden.device)
        scale = self._scales(hidden, self.log_scale)
        return self.intervals.log_probs(hidden[..., :1], scale[..., None], codes)

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return p amplitudes and W magnitudes of silence, (B, p) and (B, W), the oldest first."""
        sizes = (self.config.order, self.config.scale_window)
        device = device or self.device
        return TensorMemory([torch.zeros(batch, size, device=device) for size in sizes])

    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Predict one sample."""
        return self.output_params(self._predict(codes[:, None], memory)[:, 0])

    @torch.no_grad()
    def observe(
        self,
        codes: Tensor,
        mask: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        input_codes: Tensor | None = None,
    ) -> None:
        """Add a batch to the normal equations and solve them; then choose floor and gain."""
        inputs = self.shifted_inputs(codes if input_codes is None else input_codes)
        self._add_equations(self.levels[inputs], self.levels[codes], mask)
        solution = solve_equations(sum_parts(self.products), sum_parts(self.targets))
        self.coefficients.copy_(solution)
        hidden, found = self._predict(inputs, None)[mask], codes[mask]
        every = max(1, len(found) // GRID_SAMPLES)
        hidden, found = hidden[::every], found[::every]
        for n, log_scale in enumerate(self.grid):
            scale = self._scales(hidden, log_scale)
            log_probs = self.intervals.log_probs(hidden[:, 0], scale, found)
            add_to_parts(self.grid_nll[:, n], -log_probs.double().sum())
        self.log_scale.copy_(self.grid[sum_parts(self.grid_nll).argmin()])

    def network_facts(self) -> dict[str, Fact]:
        """Return order, residual, scale and stability."""
        window = self.config.scale_window
        return {
            "order": self.config.order,
            "residual": self.config.residual,
            "scale": f"adaptive, {window} residuals" if window else "constant",
            "largest_pole": round(self.largest_pole, 4),
        }

    def _predict(self, inputs: Tensor, memory: Memory | None) -> Tensor:
        """Compute the hidden states of inputs (B, T) after a memory, or after silence."""
        memory = memory or self.initial_memory(inputs.shape[0], inputs.device)
        past, magnitudes = cast(TensorMemory, memory).tensors
        order, window = self.config.order, self.config.scale_window
        levels = self.levels[inputs]
        series = torch.cat([past, levels], dim=1)
        # the prediction of every input, then of the sample after the last
        predictions = series.unfold(1, order, 1) @ self.coefficients.flip(0)
        residuals = (levels - predictions[:, :-1]).abs()
        all_magnitudes = torch.cat([magnitudes, residuals], dim=1)
        past.copy_(series[:, -order:])
        if not window:
            return torch.stack([predictions[:, 1:], torch.zeros_like(levels)], dim=2)
        means = all_magnitudes[:, 1:].unfold(1, window, 1).mean(2)
        magnitudes.copy_(all_magnitudes[:, -window:].detach())
        return torch.stack([predictions[:, 1:], means], dim=2)

    def _add_equations(self, inputs: Tensor, targets: Tensor, mask: Tensor) -> None:
        """Add samples to both sides of the normal equations; all arguments are (B, T)."""
        order = self.config.order
        windows = nn.functional.pad(inputs, (order - 1, 0)).unfold(1, order, 1)[mask]
        pairs = zip(windows.split(BLOCK_SAMPLES), targets[mask].split(BLOCK_SAMPLES), strict=True)
        for window, target in pairs:
            past = window.double().flip(1)  # the newest first
            sums = normal_equations(past, target.double(), self.config.scale_window > 0)
            add_to_parts(self.products, sums[0])
            add_to_parts(self.targets, sums[1])

    def _scales(self, hidden: Tensor, log_scale: Tensor) -> Tensor:
        """Return the scale (..) for hidden states (.., 2) and the logs of floor and gain (2,)."""
        scale = log_scale[0].exp().expand_as(hidden[..., 1])
        if self.config.scale_window:
            scale = scale + log_scale[1].exp() * hidden[..., 1]
        return scale


def make_grid(config: LinearPredictionConfig) -> Tensor:
    """Return the natural logs of floor and gain to choose from, (G, 2)."""
    if config.scale_window:
        points = [(math.log(floor), math.log(gain)) for floor in FLOORS for gain in GAINS]
    else:
        points = [(math.log(scale), 0.0) for scale in SCALES]
    return torch.tensor(points)
