"""The kernel of the GPU engine: a tile of streams through the whole network, sample after sample.

Packed weights, rings, condition frames and noise enter; codes leave, or the params of one sample.
One program advances BM streams from the first sample to the last and never waits for another. Its
activations stay on the chip, but for what the next product reads in pieces: that passes through
`room`, a little memory of its own. Rings, rooms and codes are written by some threads of a program
and read by others, hence the barriers; of the rows behind the last stream, which repeat it, nothing
is kept.

Widths R, G, S and P are padded to powers of two, weights and biases packed by `tile_weights`.
"""

import triton
import triton.language as tl
from triton.runtime.errors import OutOfResources

from wavenet.engines.gpu.triton_sampling import draw

__all__ = ["INTERPRETED", "OutOfResources", "advance"]

# The interpreter, which stands in for the compiler where there is no GPU, multiplies the bits of
# 16-bit floats; there they are widened first, which changes no product.
INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def nearest_in_16_bits(x):  # type: ignore[no-untyped-def]
    """Round float32 to what a bfloat16 holds."""
    bits = x.to(tl.int32, bitcast=True)
    return ((bits + 0x8000) & -0x10000).to(tl.float32, bitcast=True)


@triton.jit
def add_product(total, x, place, HALF: tl.constexpr):  # type: ignore[no-untyped-def]
    """Give total (BM, N) + x (BM, K) @ weights in float32; x in two bfloat16 where weights are.

    Args:
        place: pointer to the weights (K, N).
    """
    rows, columns = tl.arange(0, x.shape[1]), tl.arange(0, total.shape[1])
    weights = tl.load(place + rows[:, None] * total.shape[1] + columns[None, :])
    if not HALF:
        total = tl.dot(x, weights, total, input_precision="ieee")
    elif INTERPRETED:
        high = nearest_in_16_bits(x)
        low = nearest_in_16_bits(x - high)
        weights = weights.to(tl.float32)
        total = tl.dot(low, weights, tl.dot(high, weights, total))
    else:
        high = x.to(tl.bfloat16)
        low = (x - high.to(tl.float32)).to(tl.bfloat16)
        total = tl.dot(low, weights, tl.dot(high, weights, total))
    return total


@triton.jit
def add_from_memory(  # type: ignore[no-untyped-def]
    total,
    source,
    place,
    INPUTS: tl.constexpr,
    CHUNK: tl.constexpr,
    STAGES: tl.constexpr,
    HALF: tl.constexpr,
):
    """Add a product as above, of what lies at source: (BM,) pointers to INPUTS numbers."""
    for begin in tl.range(0, INPUTS, CHUNK, num_stages=STAGES):
        x = tl.load(source[:, None] + (begin + tl.arange(0, CHUNK))[None, :])
        total = add_product(total, x, place + begin * total.shape[1], HALF)
    return total


@triton.jit
def spread(bias, BM: tl.constexpr, N: tl.constexpr):  # type: ignore[no-untyped-def]
    """Give what lies at bias (N,) as (BM, N)."""
    return tl.zeros((BM, N), tl.float32) + tl.load(bias + tl.arange(0, N))[None, :]


@triton.jit
def enter(  # type: ignore[no-untyped-def]
    codes, embedding, R: tl.constexpr, BITS: tl.constexpr, SCALAR: tl.constexpr
):
    """Turn codes (BM,) into what enters the first layer, (BM, R)."""
    channels = tl.arange(0, R)[None, :]
    if SCALAR:
        values = codes.to(tl.float32) * (2 / ((1 << BITS) - 1)) - 1
        x = values[:, None] * tl.load(embedding + channels) + tl.load(embedding + R + channels)
    else:
        x = tl.load(embedding + codes[:, None] * R + channels)
    return x


@triton.jit
def condition(  # type: ignore[no-untyped-def]
    a, b, frames, leads, t, hop, layer, LAYERS: tl.constexpr, G: tl.constexpr
):
    """Add the biases between two frames to both halves of the gate.

    Args:
        frames: (BM,) pointers to the first frame of each stream, (frames, LAYERS, 2, G).
        leads: (BM,) int64, samples between that frame and sample 0.
    """
    offsets = leads + t
    share = ((offsets % hop).to(tl.float32) / hop)[:, None]
    early = frames + (offsets // hop * LAYERS + layer) * 2 * G
    left = early[:, None] + tl.arange(0, G)[None, :]
    right = left + LAYERS * 2 * G
    early_a, early_b = tl.load(left), tl.load(left + G)
    a += early_a + share * (tl.load(right) - early_a)
    b += early_b + share * (tl.load(right + G) - early_b)
    return a, b


# fmt: off
@triton.jit
def advance_layer(  # type: ignore[no-untyped-def]
    x, layer, t, rings, real, layout, frames, leads, hop, weights, biases, room,
    LAYERS: tl.constexpr, TAPS: tl.constexpr, R: tl.constexpr, G: tl.constexpr,
    BM: tl.constexpr, WIDE: tl.constexpr, CHUNK: tl.constexpr, HALF: tl.constexpr,
    CONDITIONED: tl.constexpr,
):
    """Send x (BM, R) through one layer; its ring takes x, the room what the skips will read.

    Args:
        rings: (BM,) pointers to each stream's rings; real: (BM,), rows that stand for a stream.
        layout: (3, LAYERS): where the layer's ring begins, its dilation, its oldest slot at t = 0.
        room: (BM,) pointers to room for R numbers and for (LAYERS, G).
        WIDE: whether products read what they multiply from memory, in pieces.
    """
    rows, columns = tl.arange(0, R)[None, :], tl.arange(0, G)[None, :]
    biases += layer * (2 * G + R)
    weights += layer * (TAPS * 2 + 1) * R * G
    a, b = spread(biases, BM, G), spread(biases + G, BM, G)
    if CONDITIONED:
        a, b = condition(a, b, frames, leads, t, hop, layer, LAYERS, G)
    if WIDE:
        tl.store(room[:, None] + rows, x)
    if TAPS > 1:
        edge, dilation = tl.load(layout + layer), tl.load(layout + LAYERS + layer)
        oldest = tl.load(layout + 2 * LAYERS + layer) + t
        length = (TAPS - 1) * dilation
        for k in tl.range(0, TAPS - 1, num_stages=1):
            tap = rings + (edge + (oldest + k * dilation) % length) * R
            of_a = weights + k * 2 * R * G
            if WIDE:
                a = add_from_memory(a, tap, of_a, R, CHUNK, 1, HALF)
                b = add_from_memory(b, tap, of_a + R * G, R, CHUNK, 1, HALF)
            else:
                past = tl.load(tap[:, None] + rows)
                a = add_product(a, past, of_a, HALF)
                b = add_product(b, past, of_a + R * G, HALF)
        tl.debug_barrier()  # before the oldest tap is replaced
        slot = edge + oldest % length
        tl.store((rings + slot * R)[:, None] + rows, x, mask=real[:, None])
    elif WIDE:
        tl.debug_barrier()
    of_a = weights + (TAPS - 1) * 2 * R * G
    if WIDE:
        a = add_from_memory(a, room, of_a, R, CHUNK, 1, HALF)
        b = add_from_memory(b, room, of_a + R * G, R, CHUNK, 1, HALF)
    else:
        a = add_product(a, x, of_a, HALF)
        b = add_product(b, x, of_a + R * G, HALF)
    z = (2 * tl.sigmoid(2 * a) - 1) * tl.sigmoid(b)  # the tanh of a
    gated = room + R + layer * G
    tl.store(gated[:, None] + columns, z)
    x += spread(biases + 2 * G, BM, R)
    if WIDE:
        tl.debug_barrier()
        x = add_from_memory(x, gated, of_a + 2 * R * G, G, CHUNK, 1, HALF)
    else:
        x = add_product(x, z, of_a + 2 * R * G, HALF)
    return x
# fmt: on


@triton.jit
def post_net(  # type: ignore[no-untyped-def]
    gated,
    params,
    weights,
    biases,
    LG: tl.constexpr,
    S: tl.constexpr,
    P: tl.constexpr,
    CHUNK: tl.constexpr,
    STAGES: tl.constexpr,
    BM: tl.constexpr,
    HALF: tl.constexpr,
):
    """Turn all gated outputs into params: (BM,) pointers to LG numbers, and to room for P.

    Behind the LG numbers there is room for two sums (S,).
    """
    wide = tl.arange(0, S)[None, :]
    tl.debug_barrier()
    skip = spread(biases, BM, S)
    skip = add_from_memory(skip, gated, weights, LG, CHUNK, STAGES, HALF)
    tl.store((gated + LG)[:, None] + wide, tl.maximum(skip, 0, tl.PropagateNan.ALL))
    tl.debug_barrier()
    weights += LG * S
    hidden = spread(biases + S, BM, S)
    hidden = add_from_memory(hidden, gated + LG, weights, S, CHUNK, STAGES, HALF)
    tl.store((gated + LG + S)[:, None] + wide, tl.maximum(hidden, 0, tl.PropagateNan.ALL))
    tl.debug_barrier()
    weights += S * S
    out = spread(biases + 2 * S, BM, P)
    out = add_from_memory(out, gated + LG + S, weights, S, CHUNK, STAGES, HALF)
    tl.store(params[:, None] + tl.arange(0, P)[None, :], out)
    tl.debug_barrier()


# fmt: off
@triton.jit(do_not_specialize=["streams", "slots", "n", "count", "hop", "top_k"])
def advance(  # type: ignore[no-untyped-def]
    rings, last, noise, codes, frames, leads, room, params,
    weights, embedding, biases, layout, rules,
    streams, slots, n, count, hop, top_k,
    LAYERS: tl.constexpr, TAPS: tl.constexpr, BITS: tl.constexpr, SCALAR: tl.constexpr,
    R: tl.constexpr, G: tl.constexpr, S: tl.constexpr, P: tl.constexpr,
    FAMILY: tl.constexpr, COMPONENTS: tl.constexpr, M: tl.constexpr,
    CONDITIONED: tl.constexpr, DRAWN: tl.constexpr, GREEDY: tl.constexpr,
    TOP_K: tl.constexpr, TOP_P: tl.constexpr, GUIDED: tl.constexpr,
    HALF: tl.constexpr, BM: tl.constexpr, D: tl.constexpr,
    WIDE: tl.constexpr, CHUNK: tl.constexpr, STAGES: tl.constexpr,
):
    """Advance streams by n samples; grid: one program for every BM of them.

    Args:
        rings: (streams, slots, R); last: (streams,) int64; both changed in place.
        noise: (clips, n); codes: (clips, n) int64, written; a clip is a stream, or two if GUIDED.
        frames: (streams, count, LAYERS, 2, G); leads: (streams,) int64; read if CONDITIONED.
        room: (whole tiles, R + LAYERS * G + 2 * S), params: (whole tiles, P), both to work in.
        DRAWN: draw and go on; without, `params` is what is wanted, and n is 1.
        D: rows that are drawn at once.
    """
    first = tl.program_id(0) * BM
    stream = first + tl.arange(0, BM)
    real = stream < streams
    stream = tl.minimum(stream, streams - 1).to(tl.int64)
    lead = tl.load(leads + stream)
    own = (first + tl.arange(0, BM)).to(tl.int64)
    room, out = room + own * (R + LAYERS * G + 2 * S), params + own * P
    rings += stream * slots * R
    frames += stream * count * (LAYERS * 2 * G)
    post, post_biases = weights + LAYERS * (TAPS * 2 + 1) * R * G, biases + LAYERS * (2 * G + R)
    EACH: tl.constexpr = 2 if GUIDED else 1
    for t in range(n):
        x = enter(tl.load(last + stream), embedding, R, BITS, SCALAR)
        for layer in tl.range(0, LAYERS, num_stages=1):
            x = advance_layer(
                x, layer, t, rings, real, layout, frames, lead, hop, weights, biases, room,
                LAYERS, TAPS, R, G, BM, WIDE, CHUNK, HALF, CONDITIONED,
            )
        post_net(room + R, out, post, post_biases, LAYERS * G, S, P, CHUNK, STAGES, BM, HALF)
        if DRAWN:
            for begin in range(0, BM // EACH, D):
                clip = first // EACH + begin + tl.arange(0, D)
                there = clip < streams // EACH
                clip = tl.minimum(clip, streams // EACH - 1).to(tl.int64)
                code = draw(
                    params + clip * EACH * P, tl.load(noise + clip * n + t), rules, top_k,
                    BITS, P, FAMILY, COMPONENTS, M, GREEDY, TOP_K, TOP_P, GUIDED,
                ).to(tl.int64)
                tl.store(codes + clip * n + t, code, mask=there)
                tl.store(last + clip * EACH, code, mask=there)
                if GUIDED:
                    tl.store(last + clip * EACH + 1, code, mask=there)
            tl.debug_barrier()
# fmt: on
