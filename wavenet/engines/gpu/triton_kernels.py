"""The Triton kernel of the GPU engine: a tile of streams through all layers and all samples.

Input: packed weights, rings, condition frames and noise. Output: codes, or the params of one
sample. Called by `gpu_engine`. One program advances TILE streams from the first sample to the last
and does not wait for other programs. Activations stay on the chip, except those that the next
product reads in chunks: these are stored in `workspace`, a small buffer of the program in global
memory. Barriers are needed, because threads of a program read rings, workspace and codes that other
threads of the program wrote. Rows after the last stream repeat it; their results are not stored.

Widths R, G, S and P are padded to powers of two; `tile_weights` packs weights and biases.
"""

import triton
import triton.language as tl
from triton.runtime.errors import OutOfResources

from wavenet.engines.gpu.triton_sampling import draw_codes

__all__ = ["INTERPRETED", "OutOfResources", "generate_tile"]

# The interpreter, used without a GPU, multiplies the bits of 16-bit floats as integers. There,
# these floats are converted to float32 first, which changes no product.
INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def round_to_bfloat16(x):  # type: ignore[no-untyped-def]
    """Round float32 to the values of bfloat16."""
    bits = x.to(tl.int32, bitcast=True)
    return ((bits + 0x8000) & -0x10000).to(tl.float32, bitcast=True)


@triton.jit
def add_product(total, x, place, BF16: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return total (TILE, N) + x (TILE, K) @ weights in float32.

    With bfloat16 weights, x is split into two bfloat16 numbers, a high and a low part.

    Args:
        place: pointer to the weights (K, N).
    """
    rows, columns = tl.arange(0, x.shape[1]), tl.arange(0, total.shape[1])
    weights = tl.load(place + rows[:, None] * total.shape[1] + columns[None, :])
    if not BF16:
        total = tl.dot(x, weights, total, input_precision="ieee")
    elif INTERPRETED:
        high = round_to_bfloat16(x)
        low = round_to_bfloat16(x - high)
        weights = weights.to(tl.float32)
        total = tl.dot(low, weights, tl.dot(high, weights, total))
    else:
        high = x.to(tl.bfloat16)
        low = (x - high.to(tl.float32)).to(tl.bfloat16)
        total = tl.dot(low, weights, tl.dot(high, weights, total))
    return total


@triton.jit
def add_product_in_chunks(  # type: ignore[no-untyped-def]
    total,
    source,
    place,
    INPUTS: tl.constexpr,
    CHUNK_SIZE: tl.constexpr,
    STAGES: tl.constexpr,
    BF16: tl.constexpr,
):
    """Compute `add_product` for x in memory; source: (TILE,) pointers to INPUTS numbers each."""
    for begin in tl.range(0, INPUTS, CHUNK_SIZE, num_stages=STAGES):
        x = tl.load(source[:, None] + (begin + tl.arange(0, CHUNK_SIZE))[None, :])
        total = add_product(total, x, place + begin * total.shape[1], BF16)
    return total


@triton.jit
def broadcast_bias(bias, TILE: tl.constexpr, N: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the bias (N,) for all rows: (TILE, N)."""
    return tl.zeros((TILE, N), tl.float32) + tl.load(bias + tl.arange(0, N))[None, :]


@triton.jit
def embed_codes(  # type: ignore[no-untyped-def]
    codes, embedding, R: tl.constexpr, BITS: tl.constexpr, SCALAR: tl.constexpr
):
    """Return the input of the first layer for codes (TILE,): (TILE, R)."""
    channels = tl.arange(0, R)[None, :]
    if SCALAR:
        values = codes.to(tl.float32) * (2 / ((1 << BITS) - 1)) - 1
        x = values[:, None] * tl.load(embedding + channels) + tl.load(embedding + R + channels)
    else:
        x = tl.load(embedding + codes[:, None] * R + channels)
    return x


@triton.jit
def add_condition_bias(  # type: ignore[no-untyped-def]
    a, b, frames, frame_offsets, t, hop_length, layer, LAYERS: tl.constexpr, G: tl.constexpr
):
    """Add the biases of the conditions, interpolated between two frames, to a and b of the gate.

    Args:
        frames: (TILE,) pointers to the first frame of each stream, (frames, LAYERS, 2, G).
        frame_offsets: (TILE,) int64, samples from that frame to sample 0.
    """
    offsets = frame_offsets + t
    fraction = ((offsets % hop_length).to(tl.float32) / hop_length)[:, None]
    early = frames + (offsets // hop_length * LAYERS + layer) * 2 * G
    left = early[:, None] + tl.arange(0, G)[None, :]
    right = left + LAYERS * 2 * G
    early_a, early_b = tl.load(left), tl.load(left + G)
    a += early_a + fraction * (tl.load(right) - early_a)
    b += early_b + fraction * (tl.load(right + G) - early_b)
    return a, b


# fmt: off
@triton.jit
def run_layer(  # type: ignore[no-untyped-def]
    x, layer, t, rings, valid, layout, frames, frame_offsets, hop_length, weights, biases,
    workspace,
    LAYERS: tl.constexpr, KERNEL_SIZE: tl.constexpr, R: tl.constexpr, G: tl.constexpr,
    TILE: tl.constexpr, SPLITS_LAYERS: tl.constexpr, CHUNK_SIZE: tl.constexpr, BF16: tl.constexpr,
    HAS_CONDITIONS: tl.constexpr,
):
    """Return the output of one layer for x (TILE, R); write x to its ring, z to the workspace.

    Args:
        rings: (TILE,) pointers to each stream's rings; valid: (TILE,), False for repeated rows.
        layout: (3, LAYERS): begin of the layer's ring, dilation, oldest slot at t = 0.
        workspace: (TILE,) pointers to a buffer for R numbers and for (LAYERS, G).
        SPLITS_LAYERS: products read their inputs from memory, in chunks.
    """
    rows, columns = tl.arange(0, R)[None, :], tl.arange(0, G)[None, :]
    biases += layer * (2 * G + R)
    weights += layer * (KERNEL_SIZE * 2 + 1) * R * G
    a, b = broadcast_bias(biases, TILE, G), broadcast_bias(biases + G, TILE, G)
    if HAS_CONDITIONS:
        a, b = add_condition_bias(a, b, frames, frame_offsets, t, hop_length, layer, LAYERS, G)
    if SPLITS_LAYERS:
        tl.store(workspace[:, None] + rows, x)
    if KERNEL_SIZE > 1:
        edge, dilation = tl.load(layout + layer), tl.load(layout + LAYERS + layer)
        oldest = tl.load(layout + 2 * LAYERS + layer) + t
        length = (KERNEL_SIZE - 1) * dilation
        for k in tl.range(0, KERNEL_SIZE - 1, num_stages=1):
            tap = rings + (edge + (oldest + k * dilation) % length) * R
            of_a = weights + k * 2 * R * G
            if SPLITS_LAYERS:
                a = add_product_in_chunks(a, tap, of_a, R, CHUNK_SIZE, 1, BF16)
                b = add_product_in_chunks(b, tap, of_a + R * G, R, CHUNK_SIZE, 1, BF16)
            else:
                past = tl.load(tap[:, None] + rows)
                a = add_product(a, past, of_a, BF16)
                b = add_product(b, past, of_a + R * G, BF16)
        tl.debug_barrier()  # before the oldest tap is overwritten
        slot = edge + oldest % length
        tl.store((rings + slot * R)[:, None] + rows, x, mask=valid[:, None])
    elif SPLITS_LAYERS:
        tl.debug_barrier()
    of_a = weights + (KERNEL_SIZE - 1) * 2 * R * G
    if SPLITS_LAYERS:
        a = add_product_in_chunks(a, workspace, of_a, R, CHUNK_SIZE, 1, BF16)
        b = add_product_in_chunks(b, workspace, of_a + R * G, R, CHUNK_SIZE, 1, BF16)
    else:
        a = add_product(a, x, of_a, BF16)
        b = add_product(b, x, of_a + R * G, BF16)
    z = (2 * tl.sigmoid(2 * a) - 1) * tl.sigmoid(b)  # tanh(a) sigmoid(b)
    gated = workspace + R + layer * G
    tl.store(gated[:, None] + columns, z)
    x += broadcast_bias(biases + 2 * G, TILE, R)
    if SPLITS_LAYERS:
        tl.debug_barrier()
        x = add_product_in_chunks(x, gated, of_a + 2 * R * G, G, CHUNK_SIZE, 1, BF16)
    else:
        x = add_product(x, z, of_a + 2 * R * G, BF16)
    return x
# fmt: on


@triton.jit
def run_output_layers(  # type: ignore[no-untyped-def]
    gated,
    params,
    weights,
    biases,
    LG: tl.constexpr,
    S: tl.constexpr,
    P: tl.constexpr,
    CHUNK_SIZE: tl.constexpr,
    STAGES: tl.constexpr,
    TILE: tl.constexpr,
    BF16: tl.constexpr,
):
    """Compute params from the gate outputs of all layers.

    Args:
        gated: (TILE,) pointers to the LG outputs; two buffers (S,) for sums follow them.
        params: (TILE,) pointers to P numbers, written.
    """
    columns = tl.arange(0, S)[None, :]
    tl.debug_barrier()
    skip = broadcast_bias(biases, TILE, S)
    skip = add_product_in_chunks(skip, gated, weights, LG, CHUNK_SIZE, STAGES, BF16)
    tl.store((gated + LG)[:, None] + columns, tl.maximum(skip, 0, tl.PropagateNan.ALL))
    tl.debug_barrier()
    weights += LG * S
    hidden = broadcast_bias(biases + S, TILE, S)
    hidden = add_product_in_chunks(hidden, gated + LG, weights, S, CHUNK_SIZE, STAGES, BF16)
    tl.store((gated + LG + S)[:, None] + columns, tl.maximum(hidden, 0, tl.PropagateNan.ALL))
    tl.debug_barrier()
    weights += S * S
    out = broadcast_bias(biases + 2 * S, TILE, P)
    out = add_product_in_chunks(out, gated + LG + S, weights, S, CHUNK_SIZE, STAGES, BF16)
    tl.store(params[:, None] + tl.arange(0, P)[None, :], out)
    tl.debug_barrier()


# fmt: off
@triton.jit(do_not_specialize=[
    "streams", "slots", "samples", "frame_count", "hop_length", "top_k"
])
def generate_tile(  # type: ignore[no-untyped-def]
    rings, last, noise, codes, frames, frame_offsets, workspace, params,
    weights, embedding, biases, layout, rules,
    streams, slots, samples, frame_count, hop_length, top_k,
    LAYERS: tl.constexpr, KERNEL_SIZE: tl.constexpr, BITS: tl.constexpr, SCALAR: tl.constexpr,
    R: tl.constexpr, G: tl.constexpr, S: tl.constexpr, P: tl.constexpr,
    FAMILY: tl.constexpr, COMPONENTS: tl.constexpr, M: tl.constexpr,
    HAS_CONDITIONS: tl.constexpr, DRAW: tl.constexpr, GREEDY: tl.constexpr,
    TOP_K: tl.constexpr, TOP_P: tl.constexpr, GUIDED: tl.constexpr,
    BF16: tl.constexpr, TILE: tl.constexpr, DRAW_TILE: tl.constexpr,
    SPLITS_LAYERS: tl.constexpr, CHUNK_SIZE: tl.constexpr, STAGES: tl.constexpr,
):
    """Advance streams by some samples; grid: one program per TILE streams.

    Args:
        rings: (streams, slots, R); last: (streams,) int64; both changed in place.
        noise: (clips, samples); codes: (clips, samples) int64, written; a clip is one stream, or
            two if GUIDED.
        frames: (streams, frame_count, LAYERS, 2, G); frame_offsets: (streams,) int64; both read if
            HAS_CONDITIONS.
        workspace: (whole tiles, R + LAYERS * G + 2 * S), a buffer.
        params: (whole tiles, P), written.
        DRAW: draw codes; otherwise only `params` is computed, and samples is 1.
        DRAW_TILE: clips for which codes are drawn at once.
    """
    first = tl.program_id(0) * TILE
    stream = first + tl.arange(0, TILE)
    valid = stream < streams
    stream = tl.minimum(stream, streams - 1).to(tl.int64)
    frame_offset = tl.load(frame_offsets + stream)
    own = (first + tl.arange(0, TILE)).to(tl.int64)
    workspace, out = workspace + own * (R + LAYERS * G + 2 * S), params + own * P
    rings += stream * slots * R
    frames += stream * frame_count * (LAYERS * 2 * G)
    output_weights = weights + LAYERS * (KERNEL_SIZE * 2 + 1) * R * G
    output_biases = biases + LAYERS * (2 * G + R)
    ROWS: tl.constexpr = 2 if GUIDED else 1  # per clip
    for t in range(samples):
        x = embed_codes(tl.load(last + stream), embedding, R, BITS, SCALAR)
        for layer in tl.range(0, LAYERS, num_stages=1):
            x = run_layer(
                x, layer, t, rings, valid, layout, frames, frame_offset, hop_length, weights,
                biases, workspace,
                LAYERS, KERNEL_SIZE, R, G, TILE, SPLITS_LAYERS, CHUNK_SIZE, BF16, HAS_CONDITIONS,
            )
        run_output_layers(
            workspace + R, out, output_weights, output_biases,
            LAYERS * G, S, P, CHUNK_SIZE, STAGES, TILE, BF16,
        )
        if DRAW:
            for begin in range(0, TILE // ROWS, DRAW_TILE):
                clip = first // ROWS + begin + tl.arange(0, DRAW_TILE)
                valid_clip = clip < streams // ROWS
                clip = tl.minimum(clip, streams // ROWS - 1).to(tl.int64)
                code = draw_codes(
                    params + clip * ROWS * P, tl.load(noise + clip * samples + t), rules, top_k,
                    BITS, P, FAMILY, COMPONENTS, M, GREEDY, TOP_K, TOP_P, GUIDED,
                ).to(tl.int64)
                tl.store(codes + clip * samples + t, code, mask=valid_clip)
                tl.store(last + clip * ROWS, code, mask=valid_clip)
                if GUIDED:
                    tl.store(last + clip * ROWS + 1, code, mask=valid_clip)
            tl.debug_barrier()
# fmt: on
