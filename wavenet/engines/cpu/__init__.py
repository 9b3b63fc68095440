"""The engine `cpu`: WaveNet on one core or two, compiled by numba.

It has the protocol and the results of the engine `cached`. `cached` computes each sample by many
small torch operations; for one stream it reaches 1 to 7 % of the speed that the machine allows.
Here one compiled function generates all samples.

The plan of one sample, for R residual, G gate and S skip channels:

    code t-1 -> embedding -> x                                 x: (B, R), the input of a layer
      each layer:
        gate sums = layer bias + past taps  of inputs that are in the rings already
                  + current tap(x)          the chain: each layer needs the layer before
                  + condition bias          interpolated between two frames
        z         = tanh(a) sigmoid(b)      a, b: the two halves of the gate sums
        ring      <- x                      for the past taps of later samples
        skip sums += skip(z)                may be late: needed only after the last layer
        x         += residual(z)            the chain
    relu(skip sums) -> hidden layer, relu -> output layer -> params -> draw -> code t

Precomputed. The condition network is computed before the loop, once per frame, and its biases are
reordered like the gate panels. The inputs of past taps are known long before the taps are needed.
For one stream the taps are accumulated for up to 8 samples at once (fewer for 2 to 4 streams), as
far as the dilation of the layer permits, so that each weight is read once for several samples. With
more streams the rows of the batch already share each weight.

Weights. A matrix is cut into panels of 32 outputs. A panel product sums 32 outputs in registers and
reads the panel sequentially, in the order in which it is stored. A gate panel contains 16 channels
of tanh, then the same 16 of sigmoid, so a gate needs only one panel. In bf16 a 32-bit word contains
the weights of two inputs. Embedding, biases and condition network stay in float32.
`CpuEngine.model` is the model with the rounded weights; use it to compute scores.

Two threads (`threads`). With few streams, both threads compute a part of every sample:

    thread 0, the leader           thread 1, the follower
      embed the code
      layer 0 ------- z_0 --------> skip(z_0), past taps of layer 0 for later samples
      layer 1 ------- z_1 --------> skip(z_1), past taps of layer 1 for later samples
      ...                           ...
      ReLU of its skip sums <-----> ReLU of its skip sums                 sync point
      half of the hidden layer <--> half of the hidden layer              sync point
      half of the output layer <--> half of the output layer              sync point
      draw, embed the next code     past taps of the last layers

The chain of layers is not divided. If the follower has more work, the leader computes some of the
skip panels, then some of the past taps; `make_partition` estimates the work. The follower waits in
each layer. The leader waits at the three sync points and once more, before the first layer whose
past taps are computed late. A wait spins, then sleeps. If both threads sleep often,
another program needs the cores: both stop after the same sample, and the engine continues on one
thread for a while. With many streams, each thread processes one half of the streams; an odd stream
is processed by the first thread in the first half of the samples and by the second thread
afterwards. Every sum is computed by one thread, in an order that depends on neither threads nor
batch, so the codes are the same in every case. `ThreadCountTuner` measures whether two threads are
faster, since that depends on the network and on other programs.

Weights in int8 (`int8_loop`). A weight is an integer of 8 bits times the scale of its output, the
output layer has 16 bits. The inputs of a product are rounded to 16 bits, with one step per row.
Sums of products are exact in 32 bits, so they have no order. The floating point operations between
them (scales, biases, gates by powers of two, the draw) are written one by one, in one order, with
explicit fused multiply-adds. Biases of conditions are computed in float64 and rounded to multiples
of 2^-14. Therefore one thread and two, any batch and any instruction set give the same codes;
prompts and frames computed from audio come from other libraries and are not covered. The second
thread computes all skips, the output layers and the draw: the two threads meet once per group of
layers, when its gate outputs are complete, and once per code. If past taps are much work, it also
computes those of the last layers. With guidance, each thread computes one row of the clip.
docs/development/cpu-engine.md has the rounding rules, the rule for floating point, and the time of
each part.

Noise. Uniforms are an argument of the loop, one per clip and sample. They are used only for the
draw, which thread 0 computes by the inverse CDF.

Limits of the speed. One stream reads every weight once per sample, so reading is the limit:
configuration A in float32 on one thread reaches 89 to 92 % of the bandwidth of the cache, 24
thousand samples/s. With weights in bf16 half as many bytes are read, and arithmetic is the limit:
39 to 40 thousand, and 65 thousand with two threads. With 64 streams each weight is read once for
all streams, and multiplication is the limit: 91 to 96 % of the speed of torch's matrix product on
one thread, 53 to 56 thousand samples/s in total. (benchmarks/README.md; two cores of Zen 4.)

Files, in reading order:

    cpu_engine      the engine: checks, memory, distribution of streams and samples to threads
    sample_loop     the compiled loop: one function per step of the plan above
    threads         two threads: partition, sync points, cores, choice of one or two
    packed_weights  layout and rounding of the weights
    workspace       buffers of the loop
    numba_sampling  the draw: guidance, temperature, top-k, top-p, greedy, mixtures
    llvm_kernels    the innermost operations as LLVM vector code: panel products, gate, exp
    llvm_vectors    helpers that write such code
    int8_loop       the compiled loop with int8 weights
    int8_kernels    its innermost operations: exact products, rounding, gate
    int8_weights    rounding and layout of the weights
    int8_memory     rings of rounded inputs
    jit             compilation and the cache of machine code

`../kernel_inputs.py` contains what the engine gpu shares.
"""
