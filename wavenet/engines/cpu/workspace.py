"""Buffers of the compiled loop: plain flat arrays.

Input: a `CpuShape` and a batch size. Output: arrays of zeros. Zeros keep the padding finite; all
other elements are overwritten before they are read. Called by `cpu_engine`; `sample_loop` uses the
buffers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavenet.engines.cpu.int8_kernels import TOP, row_bytes
from wavenet.engines.cpu.int8_weights import Bytes
from wavenet.engines.cpu.llvm_kernels import PANEL_WIDTH
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH
from wavenet.engines.cpu.packed_weights import CpuShape, Floats, align_to_cache_line

MAX_SAMPLES_AHEAD = 8  # samples whose past taps are computed at once, for one stream
# fewer in int8, because weights, gate sums and rings must fit into L2 together
MAX_INT8_SAMPLES_AHEAD = 4


class Workspace(NamedTuple):
    """Buffers for B rows. Two threads share x, z, skip_sums, hidden, params and gate_sums."""

    batch: int
    samples_ahead: int  # samples whose past taps are computed at once
    x: Floats  # (B, residual_width), the input of the current layer
    past_inputs: (
        Floats  # (samples_ahead * B, 2 * past_pairs), the inputs of all past taps side by side
    )
    unpacked: Floats  # (most pairs, 2, 32), unpacked weights of one panel
    panels_at_once: int  # panels per read of one row
    gate_sums: Floats  # (layers, samples_ahead, B, 2 * gate_width); (B, ..) if it is 1
    z: Floats  # (layers, B, gate_width), gate outputs
    skip_sums: Floats  # (B, skip_width)
    hidden: Floats  # (B, skip_width)
    params: Floats  # (B, params_width)
    masses: Floats  # (params_width,), unnormalised probabilities
    block_sums: Floats  # (params_width / 16,), sums of masses
    mixture: NDArray[np.float64]  # (2 * components,), weights and scales


class BiasFrames(NamedTuple):
    """Biases of the conditions for B rows, in gate panels, one frame every `hop_length` samples."""

    biases: Floats  # (B, frame_count, layers, 2 * gate_width), flat
    frame_count: int
    offsets: NDArray[np.int64]  # (B,), samples from the first frame to the first sample
    hop_length: int  # 0: one frame for all samples


class Int8Workspace(NamedTuple):
    """Buffers of the int8 loop for B rows; two threads share all of them but past_q.

    `int8_kernels` describes rows of activations.
    """

    batch: int
    samples_ahead: int  # samples whose past taps are computed at once
    x: Floats  # (B, residual_width), the input of the current layer
    x_q: Bytes  # (B, row), its activations
    past_q: Bytes  # (samples_ahead * B, row), inputs of a past tap
    gate_sums: Floats  # (layers, samples_ahead, B, 2 * gate_width); (B, ..) if it is 1
    z_q: Bytes  # (B, row of layers * gate_width), gate outputs
    skip_sums: Floats  # (B, skip_width)
    head_q: Bytes  # (B, row of skip_width), inputs of the output layers
    hidden: Floats  # (B, skip_width)
    params: Floats  # (B, params_width)
    masses: Floats  # (params_width,), unnormalised probabilities
    block_sums: Floats  # (params_width / 16,), sums of masses
    mixture: NDArray[np.float64]  # (2 * components,), weights and scales


def make_workspace(shape: CpuShape, batch: int, panels_at_once: int = 1) -> Workspace:
    """Allocate the buffers for a number of rows."""
    # with many rows, each weight is read once for all rows anyway
    samples_ahead = max(1, MAX_SAMPLES_AHEAD // batch)
    slots = shape.layers * samples_ahead if samples_ahead > 1 else 1
    most_pairs = max(shape.residual_pairs, shape.past_pairs, shape.gate_pairs, shape.skip_pairs)
    return Workspace(
        batch=batch,
        samples_ahead=samples_ahead,
        x=_zeros(batch * shape.residual_width),
        past_inputs=_zeros(samples_ahead * batch * 2 * shape.past_pairs),
        unpacked=_zeros(most_pairs * 2 * PANEL_WIDTH),
        panels_at_once=panels_at_once,
        gate_sums=_zeros(slots * batch * 2 * shape.gate_width),
        z=_zeros(shape.layers * batch * shape.gate_width),
        skip_sums=_zeros(batch * shape.skip_width),
        hidden=_zeros(batch * shape.skip_width),
        params=make_params(shape, batch),
        masses=_zeros(shape.params_width),
        block_sums=_zeros(shape.params_width // BLOCK_WIDTH),
        mixture=np.zeros(2 * shape.components),
    )


def share_workspace(
    workspace: Workspace | Int8Workspace, shape: CpuShape
) -> Workspace | Int8Workspace:
    """Return the second thread's workspace: all buffers shared but those for past taps."""
    if isinstance(workspace, Int8Workspace):
        return workspace._replace(past_q=align_to_cache_line(np.zeros_like(workspace.past_q)))
    own = make_workspace(shape, workspace.batch, workspace.panels_at_once)
    return workspace._replace(past_inputs=own.past_inputs, unpacked=own.unpacked)


def make_int8_workspace(shape: CpuShape, batch: int) -> Int8Workspace:
    """Allocate the buffers of the int8 loop for a number of rows."""
    samples_ahead = max(1, MAX_INT8_SAMPLES_AHEAD // batch)
    slots = shape.layers * samples_ahead if samples_ahead > 1 else 1
    return Int8Workspace(
        batch=batch,
        samples_ahead=samples_ahead,
        x=_zeros(batch * shape.residual_width),
        x_q=make_rows(batch, shape.ring_width),
        past_q=make_rows(samples_ahead * batch, shape.ring_width),
        gate_sums=_zeros(slots * batch * 2 * shape.gate_width),
        z_q=make_rows(batch, shape.layers * shape.gate_width, step=1 / TOP),
        skip_sums=_zeros(batch * shape.skip_width),
        head_q=make_rows(batch, shape.skip_width),
        hidden=_zeros(batch * shape.skip_width),
        params=make_params(shape, batch),
        masses=_zeros(shape.params_width),
        block_sums=_zeros(shape.params_width // BLOCK_WIDTH),
        mixture=np.zeros(2 * shape.components),
    )


def make_params(shape: CpuShape, batch: int) -> Floats:
    """Allocate the params of a number of rows, (batch * params_width,)."""
    return _zeros(batch * shape.params_width)


def make_rows(count: int, width: int, step: float = 0.0) -> Bytes:
    """Allocate rows of activations; their steps are `step`."""
    rows = np.zeros((count, row_bytes(width)), np.uint8)
    rows[:, 2 * width : 2 * width + 4] = np.array([step], np.float32).view(np.uint8)
    return align_to_cache_line(rows)


def _zeros(size: int) -> Floats:
    return align_to_cache_line(np.zeros(size, np.float32))
