"""The compiled loop of the CPU engine: one stream, all samples of a run, without Python between.

Arrays enter, codes are written into an array. Weights are (in, out), so that the inner loop over
outputs is contiguous and becomes vector instructions; four inputs are taken at a time, so that
each load and store of an output serves four multiply-adds. Compiled code is kept on disk.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Weights(NamedTuple):
    """A network of L layers, K taps, widths R, G, S, alphabet P, as (in, out) matrices."""

    embedding: Floats  # (P, R)
    conv: Floats  # (L, K * R, 2G), the oldest tap first
    conv_bias: Floats  # (L, 2G)
    residual: Floats  # (L, G, R), zeros for the last layer
    residual_bias: Floats  # (L, R)
    skip: Floats  # (L, G, S)
    skip_bias: Floats  # (S,)
    hidden: Floats  # (S, S)
    hidden_bias: Floats  # (S,)
    output: Floats  # (S, P)
    output_bias: Floats  # (P,)
    dilations: Ints  # (L,)
    edges: Ints  # (L + 1,), where each layer's ring begins


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _multiply(w, x, y):  # type: ignore[no-untyped-def]
    """Add x @ w to y: x (m,), w (m, n), y (n,)."""
    inputs, outputs = w.shape
    whole = inputs - inputs % 4
    for k in range(0, whole, 4):
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        for n in range(outputs):
            y[n] += w[k, n] * x0 + w[k + 1, n] * x1 + w[k + 2, n] * x2 + w[k + 3, n] * x3
    for k in range(whole, inputs):
        for n in range(outputs):
            y[n] += w[k, n] * x[k]


@njit(cache=True, fastmath=True, nogil=True)
def predict(w, rings, cursor, code, left, right, share, logits):  # type: ignore[no-untyped-def]
    """Send one code through all layers and write the logits of the next.

    Args:
        w: the weights.
        rings: (sum of ring lengths, R), changed in place.
        cursor: inputs since the start.
        code: the newest code.
        left, right: (L, 2G) condition frames around this sample; share: how far between, 0 to 1.
        logits: (P,), written.
    """
    layers, width, gates = w.conv.shape[0], w.embedding.shape[1], w.conv.shape[2]
    half, taps = gates // 2, w.conv.shape[1] // width
    one, two = np.float32(1), np.float32(2)
    x = w.embedding[code].copy()
    window = np.empty(taps * width, np.float32)
    g = np.empty(gates, np.float32)
    z = np.empty(half, np.float32)
    s = w.skip_bias.copy()
    for n in range(layers):
        begin, length = w.edges[n], w.edges[n + 1] - w.edges[n]
        for k in range(taps - 1):
            slot = begin + (cursor + k * w.dilations[n]) % length
            for i in range(width):
                window[k * width + i] = rings[slot, i]
        for i in range(width):
            window[(taps - 1) * width + i] = x[i]
        if length > 0:
            slot = begin + cursor % length
            for i in range(width):
                rings[slot, i] = x[i]
        for i in range(gates):
            g[i] = w.conv_bias[n, i] + left[n, i] + (right[n, i] - left[n, i]) * share
        _multiply(w.conv[n], window, g)
        for i in range(half):
            tanh = two / (one + np.exp(-two * g[i])) - one
            z[i] = tanh / (one + np.exp(-g[half + i]))
        for i in range(width):
            x[i] += w.residual_bias[n, i]
        _multiply(w.residual[n], z, x)
        _multiply(w.skip[n], z, s)
    h = w.hidden_bias.copy()
    for i in range(s.shape[0]):
        s[i] = max(s[i], np.float32(0))
    _multiply(w.hidden, s, h)
    for i in range(h.shape[0]):
        h[i] = max(h[i], np.float32(0))
    for i in range(logits.shape[0]):
        logits[i] = w.output_bias[i]
    _multiply(w.output, h, logits)


@njit(cache=True, nogil=True)
def draw(logits, uniform, temperature, top_k, top_p, greedy, p):  # type: ignore[no-untyped-def]
    """Draw a code by the rules of `wavenet.sampling`; p (P,) float64 is room to work in.

    top_k 0 and top_p 1 stand for off.
    """
    classes = logits.shape[0]
    best = 0
    for i in range(1, classes):
        if logits[i] > logits[best]:
            best = i
    if greedy:
        return best
    top = np.float64(logits[best]) / temperature
    for i in range(classes):
        p[i] = np.float64(logits[i]) / temperature
    least = -np.inf
    if 0 < top_k < classes:
        least = np.sort(p)[classes - top_k]
    total = 0.0
    for i in range(classes):
        p[i] = np.exp(p[i] - top) if p[i] >= least else 0.0
        total += p[i]
    if top_p < 1:
        total = _keep_likeliest(p, top_p * total)
    before, code = 0.0, best
    for i in range(classes):
        if p[i] > 0:
            code = i
            before += p[i]
            if before > uniform * total:
                break
    return code


@njit(cache=True, nogil=True)
def _keep_likeliest(p, mass):  # type: ignore[no-untyped-def]
    """Set to 0 all but the likeliest classes that reach the mass; return what is left."""
    kept = 0.0
    for i in np.argsort(-p, kind="mergesort"):
        if kept < mass:
            kept += p[i]
        else:
            p[i] = 0.0
    return kept


@njit(cache=True, nogil=True)
def run(  # type: ignore[no-untyped-def]
    w, rings, cursor, last, frames, lead, hop, noise, temperature, top_k, top_p, greedy, codes
):
    """Generate len(codes) samples of one stream.

    Args:
        w, rings, cursor: as in `predict`.
        last: the newest code.
        frames: (F, L, 2G) condition frames; lead: samples between the first frame and now;
            hop: samples between frames, 0 when one frame serves for ever.
        noise: (n,) uniforms.
        codes: (n,) int64, written.
    """
    logits = np.empty(w.output_bias.shape[0], np.float32)
    p = np.empty(logits.shape[0], np.float64)
    for t in range(codes.shape[0]):
        frame, share = 0, np.float32(0)
        if hop > 0:
            frame = (lead + t) // hop
            share = np.float32((lead + t) % hop) / np.float32(hop)
        right = frame + 1 if hop > 0 else frame
        predict(w, rings, cursor + t, last, frames[frame], frames[right], share, logits)
        last = draw(logits, noise[t], temperature, top_k, top_p, greedy, p)
        codes[t] = last
