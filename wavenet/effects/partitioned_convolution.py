"""Convolution with an impulse response, block by block, by FFT partitions (overlap-save).

Input: blocks (channels, n) of any sizes. Output: blocks of the same sizes; the latency is 0. The
response h is cut into K partitions of B samples, whose spectra H_k are computed once. With X_j the
spectrum of the input frame j of 2 B samples (the block j and the one before it),

    y_j = the last B samples of irfft(sum over k of H_k X_{j-k})

The sum for k >= 1 needs no new sample, so it is computed once per frame. A block that fills a part
of a frame transforms the frame with old values in place of the samples to come, which do not change
the outputs before them. So every output is complete at once; a block smaller than B costs one
transform of 2 B samples and its inverse. All state is in a `ConvolutionState`. For the rendering of
effects.
Source: Stockham 1966, High-speed convolution and correlation; Oppenheim and Schafer, 8.7.3.
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Samples = NDArray[np.float64]
DEFAULT_PARTITION = 512  # samples


@dataclass(eq=False)
class ConvolutionState:
    """The past of a convolution; `process` changes it in place.

    Attributes:
        frame: (channels, 2 B), the samples of the block before and of this one.
        filled: samples of this block that have arrived.
        spectra: (K, channels, B + 1), of the last K frames, as a ring.
        newest: index of the newest complete frame in the ring.
        past: (channels, B + 1), the sum over the complete frames.
    """

    frame: Samples
    filled: int
    spectra: NDArray[np.complex128]
    newest: int
    past: NDArray[np.complex128]

    def copy(self) -> "ConvolutionState":
        """Return an independent copy."""
        return deepcopy(self)


class PartitionedConvolver:
    """Convolution with a fixed impulse response.

    Args:
        response: (T,) for all channels, or (C, T) with one response per channel, T >= 1, finite.
        partition: B, samples; a power of 2 is fast.
    """

    latency = 0
    """Samples by which the output is late."""

    def __init__(self, response: NDArray[np.floating], partition: int = DEFAULT_PARTITION):
        rows = np.atleast_2d(np.asarray(response, np.float64))
        if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
            raise ValueError(f"expected a finite response (C, T), found shape {rows.shape}")
        if partition < 1:
            raise ValueError(f"expected a partition of at least 1 sample, found {partition}")
        self.partition, self.response_channels = partition, len(rows)
        self.tail = rows.shape[1] - 1
        count = -(-rows.shape[1] // partition)
        padded = np.zeros((len(rows), count * partition))
        padded[:, : rows.shape[1]] = rows
        parts = padded.reshape(len(rows), count, partition).transpose(1, 0, 2)
        self._spectra: NDArray[np.complex128] = fft.rfft(parts, 2 * partition)  # (K, C, B + 1)

    def start(self, channels: int = 1) -> ConvolutionState:
        """Return the state of silence.

        Args:
            channels: of the input; 1 or as many as the responses, unless there is one response.
        Raises:
            ValueError: the channels do not fit the responses.
        """
        if channels < 1 or (self.response_channels > 1 and channels not in self._fitting):
            raise ValueError(f"expected {self._fitting} channels, found {channels}")
        count, size = len(self._spectra), self.partition
        outputs = max(channels, self.response_channels)
        return ConvolutionState(
            np.zeros((channels, 2 * size)),
            0,
            np.zeros((count, channels, size + 1), np.complex128),
            count - 1,
            np.zeros((outputs, size + 1), np.complex128),
        )

    @property
    def _fitting(self) -> tuple[int, ...]:
        return (1, self.response_channels)

    def process(self, state: ConvolutionState, block: NDArray[np.floating]) -> Samples:
        """Return the output of a block, and change the state.

        Args:
            state: of `start`, or after the block before.
            block: (channels, n), or (n,) if the state has one channel; n may be 0.
        Returns:
            (output channels, n), or (n,) for a block (n,) and a single response.
        """
        rows = np.atleast_2d(block)
        if len(rows) != len(state.frame):
            raise ValueError(f"expected {len(state.frame)} channels, found {len(rows)}")
        output = np.empty((len(state.past), rows.shape[1]))
        done = 0
        while done < rows.shape[1]:
            count = min(self.partition - state.filled, rows.shape[1] - done)
            part = rows[:, done : done + count]
            output[:, done : done + count] = self._process_part(state, part)
            done += count
        return output[0] if np.ndim(block) == 1 and len(output) == 1 else output

    def _process_part(self, state: ConvolutionState, part: NDArray[np.floating]) -> Samples:
        """Return the output of samples that fit into the current frame."""
        size, start = self.partition, self.partition + state.filled
        end = start + part.shape[1]
        state.frame[:, start:end] = part
        newest = fft.rfft(state.frame)
        filtered: Samples = fft.irfft(state.past + self._spectra[0] * newest, 2 * size)
        state.filled += part.shape[1]
        if state.filled == size:
            self._finish_frame(state, newest)
        return filtered[:, start:end]

    def _finish_frame(self, state: ConvolutionState, newest: NDArray[np.complex128]) -> None:
        """Store a complete frame, and compute the sum over the past of the next one."""
        count = len(self._spectra)
        state.newest = (state.newest + 1) % count
        state.spectra[state.newest] = newest
        # frames from the newest to the oldest belong to the partitions 1, 2, ..
        order = (state.newest - np.arange(count - 1)) % count
        products = np.einsum("kcf,kcf->cf", self._spectra[1:], state.spectra[order])
        state.past[:] = products  # of one response and several channels, or the reverse, as well
        state.frame[:, : self.partition] = state.frame[:, self.partition :]
        state.filled = 0

    def convolve(self, signal: NDArray[np.floating], with_tail: bool = False) -> Samples:
        """Return a whole signal after the response.

        Args:
            signal: (channels, n) or (n,).
            with_tail: whether the samples after the end of the signal are included.
        """
        signal = np.asarray(signal, np.float64)
        state = self.start(len(np.atleast_2d(signal)))
        if with_tail:
            tail = np.zeros((*signal.shape[:-1], self.tail))
            signal = np.concatenate([signal, tail], axis=-1)
        return self.process(state, signal)
