"""Diagonal state-space layer: each channel is the output of a few damped oscillators.

Per channel, with N complex states and an input u, in continuous time and for one step:

    dh_n/dt = A_n h_n + u            A_n = -exp(log_decay_n) + i frequency_n
    h_t = A' h_(t-1) + B' u_t        A' = exp(Delta A), B' = (A' - 1) / A     zero-order hold
    y_t = 2 Re(sum_n C_n h_t,n) + D u_t

The second line is the exact solution of the first if u is constant during a step of length Delta.
The real part of A is negative, so |A'| < 1 and the layer is stable. Each state stands for a
conjugate pair, which is why the output is twice the real part. The input weight of a state is 1,
because only its product with C has an effect.

The map from inputs to outputs is linear, so it has several equivalent forms:

    recurrence    h_t as above, one sample after the other
    convolution   y = K * u with the kernel K_k = 2 Re(sum_n C_n A'_n^k B'_n), by FFT
    scan          the pair (a, b) stands for the map h -> a h + b; the pairs of two neighbouring
                  spans combine to (a1, b1) o (a2, b2) = (a1 a2, a2 b1 + b2). The operation is
                  associative, so all h_t need log2(T) rounds instead of T steps
    chunks        convolution inside chunks as a product of matrices, scan between chunks

`run_chunks` computes the parallel pass. It is about as fast as the FFT on a CPU, also returns the
last state, and a later input changes no earlier output, not even by rounding. Called by
`state_space`.

Source: Gu et al. 2022, "On the Parameterization and Initialization of Diagonal State Space Models"
(S4D); for the scan Blelloch 1990, "Prefix Sums and Their Applications".
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK_SAMPLES = 64  # 32 to 96 differ little in time on a CPU
MIN_STEP, MAX_STEP = 0.001, 0.1  # range of the initial Delta


class Modes(NamedTuple):
    """The discrete form of a layer, all (C, N) complex: Delta A, B' and C."""

    exponent: Tensor
    gain: Tensor
    readout: Tensor

    def powers(self, count: int) -> Tensor:
        """Return A'^k for k = 0 to count - 1: (C, N, count)."""
        return torch.exp(self.exponent[..., None] * torch.arange(count, device=self.gain.device))

    def read(self, states: Tensor) -> Tensor:
        """Compute the outputs (.., C) of states (.., C, N)."""
        return 2 * (self.readout * states).sum(-1).real


class StateSpaceLayer(nn.Module):
    """The layer: (B, T, C) to (B, T, C), with an independent system for each channel.

    The initial frequencies are pi n, the initial decay is 1/2 (S4D-Lin), and the initial Delta of
    the channels is log-uniform. Complex numbers are stored as two real parameters.

    Args:
        channels: C.
        states: N, the complex states of one channel.
    """

    def __init__(self, channels: int, states: int):
        super().__init__()
        self.log_decay = nn.Parameter(torch.full((channels, states), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(states).repeat(channels, 1).float())
        low, high = math.log(MIN_STEP), math.log(MAX_STEP)
        self.log_step = nn.Parameter(torch.empty(channels).uniform_(low, high))
        self.readout_real = nn.Parameter(torch.randn(channels, states) * math.sqrt(0.5))
        self.readout_imaginary = nn.Parameter(torch.randn(channels, states) * math.sqrt(0.5))
        self.direct = nn.Parameter(torch.randn(channels))  # D

    def modes(self) -> Modes:
        """Return the discrete form of the layer."""
        rate = torch.complex(-self.log_decay.exp(), self.frequency)
        exponent = self.log_step.exp()[:, None] * rate
        # exp(z) - 1 = 2 exp(z / 2) sinh(z / 2), without cancellation for small z
        gain = 2 * torch.exp(exponent / 2) * torch.sinh(exponent / 2) / rate
        return Modes(exponent, gain, torch.complex(self.readout_real, self.readout_imaginary))

    def kernel(self, samples: int) -> Tensor:
        """Return the kernel K of the convolution, without D: (C, samples).

        A'^(k + l) = A'^k A'^l: two short tables of powers have the same products as a long one.
        """
        modes, size = self.modes(), math.isqrt(samples) + 1
        steps = size * torch.arange(size, device=self.direct.device)
        weights = modes.readout * modes.gain  # (C, N)
        starts = weights[:, None] * torch.exp(modes.exponent[:, None] * steps[:, None])
        products = starts @ modes.powers(size)  # (C, size, size), sums over the states
        return 2 * products.real.flatten(1)[:, :samples]

    def time_constants(self) -> Tensor:
        """Return the samples after which each state has decayed by the factor e: (C, N)."""
        return -1 / self.modes().exponent.real

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the outputs of a sequence, and the state after it.

        Args:
            inputs: (B, T, C), T at least 1.
            state: (B, C, N) complex, the state before the first input.
        Returns:
            outputs (B, T, C) and the last state (B, C, N).
        """
        inputs = inputs.to(self.direct.dtype)
        run = run_recurrence if inputs.shape[1] == 1 else run_chunks
        with torch.autocast(inputs.device.type, enabled=False):  # powers of A' need float32
            outputs, state = run(self.modes(), inputs, state)
            return outputs + self.direct * inputs, state


def compute_kernel(modes: Modes, samples: int) -> Tensor:
    """Compute K_k = 2 Re(sum_n C_n A'_n^k B'_n) for k = 0 to samples - 1: (C, samples)."""
    weights = modes.readout * modes.gain
    return 2 * (weights[..., None] * modes.powers(samples)).sum(1).real


def run_recurrence(modes: Modes, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compute one step after the other; arguments and results of all forms as in `forward`."""
    decay, outputs = torch.exp(modes.exponent), []
    for u in inputs.unbind(1):
        state = decay * state + modes.gain * u[..., None]
        outputs.append(modes.read(state))
    return torch.stack(outputs, 1), state


def run_convolution(modes: Modes, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve with the kernel by FFT, and add the response to the first state."""
    samples = inputs.shape[1]
    size = 2 * samples  # no output of the circular convolution wraps around
    spectrum = torch.fft.rfft(compute_kernel(modes, samples), size)
    products = torch.fft.rfft(inputs.transpose(1, 2), size) * spectrum
    outputs = torch.fft.irfft(products, size)[..., :samples].transpose(1, 2)
    powers = modes.powers(samples + 1)
    decayed = torch.einsum("cnt,bcn->btcn", powers[..., 1:], state)
    added = torch.einsum("cnt,btc->bcn", _to_end(modes, powers[..., :-1]), inputs.to(state.dtype))
    return outputs + modes.read(decayed), decayed[:, -1] + added


def run_scan(modes: Modes, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compute all states by the associative scan."""
    added = (modes.gain * inputs[..., None]).transpose(0, 1)  # (T, B, C, N)
    states = associative_scan(torch.exp(modes.exponent), added, state)
    return modes.read(states).transpose(0, 1), states[-1]


def run_chunks(modes: Modes, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compute chunks by matrix products, and the states between the chunks by the scan."""
    batch, samples, _ = inputs.shape
    size = min(CHUNK_SAMPLES, samples)
    chunks = -(-samples // size)
    padded = F.pad(inputs, (0, 0, 0, chunks * size - samples))
    x = padded.unflatten(1, (chunks, size)).permute(3, 2, 1, 0).flatten(2)  # (C, size, chunks B)
    powers = modes.powers(size + 1)
    to_end = _to_end(modes, powers[..., :-1])

    real, imaginary = (torch.cat([to_end.real, to_end.imag], 1) @ x).chunk(2, dim=1)
    added = torch.complex(real, imaginary).unflatten(2, (chunks, batch)).permute(2, 3, 0, 1)
    ends = associative_scan(powers[..., size], added, state)
    before = torch.cat([state[None], ends[:-1]])  # (chunks, B, C, N), the state before each chunk

    past = before.permute(2, 3, 0, 1).flatten(2)  # (C, N, chunks B)
    lags = torch.arange(size, device=x.device)[:, None] - torch.arange(size, device=x.device)
    inside = compute_kernel(modes, size)[:, lags.clamp(min=0)] * (lags >= 0)
    across = 2 * (modes.readout[..., None] * powers[..., 1:]).transpose(1, 2)  # (C, size, N)
    weights = torch.cat([inside, across.real, -across.imag], 2)
    outputs = weights @ torch.cat([x, past.real, past.imag], 1)  # (C, size, chunks B)
    outputs = outputs.unflatten(2, (chunks, batch)).permute(3, 2, 1, 0).flatten(1, 2)

    # the padding of the last chunk is no input
    rest = samples - (chunks - 1) * size
    tail = inputs[:, -rest:].to(state.dtype)
    added = torch.einsum("cnt,btc->bcn", to_end[..., size - rest :], tail)
    return outputs[:, :samples], powers[..., rest] * before[-1] + added


def associative_scan(decay: Tensor, added: Tensor, state: Tensor) -> Tensor:
    """Compute h_t = decay h_(t-1) + added_t for all t, in log2(T) rounds.

    All spans of one round have the same length and so the same a, a power of the decay.

    Args:
        decay: (C, N); added: (T, B, C, N); state: (B, C, N), h before the first input.
    Returns:
        h_t (T, B, C, N).
    """
    states = torch.cat([added[:1] + decay * state, added[1:]])
    span = 1  # states[t] now covers the inputs t - span + 1 to t
    while span < len(states):
        joined = decay * states[:-span] + states[span:]
        states, decay, span = torch.cat([states[:span], joined]), decay * decay, 2 * span
    return states


def _to_end(modes: Modes, powers: Tensor) -> Tensor:
    """Return the factor of each input in the state after the last input: (C, N, T)."""
    return modes.gain[..., None] * powers.flip(-1)
