"""The engines `gpu` and `graph`: WaveNet on a CUDA device.

`cached` starts about a hundred small kernels per sample, and starting them takes longer than their
work. This package has three faster methods:

    streams          method                                              file
    1 to 4           one cluster of thread blocks per stream             cluster_kernel.cu
    any number       one Triton program per tile of 16 to 64 streams     triton_kernels.py
    any number       a CUDA graph of the cached step, for any model      cuda_graph.py

The engine `gpu` chooses between the first two by the number of streams, at every run. Guidance,
mixtures, networks that do not fit into a cluster and devices before compute capability 9.0 always
use Triton. The engine `graph` is the third method. All three use the same kind of state as
`cached`.

The plan of one sample is the same in both kernels, for R residual, G gate, S skip channels:

    code t-1 -> embedding -> x
      each layer:  gate sums = layer bias + past taps + current tap(x) + condition bias
                   z = tanh(a) sigmoid(b);  ring <- x;  skip sums += skip(z);  x += residual(z)
    relu(skip sums) -> hidden layer, relu -> output layer -> params -> draw -> code t

Precomputed. The condition network is computed before the launch, once per frame; kernels
interpolate its biases. Widths are padded to powers of two with zeros, which do not change the
results.

Noise. Uniforms (clips, samples) are an argument of the launch. They are used only for the draw,
which is in float64 by the rules of `wavenet.sampling`. So one launch generates many samples without
Python in between.

The Triton kernel. A program advances a tile of streams from the first sample to the last, and does
not wait for other programs. With bf16 weights, products use the tensor cores; each activation is
split into two bfloat16 numbers, so that the result equals float32 arithmetic to the last few bits.
Weights are read from the L2 cache; a program reads each of them once for all its streams. Few
streams use small tiles, so that many multiprocessors work; many streams use large tiles, so that
weights are read less often. The skips of all layers are one product at the end, from the gate
outputs in the program's workspace. Wide layers are multiplied in chunks.

The cluster kernel. With one stream most of a GPU is idle, and latency is the limit. So the weights
of the chain, of the hidden layer and of the output layer stay on the chip, in the shared memory of
a cluster of 8 or 16 blocks, and blocks store messages directly into the shared memory of other
blocks. Threads have four roles:

    role       blocks              work
    GATE       of the chain        past sums + current tap, then tanh and sigmoid: z
    RESIDUAL   of the chain        x += residual(z), the input of the next layer
    TAP        the last blocks     past sums of their layers: bias + condition bias + past taps;
                                   their rings are in global memory
    HEAD       all                 its rows of the skip, hidden and output layers; block 0 draws

    message             from       to
    past sums           TAP        GATE of the same layer
    x of a layer        RESIDUAL   TAP of the same layer
    x of the next layer RESIDUAL   GATE of the next block, if the chain continues there
    z                   RESIDUAL   HEAD of all blocks
    skip, hidden        HEAD       HEAD of all blocks
    logits              HEAD       HEAD of block 0, which draws
    code                HEAD       GATE of block 0, which begins the next sample

If the chain needs all blocks, all of them compute past taps, too. GATE and RESIDUAL compute the
chain of layers of one block; the next block continues it. They synchronise at two barriers per
layer. All other data is sent in messages: the sample's number and a float in one 64-bit store. The
reader polls its shared memory until the number is the expected one. So while samples are generated
there is no barrier across blocks, and a late block delays only blocks that need its result. The
weights of skips and past taps are in the L2 cache, and the chain does not wait for them. A wait of
several seconds ends the launch with an error.

Limits of the speed, calculated for an H200 (benchmarks/README.md); no device was measured yet. One
stream of configuration A: 190 thousand samples/s with the chain in 1 to 3 multiprocessors and the
other work in the rest of their cluster. If one multiprocessor read all weights in 16 bits from L2,
it would be 73 thousand samples/s. Many streams of A: 110 to 180 million samples/s at 25 to 40 % of
the tensor cores' rate. A CUDA graph of plain torch: 12 to
18 million at 4,096 streams. `auto` compares an engine with `cached` on the device before it uses it
(`../verification.py`).

Files, in reading order:

    gpu_engine          the engine gpu: checks, frames, launches
    tile_weights        padded sizes, rounding, and the layout that Triton reads
    triton_kernels      the kernel for tiles of streams
    triton_sampling     the draw of that kernel
    cluster_kernel.py   plan, layout and launch of the kernel for few streams
    cluster_kernel.cu   that kernel, in CUDA C++
    cluster_device.cuh  primitives of that kernel: messages, barriers, shuffles; tests emulate them
    nvrtc               run-time compilation of CUDA C++ and cluster launches
    cuda_graph          the engine graph

`../kernel_inputs.py` contains what the engine cpu shares.
"""
