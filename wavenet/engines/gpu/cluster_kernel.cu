// One stream through the whole network on a cluster of thread blocks, sample after sample.
//
// Input: weights, rings, condition frames and noise. Output: codes, or the params of one sample.
// cluster_kernel.py compiles this file for one network, after cluster_device.cuh, which contains
// all code for a device. Sizes are macros: LAYERS, KERNEL_SIZE; the padded widths R, G (each half
// of the gate), S, P; CLASSES; BLOCKS per cluster; LAYERS_PER_BLOCK; BF16, the type of the weights
// (arithmetic is always float32); HAS_CONDITIONS; and the threads of the four roles in each block:
//   GATE_THREADS      the chain: current tap of a layer, then tanh and sigmoid
//   RESIDUAL_THREADS  the chain: the residual product; then sends results to the other roles
//   HEAD_THREADS      skip sums while the chain runs; after it hidden layer, output layer, draw
//   TAP_THREADS       ahead of the chain: bias, condition and past taps of this block's layers
// The chain has LAYERS_PER_BLOCK layers in a block and continues in the next block. Its weights are
// in shared memory, as are those of the hidden and the output layer, whose rows are distributed to
// all blocks. The weights of past taps and skips are read from the L2 cache, ahead of time, so the
// chain does not wait for them.
//
// Synchronisation. The two roles of the chain synchronise at named barriers, twice per layer. All
// other data is sent in messages of 64 bits: the number of the sample (from 1) above a float. A
// message is stored in the shared memory of its reader, in the same block or another, by one
// relaxed store, and the reader polls its shared memory. Such a store becomes visible as a whole or
// not at all. So a message with the expected number is complete, and neither fences nor an order of
// messages are necessary. A message is overwritten only after it was read, because its sender
// depends on the reader:
//   z, skip, hidden, logits: the next sample begins with a code that depends on all of them
//   past_sums of a layer are sent after its x of the sample before was read, x after past_sums
// All other shared memory belongs to one role, or changes its owner at the barriers of the chain.
// Each ring, in global memory, belongs to one role of one block.
//
// Timeout. After MAX_POLLS polls a reader writes `status` and sets `stopped` in every block. After
// that no thread waits; the launch ends, and Python raises an error.

#if BF16
typedef uint2 Quad;  // four weights
DEVICE float4 to_float4(Quad q) {
  return make_float4(bits_to_float(q.x << 16), bits_to_float(q.x & 0xffff0000),
                     bits_to_float(q.y << 16), bits_to_float(q.y & 0xffff0000));
}
DEVICE void set_register(float4& target, Quad q) { target = to_float4(q), compute_now(target); }
#else
typedef float4 Quad;
#endif
DEVICE float4 to_float4(float4 q) { return q; }
DEVICE void set_register(Quad& target, Quad q) { target = q; }

// The fields are those of cluster_kernel.KernelArguments.
struct KernelArguments {
  float* rings;                    // (streams, slots, ring_width)
  const long long* last;           // (streams,)
  const float* noise;              // (streams, samples)
  long long* codes;                // (streams, samples); null to predict: then samples is 1
  float* params;                   // (streams, P)
  const float* frames;             // (streams, frame_count, LAYERS, 2, G), if HAS_CONDITIONS
  const long long* frame_offsets;  // (streams,), samples from the first frame to sample 0
  const Quad* block_weights;       // (BLOCKS, BLOCK_QUADS), in the shared memory of a block
  const Quad* past_taps;           // (LAYERS, 2 G * (KERNEL_SIZE - 1) R)
  const Quad* skips;               // (BLOCKS, LAYERS, S / BLOCKS * G)
  const float* embedding;          // (CLASSES, R)
  const float* biases;             // (LAYERS, 2 G), (LAYERS, R), S, S, P
  const int* layout;               // (3, LAYERS): begin of the ring, dilation, oldest slot
  int* status;                     // 1 after a timeout
  double temperature, top_p;
  int slots, ring_width, samples, frame_count, hop_length, top_k, greedy;
};

DEVICE constexpr int min_int(int x, int limit) { return x < limit ? x : limit; }

// A product of a (ROWS, K) matrix with a vector, by THREADS threads: LANES neighbours share a row,
// each lane takes every LANES-th quad of inputs, and a thread computes several rows if there are
// more rows than threads. Weights are ordered (PASSES, QUADS, ACTIVE) quads, so that a warp reads
// neighbouring quads.
template <int ROWS_, int K_, int THREADS>
struct Product {
  static constexpr int ROWS = ROWS_, K = K_;
  static constexpr int THREADS_PER_ROW = THREADS / ROWS > 1 ? THREADS / ROWS : 1;
  static constexpr int LANES = min_int(min_int(THREADS_PER_ROW, 16), (K & -K) / 4);
  static constexpr int ACTIVE = min_int(ROWS * LANES, THREADS);  // others repeat these, unused
  static constexpr int PASSES = ROWS * LANES / ACTIVE;
  static constexpr int QUADS = K / (4 * LANES);
  static constexpr int SIZE = ROWS * K / 4;  // in quads
  DEVICE static int lane(int thread) { return thread % LANES; }
  DEVICE static int row(int thread, int pass) { return (pass * ACTIVE + thread % ACTIVE) / LANES; }
  DEVICE static bool writes_row(int thread) { return thread < ACTIVE && lane(thread) == 0; }
};
constexpr int PAST_INPUTS = (KERNEL_SIZE > 1 ? KERNEL_SIZE - 1 : 1) * R;
typedef Product<2 * G, R, GATE_THREADS> GateProduct;  // rows alternate between tanh and sigmoid
typedef Product<R, G, RESIDUAL_THREADS> ResidualProduct;
typedef Product<S / BLOCKS, G, HEAD_THREADS> SkipProduct;
typedef Product<S / BLOCKS, S, HEAD_THREADS> HiddenProduct;
typedef Product<P / BLOCKS, S, HEAD_THREADS> OutputProduct;
typedef Product<2 * G, PAST_INPUTS, TAP_THREADS> PastProduct;

constexpr int LAYER_QUADS = GateProduct::SIZE + ResidualProduct::SIZE;
constexpr int BLOCK_QUADS =
    LAYERS_PER_BLOCK * LAYER_QUADS + HiddenProduct::SIZE + OutputProduct::SIZE;
constexpr int CHAIN_BLOCKS = (LAYERS + LAYERS_PER_BLOCK - 1) / LAYERS_PER_BLOCK;
// blocks whose TAP threads work: those without a part of the chain, or all if it needs all
constexpr int TAP_BLOCKS = BLOCKS > CHAIN_BLOCKS ? BLOCKS - CHAIN_BLOCKS : BLOCKS;
constexpr int LAYERS_PER_TAP_BLOCK = (LAYERS + TAP_BLOCKS - 1) / TAP_BLOCKS;
constexpr int MAX_REGISTER_QUADS = 16;  // weights that a thread keeps in registers
constexpr int POLLS_PER_CHECK = 64, HEAD_WARPS = HEAD_THREADS / 32;
constexpr int BARRIER_X = 1, BARRIER_Z = 2, BARRIER_GATE = 3, BARRIER_HEAD = 4, BARRIER_TAPS = 5;
constexpr int MAX_ORDINAL = 0x7fffffff, INFINITE = 0x7f800000, MINUS_INFINITE = -0x7f800001;
constexpr int CLASSES_PER_THREAD = P > HEAD_THREADS ? P / HEAD_THREADS : 1;

struct SharedMemory {
  alignas(16) Message z[LAYERS][G];                     // to the head
  alignas(16) Message skip[S], hidden[S];               // to the head: input of the next product
  alignas(16) Message logits[P];                        // to the draw, in block 0
  alignas(16) Message past_sums[LAYERS_PER_BLOCK][2 * G];  // to the gate
  alignas(16) Message x[LAYERS_PER_TAP_BLOCK][R];       // to the taps
  alignas(16) Message chain_input[R], code;             // to the gate: input of the chain here
  alignas(16) float layer_input[2][R];                  // x of the current and of the next layer
  alignas(16) float gate_output[2][G];                  // z of both
  alignas(16) float past_inputs[PAST_INPUTS];
  alignas(16) double masses[P];
  int ordinals[P];
  double warp_sums[HEAD_WARPS];
  int warp_tops[HEAD_WARPS], warp_codes[HEAD_WARPS];
  Message stopped;
};
static_assert(sizeof(SharedMemory) + BLOCK_QUADS * sizeof(Quad) <= SHARED_MEMORY_BYTES,
              "shared_memory_bytes in cluster_kernel.py returns too little");

DEVICE Message make_message(int number, int bits) {
  return (Message)number << 32 | (unsigned)bits;
}
DEVICE bool has_number(Message message, int number) { return (int)(message >> 32) == number; }
DEVICE float float_of(Message message) { return bits_to_float((int)message); }
// A thread's weights of a product, loaded before its inputs arrive: from shared memory converted
// to float32, from the L2 cache unconverted, because the conversion would wait for them. Weights
// that do not fit into registers are read when they are needed.
template <class Shape, bool FROM_L2, class Register>
struct Weights {
  static constexpr int COUNT = Shape::PASSES * Shape::QUADS;
  static constexpr bool IN_REGISTERS = COUNT <= MAX_REGISTER_QUADS;
  const Quad* source;
  Register registers[IN_REGISTERS ? COUNT : 1];
  DEVICE Quad read(int i) const {
    if constexpr (FROM_L2) return load_from_l2(source + i * Shape::ACTIVE);
    else return source[i * Shape::ACTIVE];
  }
  DEVICE void load(const Quad* begin, int thread) {
    source = begin + thread % Shape::ACTIVE;
    if (IN_REGISTERS) UNROLL for (int i = 0; i < COUNT; i++) set_register(registers[i], read(i));
  }
  DEVICE float4 at(int i) const {
    return IN_REGISTERS ? to_float4(registers[IN_REGISTERS ? i : 0]) : to_float4(read(i));
  }
};
template <class Shape> using SharedWeights = Weights<Shape, false, float4>;
template <class Shape> using L2Weights = Weights<Shape, true, Quad>;
// Four independent partial sums per row.
template <class Shape>
struct RowSums {
  float4 partial[Shape::PASSES] = {};
  // Called before the thread waits for inputs, so that the biases are loaded in time.
  DEVICE void add_bias(const float* biases, int thread) {
    if (Shape::lane(thread) == 0)
      UNROLL for (int pass = 0; pass < Shape::PASSES; pass++)
        partial[pass].x = biases[Shape::row(thread, pass)];
  }
  // input(k) returns inputs k to k + 3.
  template <class Source, class Input>
  DEVICE void add_product(const Source& weights, int thread, const Input& input) {
    UNROLL for (int i = 0; i < Shape::QUADS; i++) {
      const float4 x = input((i * Shape::LANES + Shape::lane(thread)) * 4);
      UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
        const float4 w = weights.at(pass * Shape::QUADS + i);
        partial[pass].x += w.x * x.x, partial[pass].y += w.y * x.y;
        partial[pass].z += w.z * x.z, partial[pass].w += w.w * x.w;
      }
    }
  }
  // The sum of a row, for all its lanes.
  DEVICE float total(int pass) const {
    float sum = (partial[pass].x + partial[pass].y) + (partial[pass].z + partial[pass].w);
    UNROLL for (int mask = 1; mask < Shape::LANES; mask *= 2) sum += shuffle_xor(sum, mask);
    return sum;
  }
};

DEVICE float4 load_float4(const float* values) { return *(const float4*)values; }

// An integer of the same order as the float: +0 equals -0, and NaN comes after all numbers.
DEVICE int to_ordinal(float x) {
  if (x != x) return MAX_ORDINAL;
  const int bits = float_to_bits(x == 0.f ? 0.f : x);
  return bits < 0 ? bits ^ MAX_ORDINAL : bits;
}

// Not inlined, because every wait contains a call.
NOINLINE bool stop_all(int* status, Message* stopped) {
  *status = 1;
  for (int to = 0; to < BLOCKS; to++) store_message(stopped, to, 1);
  return true;
}

// A thread: its block in the cluster, its stream, and its index among the threads of its role.
struct Thread {
  const KernelArguments& a;
  SharedMemory& s;
  const Quad* weights;  // of the block, in shared memory
  int rank, stream, index;

  DEVICE void send(Message* place, int to, int number, float value) {
    store_message(place, to, make_message(number, float_to_bits(value)));
  }
  DEVICE bool timed_out(unsigned& polls) {
    pause();
    if (++polls % POLLS_PER_CHECK) return false;  // reading `stopped` slows a poll down
    return load_message(&s.stopped) || (polls >= MAX_POLLS && stop_all(a.status, &s.stopped));
  }
  DEVICE int receive_bits(const Message* place, int number) {
    unsigned polls = 0;
    Message message = load_message(place);
    while (!has_number(message, number) && !timed_out(polls)) message = load_message(place);
    return (int)message;
  }
  DEVICE float receive(const Message* place, int number) {
    return bits_to_float(receive_bits(place, number));
  }
  DEVICE float4 receive_float4(const Message* place, int number) {
    Message x, y, z, w;
    bool received = false;
    for (unsigned polls = 0; !received;) {
      load_two_messages(place, x, y), load_two_messages(place + 2, z, w);
      received = has_number(x, number) && has_number(y, number) && has_number(z, number) &&
                 has_number(w, number);
      received = received || timed_out(polls);
    }
    return make_float4(float_of(x), float_of(y), float_of(z), float_of(w));
  }
  // Writes the input of this block's first layer: the embedded code, or data of the block before.
  DEVICE void load_chain_input(float* x, int t) {
    if (rank == 0) {
      const int code = t == 0 ? (int)a.last[stream] : receive_bits(&s.code, t);
      // the mask keeps the address valid after a timeout, when the code is arbitrary
      const float* row = a.embedding + (code & (CLASSES - 1)) * R;
      for (int r = index; r < R; r += GATE_THREADS) x[r] = row[r];
    } else {
      for (int r = index; r < R; r += GATE_THREADS) x[r] = receive(&s.chain_input[r], t + 1);
    }
    barrier_sync(BARRIER_GATE, GATE_THREADS);
  }
  DEVICE void run_gate(int layers) {
    typedef GateProduct Shape;
    int step = 0;
    SharedWeights<Shape> gate;
    gate.load(weights, index);
    for (int t = 0; t < a.samples; t++) {
      for (int i = 0; i < layers; i++, step++) {
        float past[Shape::PASSES];
        UNROLL for (int pass = 0; pass < Shape::PASSES; pass++)
          past[pass] = receive(&s.past_sums[i][Shape::row(index, pass)], t + 1);
        // in layer 0 this means that sample t - 1 is complete
        barrier_sync(BARRIER_X, GATE_THREADS + RESIDUAL_THREADS);
        if (i == 0) load_chain_input(s.layer_input[step & 1], t);
        const float* x = s.layer_input[step & 1];
        RowSums<Shape> sums;
        sums.add_product(gate, index, [&](int k) { return load_float4(x + k); });
        UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
          const int row = Shape::row(index, pass);
          // tanh(v) = 2 sigmoid(2 v) - 1
          const float scale = row & 1 ? 1.f : 2.f;
          const float v = scale * (sums.total(pass) + past[pass]);
          const float half = scale * reciprocal(1.f + expf(-v)) - (scale - 1.f);
          const float z = half * shuffle_xor(half, Shape::LANES);
          if (Shape::writes_row(index) && !(row & 1)) s.gate_output[step & 1][row / 2] = z;
        }
        barrier_arrive(BARRIER_Z, GATE_THREADS + RESIDUAL_THREADS);
        gate.load(weights + (i + 1 < layers ? i + 1 : 0) * LAYER_QUADS, index);
      }
    }
  }
  DEVICE void run_residual(int first, int layers) {
    typedef ResidualProduct Shape;
    const float* biases = a.biases + LAYERS * 2 * G;
    const Quad* residuals = weights + GateProduct::SIZE;
    int step = 0;
    SharedWeights<Shape> residual;
    residual.load(residuals, index);
    if (layers) barrier_arrive(BARRIER_X, GATE_THREADS + RESIDUAL_THREADS);
    for (int t = 0; t < a.samples; t++) {
      for (int i = 0; i < layers; i++, step++) {
        const int layer = first + i;
        RowSums<Shape> sums;
        sums.add_bias(biases + layer * R, index);
        barrier_sync(BARRIER_Z, GATE_THREADS + RESIDUAL_THREADS);
        const float *x = s.layer_input[step & 1], *z = s.gate_output[step & 1];
        if (layer < LAYERS - 1) {
          sums.add_product(residual, index, [&](int k) { return load_float4(z + k); });
          UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
            const int row = Shape::row(index, pass);
            const float next = x[row] + sums.total(pass);
            if (!Shape::writes_row(index)) continue;
            if (i < layers - 1) s.layer_input[(step + 1) & 1][row] = next;
            else send(&s.chain_input[row], rank + 1, t + 1, next);
          }
        }
        barrier_arrive(BARRIER_X, GATE_THREADS + RESIDUAL_THREADS);
        // The gate continues meanwhile. z is sent first: the head waits for that of the last layer.
        for (int j = index; j < BLOCKS * G; j += RESIDUAL_THREADS)
          send(&s.z[layer][j % G], j / G, t + 1, z[j % G]);
        const int tap_block = BLOCKS - TAP_BLOCKS + layer % TAP_BLOCKS;
        for (int r = index; r < R; r += RESIDUAL_THREADS)
          send(&s.x[layer / TAP_BLOCKS][r], tap_block, t + 1, x[r]);
        residual.load(residuals + (i + 1 < layers ? i + 1 : 0) * LAYER_QUADS, index);
      }
    }
  }
  // The bias of the conditions for a row of the gate at sample t, interpolated between two frames.
  DEVICE float condition_bias(int layer, int row, int t) {
    const long long offset = a.frame_offsets[stream] + t;
    const long long frame = stream * (long long)a.frame_count + offset / a.hop_length;
    const float* left = a.frames + ((frame * LAYERS + layer) * 2 + (row & 1)) * G + row / 2;
    const float fraction = (float)(offset % a.hop_length) / a.hop_length;
    return left[0] + fraction * (left[LAYERS * 2 * G] - left[0]);
  }
  DEVICE void run_taps() {
    typedef PastProduct Shape;
    const int first = rank - (BLOCKS - TAP_BLOCKS);
    if (first < 0) return;
    // step t writes the input of sample t - 1 to the rings, and computes the sums of sample t
    for (int t = 0; t <= a.samples; t++) {
      for (int layer = first; layer < LAYERS; layer += TAP_BLOCKS) {
        const int dilation = a.layout[LAYERS + layer];
        const int length = KERNEL_SIZE > 1 ? (KERNEL_SIZE - 1) * dilation : 1;
        const int slot = a.layout[2 * LAYERS + layer] + t;
        float* ring = a.rings + ((long long)stream * a.slots + a.layout[layer]) * a.ring_width;
        L2Weights<Shape> past;
        if (KERNEL_SIZE > 1) past.load(a.past_taps + layer * Shape::SIZE, index);
        for (int r = index; t > 0 && r < R; r += TAP_THREADS) {
          const float x = receive(&s.x[layer / TAP_BLOCKS][r], t);
          if (KERNEL_SIZE > 1 && r < a.ring_width)
            ring[(long long)((slot - 1) % length) * a.ring_width + r] = x;
        }
        if (t == a.samples) continue;
        barrier_sync(BARRIER_TAPS, TAP_THREADS);  // the ring is written, past_inputs were read
        RowSums<Shape> sums;
        sums.add_bias(a.biases + layer * 2 * G, index);
        if (KERNEL_SIZE > 1) {
          for (int i = index; i < (KERNEL_SIZE - 1) * R; i += TAP_THREADS) {
            const int place = (slot + i / R * dilation) % length, r = i % R;
            s.past_inputs[i] =
                r < a.ring_width ? ring[(long long)place * a.ring_width + r] : 0.f;
          }
          barrier_sync(BARRIER_TAPS, TAP_THREADS);
          sums.add_product(past, index, [&](int k) { return load_float4(s.past_inputs + k); });
        }
        UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
          const int row = Shape::row(index, pass);
          float sum = sums.total(pass);
          if (HAS_CONDITIONS) sum += condition_bias(layer, row, t);
          if (Shape::writes_row(index))
            send(&s.past_sums[layer % LAYERS_PER_BLOCK][row], layer / LAYERS_PER_BLOCK, t + 1, sum);
        }
      }
    }
  }
  // Sends this block's rows of a product to the first `blocks` blocks.
  template <bool RELU, class Shape>
  DEVICE void send_rows(const RowSums<Shape>& sums, int number, Message* out, int blocks) {
    UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
      float sum = sums.total(pass);
      if (RELU) sum = sum < 0.f ? 0.f : sum;  // NaN stays NaN
      if (index >= Shape::ACTIVE) continue;
      for (int to = Shape::lane(index); to < blocks; to += Shape::LANES)
        send(out + rank * Shape::ROWS + Shape::row(index, pass), to, number, sum);
    }
  }
  // Computes this block's rows of a product, whose inputs are messages from all blocks, and sends
  // them to the first `blocks` blocks.
  template <class Shape, bool RELU>
  DEVICE void run_layer(const Quad* place, const float* biases, int number, const Message* in,
                        Message* out, int blocks) {
    SharedWeights<Shape> layer;
    RowSums<Shape> sums;
    layer.load(place, index);
    sums.add_bias(biases + rank * Shape::ROWS, index);
    sums.add_product(layer, index, [&](int k) { return receive_float4(in + k, number); });
    send_rows<RELU>(sums, number, out, blocks);
  }
  DEVICE int head_max(int value, int* buffer) {
    value = warp_max(value);
    if (index % 32 == 0) buffer[index / 32] = value;
    barrier_sync(BARRIER_HEAD, HEAD_THREADS);
    for (int warp = 0; warp < HEAD_WARPS; warp++)
      value = buffer[warp] > value ? buffer[warp] : value;
    return value;
  }
  template <class T>
  DEVICE void share_with_head(T* buffer, const T (&own)[CLASSES_PER_THREAD]) {
    for (int e = 0; e < CLASSES_PER_THREAD; e++)
      if (index * CLASSES_PER_THREAD + e < P) buffer[index * CLASSES_PER_THREAD + e] = own[e];
    barrier_sync(BARRIER_HEAD, HEAD_THREADS);
  }
  // Sets all masses to 0 except the largest that together reach top_p: a class is kept if the sum
  // of all larger masses is below it; among equals the first are kept. Nothing is sorted: each thread
  // sums the masses before its classes.
  DEVICE void apply_top_p(double (&masses)[CLASSES_PER_THREAD], double top_p) {
    double before[CLASSES_PER_THREAD] = {}, all = 0;
    share_with_head(s.masses, masses);
    for (int c = 0; c < CLASSES; c++) {
      const double other = s.masses[c];
      all += other;
      for (int e = 0; e < CLASSES_PER_THREAD; e++)
        if (other > masses[e] || (other == masses[e] && c < index * CLASSES_PER_THREAD + e))
          before[e] += other;
    }
    for (int e = 0; e < CLASSES_PER_THREAD; e++) if (before[e] >= top_p * all) masses[e] = 0;
  }
  // Sets all masses to 0 except those of the k largest logits and of logits that tie with the k-th.
  DEVICE void apply_top_k(double (&masses)[CLASSES_PER_THREAD],
                          const int (&ordinals)[CLASSES_PER_THREAD], int k) {
    int above[CLASSES_PER_THREAD] = {};
    share_with_head(s.ordinals, ordinals);
    for (int c = 0; c < CLASSES; c++)
      for (int e = 0; e < CLASSES_PER_THREAD; e++) above[e] += s.ordinals[c] > ordinals[e];
    for (int e = 0; e < CLASSES_PER_THREAD; e++) if (above[e] >= k) masses[e] = 0;
  }
  // Returns the first class whose cumulative masses exceed the uniform's share of all, never one of
  // mass 0; class 0 if all masses are 0.
  DEVICE int inverse_cdf(const double (&masses)[CLASSES_PER_THREAD], double uniform) {
    double own = 0;
    for (int e = 0; e < CLASSES_PER_THREAD; e++) own += masses[e];
    double inclusive = own;  // from the first thread of the warp to this one
    for (int distance = 1; distance < 32; distance *= 2) {
      const double before = shuffle_up(inclusive, distance);
      if (index % 32 >= distance) inclusive += before;
    }
    if (index % 32 == 31) s.warp_sums[index / 32] = inclusive;
    double cdf = shuffle_up(inclusive, 1), all = 0;
    if (index % 32 == 0) cdf = 0;
    barrier_sync(BARRIER_HEAD, HEAD_THREADS);
    for (int warp = 0; warp < HEAD_WARPS; warp++) {
      if (warp == index / 32) cdf += all;
      all += s.warp_sums[warp];
    }
    int first = P, last = 0;
    for (int e = 0; e < CLASSES_PER_THREAD; e++) {
      cdf += masses[e];
      if (masses[e] > 0 && first == P && cdf > uniform * all)
        first = index * CLASSES_PER_THREAD + e;
      if (masses[e] > 0) last = index * CLASSES_PER_THREAD + e;
    }
    // any first before any last: after rounding, the level may exceed the sum of all masses
    const int found = head_max(first < P ? 2 * P - first : last, s.warp_codes);
    return found > P ? 2 * P - found : found;
  }
  // Draws in float64 by the rules of wavenet/sampling.py, for the chain and the caller.
  DEVICE void draw(int t) {
    const long long place = stream * (long long)a.samples + t;
    const double uniform = a.noise[place];
    float logits[CLASSES_PER_THREAD];
    int ordinals[CLASSES_PER_THREAD], top = MINUS_INFINITE, code = P;
    for (int e = 0; e < CLASSES_PER_THREAD; e++) {
      const int c = index * CLASSES_PER_THREAD + e;
      logits[e] = c < CLASSES ? receive(&s.logits[c], t + 1) : bits_to_float(0xff800000);
      ordinals[e] = to_ordinal(logits[e]);
      top = ordinals[e] > top ? ordinals[e] : top;
    }
    top = head_max(top, s.warp_tops);
    if (a.greedy) {
      for (int e = CLASSES_PER_THREAD - 1; e >= 0; e--)
        if (ordinals[e] == top && index * CLASSES_PER_THREAD + e < CLASSES)
          code = index * CLASSES_PER_THREAD + e;
      code = -head_max(-code, s.warp_codes);
    } else {
      const bool is_finite = top > MINUS_INFINITE && top < INFINITE;  // else code 0
      const double peak = bits_to_float(top < 0 ? top ^ MAX_ORDINAL : top);
      double masses[CLASSES_PER_THREAD];
      for (int e = 0; e < CLASSES_PER_THREAD; e++)
        masses[e] = is_finite ? exp(logits[e] / a.temperature - peak / a.temperature) : 0.;
      if (a.top_k) apply_top_k(masses, ordinals, a.top_k);
      if (a.top_p < 1) apply_top_p(masses, a.top_p);
      code = inverse_cdf(masses, uniform);
    }
    if (index) return;
    store_message(&s.code, rank, make_message(t + 1, code));
    a.codes[place] = code;
  }
  DEVICE void run_head() {
    const float* biases = a.biases + LAYERS * (2 * G + R);
    const Quad* skips = a.skips + (long long)rank * LAYERS * SkipProduct::SIZE;
    const Quad *hidden = weights + LAYERS_PER_BLOCK * LAYER_QUADS;
    const Quad *output = hidden + HiddenProduct::SIZE;
    for (int t = 0; t < a.samples; t++) {
      const int number = t + 1;
      L2Weights<SkipProduct> skip, next;
      skip.load(skips, index);
      RowSums<SkipProduct> sums;
      sums.add_bias(biases + rank * SkipProduct::ROWS, index);
      for (int layer = 0; layer < LAYERS; layer++) {
        if (layer < LAYERS - 1) next.load(skips + (layer + 1) * SkipProduct::SIZE, index);
        sums.add_product(skip, index,
                         [&](int k) { return receive_float4(&s.z[layer][k], number); });
        skip = next;
      }
      send_rows<true>(sums, number, s.skip, BLOCKS);
      run_layer<HiddenProduct, true>(hidden, biases + S, number, s.skip, s.hidden, BLOCKS);
      run_layer<OutputProduct, false>(output, biases + 2 * S, number, s.hidden, s.logits, 1);
      if (rank > 0) continue;
      if (a.codes) draw(t);
      else for (int c = index; c < P; c += HEAD_THREADS)
        a.params[stream * P + c] = receive(s.logits + c, number);
    }
  }
};

KERNEL generate_stream(const KernelArguments a) {
  SharedMemory& s = *(SharedMemory*)shared_memory();
  Quad* weights = (Quad*)(shared_memory() + sizeof(SharedMemory));
  Thread thread = {a, s, weights, block_rank(), stream_index(), thread_index()};
  const int threads = GATE_THREADS + RESIDUAL_THREADS + HEAD_THREADS + TAP_THREADS;
  const int first = thread.rank * LAYERS_PER_BLOCK, left = LAYERS - first;
  const int layers = left < 0 ? 0 : min_int(left, LAYERS_PER_BLOCK);
  const int index = thread.index, size = sizeof(SharedMemory) / 4;
  for (int i = index; i < size; i += threads) ((volatile int*)&s)[i] = 0;
  for (int i = index; i < BLOCK_QUADS; i += threads)
    weights[i] = a.block_weights[thread.rank * BLOCK_QUADS + i];
  cluster_sync();  // no thread sends before all blocks have cleared their memory
  if (thread.index < GATE_THREADS) thread.run_gate(layers);
  else if ((thread.index -= GATE_THREADS) < RESIDUAL_THREADS) thread.run_residual(first, layers);
  else if ((thread.index -= RESIDUAL_THREADS) < HEAD_THREADS) thread.run_head();
  else thread.index -= HEAD_THREADS, thread.run_taps();
  cluster_sync();  // no block ends while others may still store into its memory
}
