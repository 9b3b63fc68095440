"""The engines `gpu` and `graph`: WaveNet on a CUDA device.

`cached` starts about a hundred small kernels per sample, and starting them takes longer than their
work. Three ways around this are here:

    streams          how                                                 file
    1 to 4           one cluster of thread blocks per stream             cluster_kernel.cu
    any number       one Triton program per tile of 16 to 64 streams     triton_kernels.py
    any number       a CUDA graph of the cached step, for any model      cuda_graph.py

The engine `gpu` chooses between the first two by the number of streams, at every run. Guidance,
mixtures, networks that do not fit into a cluster and devices before compute capability 9.0 always
use Triton. The engine `graph` is the third. All three work on the same kind of state as `cached`.

The plan of one sample is the same in both kernels, for R residual, G gate, S skip channels:

    code t-1 -> embedding -> x
      each layer:  gate sums = bias + past taps + current tap(x) + condition bias
                   z = tanh(a) sigmoid(b);  ring <- x;  skip sums += skip(z);  x += residual(z)
    relu(skip sums) -> hidden layer, relu -> output layer -> params -> draw -> code t

Precomputed. The condition network runs before the launch, once per frame; kernels interpolate its
biases. Widths are padded to powers of two with zeros, which change nothing.

Noise. Uniforms (clips, samples) are an argument of the launch and enter only at the draw, which is
in float64 by the rules of `wavenet.sampling`. So a launch generates many samples and never returns
to Python in between.

The Triton kernel. A program advances its tile of streams from the first sample to the last, and no
program waits for another. With bf16 weights, products use the tensor cores; each activation is
split into two bfloat16 numbers, so that arithmetic stays float32 to the last few bits. Weights
come from the L2 cache; a program reads each of them once for all its streams. Few streams use
small tiles, so that many multiprocessors work; many streams use large tiles, so that weights are
read less often. The skips of all layers are one product at the end, from the gate outputs in the
program's workspace. Wide layers are multiplied in chunks.

The cluster kernel. One stream cannot fill a GPU: latency is the limit. So the weights stay on the
chip, in the shared memory of a cluster of 8 or 16 blocks, and blocks store messages directly into
each other's shared memory. Every block has threads of four roles:

    the last blocks                            the blocks of the chain
    TAP: bias, condition, past taps            GATE: + current tap, then tanh and sigmoid
         of their layers; rings in     sums
         global memory               ------->     | z        ^ x
           ^                                      v          |
           |                           x       RESIDUAL: x += residual(z), for the next layer
           +-----------------------------------   |
                                                  | z
    all blocks                                    v
    HEAD: their rows of the skip, hidden and output layers. Block 0 draws the code, with which
          its GATE begins the next sample.

If the chain needs all blocks, all of them compute past taps too. GATE and RESIDUAL run the chain
through the layers of a block, then continue in the next block. They meet at two barriers per
layer. Everything else is a message: the sample's number and a float in one 64-bit store. Its
reader polls its own memory until the number is the expected one. So while samples are generated
there is no barrier across blocks, and a late block delays only those that need its result. Skips
and past taps have their weights in the L2 cache, and nothing in the chain waits for those. A wait
that takes seconds ends the launch with an error.

What bounds the speed, on paper for an H200 (benchmarks/README.md), since no device was measured
yet. One stream of configuration A: 190 thousand samples/s with the chain in 1 to 3 multiprocessors
and the rest in their cluster; 73 if one multiprocessor reads 16-bit weights from L2. Many streams
of A: 110 to 180 million samples/s at 25 to 40 % of the tensor cores' rate. A CUDA graph of plain
torch: 12 to 18 million at 4,096 streams. `auto` compares an engine with `cached` on the device
before it uses it (`../verification.py`).

Files, in reading order:

    gpu_engine          the engine gpu: checks, frames, launches
    tile_weights        padded sizes, rounding, and the layout that Triton reads
    triton_kernels      the kernel for tiles of streams
    triton_sampling     its draw
    cluster_kernel.py   plan, layout and launch of the kernel for few streams
    cluster_kernel.cu   that kernel, in CUDA C++
    cluster_device.cuh  its primitives: messages, barriers, shuffles; tests emulate them
    nvrtc               run-time compilation of CUDA C++ and cluster launches
    cuda_graph          the engine graph

`../kernel_inputs.py` has what the CPU engine reads in the same form.
"""
