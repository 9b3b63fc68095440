// One stream through the whole network on a cluster of thread blocks, sample after sample.
//
// Weights, rings, condition frames and noise enter; codes leave, or the params of one sample.
// cluster_kernel.py compiles this for one network, behind cluster_device.cuh, which has what only a
// device has. The sizes are macros: LAYERS, TAPS; the padded widths R, G (each half of the gate),
// S, P; CLASSES; BLOCKS of a cluster; PER, layers in a block; HALF, weights in bfloat16 (arithmetic
// is in float32 always); CONDITIONED; and the threads of the four roles that every block has:
//   GATE  the chain: what a layer's input adds to its gate, then tanh and sigmoid
//   RES   the chain: the residual product; then tells other roles what they need
//   HEAD  skip sums while the chain runs; behind it hidden product, output product, the draw
//   TAPG  ahead of the chain: bias, condition and old taps of the layers the block looks after
// The chain runs through PER layers in a block and goes on in the next. Its weights lie in shared
// memory, as do those of the hidden and the output product, whose rows all blocks share. Old taps
// and skips are not waited for: their weights come out of the L2 cache, ahead of time.
//
// How roles meet. The two roles of the chain meet at named barriers, twice a layer. Everything else
// travels as words: 64 bits, the number of the sample (from 1) above a float. A word is stored into
// the shared memory of its reader, in the same block or another, by one relaxed store of 64 bits,
// and the reader polls its own memory. Such a store is seen as a whole or not at all, so the float
// is there when its number is: no fence, no second round trip, no order among words. A word is
// stored again only after it was read, since whoever stores it depends on the reader:
//   z, skip, hidden, logits: the next sample begins with a code that all of them went into
//   taps of a layer are sent after its x of the sample before was read, x after the taps were
// Other shared memory belongs to one role, or is handed over at the chain's barriers; the rings, in
// global memory, to one role of one block.
//
// No wait is for ever: after PATIENCE polls a reader writes `status` and sets `stopped` in every
// block. From then on nobody waits; the launch runs to its end, and Python raises an error.

#if HALF
typedef uint2 Quad;  // four weights
DEVICE float4 widen(Quad q) {
  return make_float4(bits_to_float(q.x << 16), bits_to_float(q.x & 0xffff0000),
                     bits_to_float(q.y << 16), bits_to_float(q.y & 0xffff0000));
}
DEVICE void keep(float4& kept, Quad read) { kept = widen(read), pin(kept); }
#else
typedef float4 Quad;
#endif
DEVICE float4 widen(float4 q) { return q; }
DEVICE void keep(Quad& kept, Quad read) { kept = read; }

// The fields are those of cluster_kernel.Arguments.
struct Arguments {
  float* rings;              // (streams, slots, width)
  const long long* last;     // (streams,)
  const float* noise;        // (streams, n)
  long long* codes;          // (streams, n); null where params are wanted, and n is 1
  float* params;             // (streams, P)
  const float* frames;       // (streams, count, LAYERS, 2, G), if CONDITIONED
  const long long* leads;    // (streams,), samples between the first frame and sample 0
  const Quad* image;         // (BLOCKS, IMAGE): what a block keeps in shared memory
  const Quad* taps;          // (LAYERS, 2 G * (TAPS - 1) R)
  const Quad* skips;         // (BLOCKS, LAYERS, S / BLOCKS * G)
  const float* embedding;    // (CLASSES, R)
  const float* biases;       // (LAYERS, 2 G), (LAYERS, R), S, S, P
  const int* layout;         // (3, LAYERS): where its ring begins, its dilation, its oldest slot
  int* status;               // 1 where somebody waited in vain
  double temperature, top_p;
  int slots, width, n, count, hop, top_k, greedy;
};

DEVICE constexpr int clamp(int x, int most) { return x < most ? x : most; }

// A product of a (ROWS, K) matrix with a vector, by THREADS threads: LANES neighbours share a row,
// each takes every LANES-th quad of inputs, and where rows are many each thread has several.
// Weights lie (PASSES, QUADS, ACTIVE) quads, so that a warp reads them side by side.
template <int ROWS_, int K_, int THREADS>
struct Product {
  static constexpr int ROWS = ROWS_, K = K_;
  static constexpr int FREE = THREADS / ROWS > 1 ? THREADS / ROWS : 1;
  static constexpr int LANES = clamp(clamp(FREE, 16), (K & -K) / 4);
  static constexpr int ACTIVE = clamp(ROWS * LANES, THREADS);  // others do as these, for nothing
  static constexpr int PASSES = ROWS * LANES / ACTIVE;
  static constexpr int QUADS = K / (4 * LANES);
  static constexpr int SIZE = ROWS * K / 4;  // in quads
  DEVICE static int lane(int thread) { return thread % LANES; }
  DEVICE static int row(int thread, int pass) { return (pass * ACTIVE + thread % ACTIVE) / LANES; }
  DEVICE static bool speaks(int thread) { return thread < ACTIVE && lane(thread) == 0; }
};
typedef Product<2 * G, R, GATE> GateProduct;  // rows: tanh and sigmoid of a channel side by side
typedef Product<R, G, RES> ResidualProduct;
typedef Product<S / BLOCKS, G, HEAD> SkipProduct;
typedef Product<S / BLOCKS, S, HEAD> HiddenProduct;
typedef Product<P / BLOCKS, S, HEAD> OutputProduct;
typedef Product<2 * G, (TAPS > 1 ? TAPS - 1 : 1) * R, TAPG> TapsProduct;

constexpr int LAYER_SIZE = GateProduct::SIZE + ResidualProduct::SIZE;
constexpr int IMAGE = PER * LAYER_SIZE + HiddenProduct::SIZE + OutputProduct::SIZE;
constexpr int CHAIN = (LAYERS + PER - 1) / PER;  // blocks that have a part of it
constexpr int OWNERS = BLOCKS > CHAIN ? BLOCKS - CHAIN : BLOCKS;  // blocks that see to taps
constexpr int OWNED = (LAYERS + OWNERS - 1) / OWNERS;
constexpr int MOST_HELD = 16;  // quads that a thread keeps in registers
constexpr int POLLS_AT_ONCE = 64, HEAD_WARPS = HEAD / 32;
constexpr int X_IS_THERE = 1, Z_IS_THERE = 2, AMONG_GATE = 3, AMONG_HEAD = 4, AMONG_TAPS = 5;
constexpr int LARGEST = 0x7fffffff, INFINITE = 0x7f800000, MINUS_INFINITE = -0x7f800001;
constexpr int EACH = P > HEAD ? P / HEAD : 1;  // classes that a thread of the head draws from

struct Shared {
  alignas(16) Word z[LAYERS][G];       // for the head
  alignas(16) Word skip[S], hidden[S]; // for the head: what enters the next product
  alignas(16) Word logits[P];          // for the draw, in block 0
  alignas(16) Word taps[PER][2 * G];   // for the gate
  alignas(16) Word x[OWNED][R];        // for the taps
  alignas(16) Word entry[R], code;     // for the gate: where the chain enters this block
  alignas(16) float now[2][R];         // x of the layer at work, and of the next
  alignas(16) float gated[2][G];       // z likewise
  alignas(16) float past[(TAPS > 1 ? TAPS - 1 : 1) * R];
  alignas(16) double odds[P];
  int keys[P];
  double sums[HEAD_WARPS];
  int tops[HEAD_WARPS], picks[HEAD_WARPS];
  Word stopped;
};
static_assert(sizeof(Shared) + IMAGE * sizeof(Quad) <= SHARED_BYTES, "cluster_kernel.py counts less");

DEVICE Word make_word(int number, int bits) { return (Word)number << 32 | (unsigned)bits; }
DEVICE bool is(Word word, int number) { return (int)(word >> 32) == number; }
DEVICE float float_of(Word word) { return bits_to_float((int)word); }
// A thread's weights of a product, fetched before what they are multiplied with is there: from
// shared memory already widened, from the L2 cache as they are, since widening would wait for them.
// What would not fit into registers is read when it is needed.
template <class Shape, bool FAR, class Kept>
struct Weights {
  static constexpr int COUNT = Shape::PASSES * Shape::QUADS;
  static constexpr bool HELD = COUNT <= MOST_HELD;
  const Quad* place;
  Kept kept[HELD ? COUNT : 1];
  DEVICE Quad read(int i) const {
    if constexpr (FAR) return load_from_l2(place + i * Shape::ACTIVE);
    else return place[i * Shape::ACTIVE];
  }
  DEVICE void fetch(const Quad* from, int thread) {
    place = from + thread % Shape::ACTIVE;
    if (HELD) UNROLL for (int i = 0; i < COUNT; i++) keep(kept[i], read(i));
  }
  DEVICE float4 at(int i) const { return HELD ? widen(kept[HELD ? i : 0]) : widen(read(i)); }
};
template <class Shape> using Near = Weights<Shape, false, float4>;
template <class Shape> using Far = Weights<Shape, true, Quad>;
// Four sums a row, which do not wait for one another.
template <class Shape>
struct Sums {
  float4 of[Shape::PASSES] = {};
  // Before what is waited for, so that the biases are there in time.
  DEVICE void begin(const float* biases, int thread) {
    if (Shape::lane(thread) == 0)
      UNROLL for (int pass = 0; pass < Shape::PASSES; pass++)
        of[pass].x = biases[Shape::row(thread, pass)];
  }
  // input(k): inputs k to k + 3.
  template <class Kept, class Input>
  DEVICE void add(const Kept& weights, int thread, const Input& input) {
    UNROLL for (int i = 0; i < Shape::QUADS; i++) {
      const float4 x = input((i * Shape::LANES + Shape::lane(thread)) * 4);
      UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
        const float4 w = weights.at(pass * Shape::QUADS + i);
        of[pass].x += w.x * x.x, of[pass].y += w.y * x.y;
        of[pass].z += w.z * x.z, of[pass].w += w.w * x.w;
      }
    }
  }
  // The whole sum, for all lanes of the row.
  DEVICE float total(int pass) const {
    float sum = (of[pass].x + of[pass].y) + (of[pass].z + of[pass].w);
    UNROLL for (int mask = 1; mask < Shape::LANES; mask *= 2) sum += from_lane_xor(sum, mask);
    return sum;
  }
};

DEVICE float4 four_of(const float* values) { return *(const float4*)values; }

// Floats as integers of the same order: one zero, not two, and what is no number behind all others.
DEVICE int ordered(float x) {
  if (x != x) return LARGEST;
  const int bits = float_to_bits(x == 0.f ? 0.f : x);
  return bits < 0 ? bits ^ LARGEST : bits;
}

// Kept out of line, since every wait has it.
COLD bool stop_all(int* status, Word* stopped) {
  *status = 1;
  for (int to = 0; to < BLOCKS; to++) store_word(stopped, to, 1);
  return true;
}

// A thread's view of its block.
struct Block {
  const Arguments& a;
  Shared& s;
  const Quad* image;
  int rank, stream, thread;  // of those that have its role

  DEVICE void send(Word* here, int to, int number, float value) {
    store_word(here, to, make_word(number, float_to_bits(value)));
  }
  DEVICE bool lost_patience(unsigned& polls) {
    pause();
    if (++polls % POLLS_AT_ONCE) return false;  // a look at `stopped` would slow each poll down
    return load_word(&s.stopped) || (polls >= PATIENCE && stop_all(a.status, &s.stopped));
  }
  DEVICE int take_bits(const Word* here, int number) {
    unsigned polls = 0;
    Word word = load_word(here);
    while (!is(word, number) && !lost_patience(polls)) word = load_word(here);
    return (int)word;
  }
  DEVICE float take(const Word* here, int number) {
    return bits_to_float(take_bits(here, number));
  }
  DEVICE float4 take_four(const Word* here, int number) {
    Word x, y, z, w;
    bool there = false;
    for (unsigned polls = 0; !there;) {
      load_words(here, x, y), load_words(here + 2, z, w);
      there = is(x, number) && is(y, number) && is(z, number) && is(w, number);
      there = there || lost_patience(polls);
    }
    return make_float4(float_of(x), float_of(y), float_of(z), float_of(w));
  }
  // Puts x of this block's first layer into `now`: the code's row, or what the block before sends.
  DEVICE void enter(float* now, int t) {
    if (rank == 0) {
      const int code = t == 0 ? (int)a.last[stream] : take_bits(&s.code, t);
      // after a stop the code may be anything
      const float* row = a.embedding + (code & (CLASSES - 1)) * R;
      for (int r = thread; r < R; r += GATE) now[r] = row[r];
    } else {
      for (int r = thread; r < R; r += GATE) now[r] = take(&s.entry[r], t + 1);
    }
    meet(AMONG_GATE, GATE);
  }
  DEVICE void run_gate(int layers) {
    typedef GateProduct Shape;
    int step = 0;
    Near<Shape> weights;
    weights.fetch(image, thread);
    for (int t = 0; t < a.n; t++) {
      for (int i = 0; i < layers; i++, step++) {
        float ahead[Shape::PASSES];
        UNROLL for (int pass = 0; pass < Shape::PASSES; pass++)
          ahead[pass] = take(&s.taps[i][Shape::row(thread, pass)], t + 1);
        meet(X_IS_THERE, GATE + RES);  // at the first layer: the sample before is over
        if (i == 0) enter(s.now[step & 1], t);
        const float* x = s.now[step & 1];
        Sums<Shape> sums;
        sums.add(weights, thread, [&](int k) { return four_of(x + k); });
        UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
          const int row = Shape::row(thread, pass);
          // tanh(v) = 2 sigmoid(2 v) - 1
          const float scale = row & 1 ? 1.f : 2.f;
          const float v = scale * (sums.total(pass) + ahead[pass]);
          const float half = scale * reciprocal(1.f + expf(-v)) - (scale - 1.f);
          const float z = half * from_lane_xor(half, Shape::LANES);
          if (Shape::speaks(thread) && !(row & 1)) s.gated[step & 1][row / 2] = z;
        }
        announce(Z_IS_THERE, GATE + RES);
        weights.fetch(image + (i + 1 < layers ? i + 1 : 0) * LAYER_SIZE, thread);
      }
    }
  }
  DEVICE void run_residual(int first, int layers) {
    typedef ResidualProduct Shape;
    const float* biases = a.biases + LAYERS * 2 * G;
    const Quad* residuals = image + GateProduct::SIZE;
    int step = 0;
    Near<Shape> weights;
    weights.fetch(residuals, thread);
    if (layers) announce(X_IS_THERE, GATE + RES);
    for (int t = 0; t < a.n; t++) {
      for (int i = 0; i < layers; i++, step++) {
        const int layer = first + i;
        Sums<Shape> sums;
        sums.begin(biases + layer * R, thread);
        meet(Z_IS_THERE, GATE + RES);
        const float *x = s.now[step & 1], *z = s.gated[step & 1];
        if (layer < LAYERS - 1) {
          sums.add(weights, thread, [&](int k) { return four_of(z + k); });
          UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
            const int row = Shape::row(thread, pass);
            const float next = x[row] + sums.total(pass);
            if (!Shape::speaks(thread)) continue;
            if (i < layers - 1) s.now[(step + 1) & 1][row] = next;
            else send(&s.entry[row], rank + 1, t + 1, next);
          }
        }
        announce(X_IS_THERE, GATE + RES);
        // The chain goes on. z first: behind the last layer the head waits for it.
        for (int j = thread; j < BLOCKS * G; j += RES)
          send(&s.z[layer][j % G], j / G, t + 1, z[j % G]);
        const int owner = BLOCKS - OWNERS + layer % OWNERS;
        for (int r = thread; r < R; r += RES)
          send(&s.x[layer / OWNERS][r], owner, t + 1, x[r]);
        weights.fetch(residuals + (i + 1 < layers ? i + 1 : 0) * LAYER_SIZE, thread);
      }
    }
  }
  // What the condition adds to a row of a gate at sample t, between two frames.
  DEVICE float condition(int layer, int row, int t) {
    const long long offset = a.leads[stream] + t;
    const long long frame = stream * (long long)a.count + offset / a.hop;
    const float* early = a.frames + ((frame * LAYERS + layer) * 2 + (row & 1)) * G + row / 2;
    const float share = (float)(offset % a.hop) / a.hop;
    return early[0] + share * (early[LAYERS * 2 * G] - early[0]);
  }
  DEVICE void run_taps() {
    typedef TapsProduct Shape;
    const int mine = rank - (BLOCKS - OWNERS);
    if (mine < 0) return;
    // at t the input of sample t - 1 is taken, and sample t made ready
    for (int t = 0; t <= a.n; t++) {
      for (int layer = mine; layer < LAYERS; layer += OWNERS) {
        const int dilation = a.layout[LAYERS + layer];
        const int length = TAPS > 1 ? (TAPS - 1) * dilation : 1;
        const int slot = a.layout[2 * LAYERS + layer] + t;
        float* ring = a.rings + ((long long)stream * a.slots + a.layout[layer]) * a.width;
        Far<Shape> weights;
        if (TAPS > 1) weights.fetch(a.taps + layer * Shape::SIZE, thread);
        for (int r = thread; t > 0 && r < R; r += TAPG) {
          const float x = take(&s.x[layer / OWNERS][r], t);
          if (TAPS > 1 && r < a.width) ring[(long long)((slot - 1) % length) * a.width + r] = x;
        }
        if (t == a.n) continue;
        meet(AMONG_TAPS, TAPG);  // the ring is written, `past` has been read
        Sums<Shape> sums;
        sums.begin(a.biases + layer * 2 * G, thread);
        if (TAPS > 1) {
          for (int i = thread; i < (TAPS - 1) * R; i += TAPG) {
            const int place = (slot + i / R * dilation) % length, r = i % R;
            s.past[i] = r < a.width ? ring[(long long)place * a.width + r] : 0.f;
          }
          meet(AMONG_TAPS, TAPG);
          sums.add(weights, thread, [&](int k) { return four_of(s.past + k); });
        }
        UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
          const int row = Shape::row(thread, pass);
          float sum = sums.total(pass);
          if (CONDITIONED) sum += condition(layer, row, t);
          if (Shape::speaks(thread))
            send(&s.taps[layer % PER][row], layer / PER, t + 1, sum);
        }
      }
    }
  }
  // Sends this block's rows of a product to the first of the blocks.
  template <bool RELU, class Shape>
  DEVICE void pass_on(const Sums<Shape>& sums, int number, Word* out, int blocks) {
    UNROLL for (int pass = 0; pass < Shape::PASSES; pass++) {
      float sum = sums.total(pass);
      if (RELU) sum = sum < 0.f ? 0.f : sum;  // what is no number stays so
      if (thread >= Shape::ACTIVE) continue;
      for (int to = Shape::lane(thread); to < blocks; to += Shape::LANES)
        send(out + rank * Shape::ROWS + Shape::row(thread, pass), to, number, sum);
    }
  }
  // The same, of the product of weights in this block and words from all blocks.
  template <class Shape, bool RELU>
  DEVICE void multiply(const Quad* place, const float* biases, int number, const Word* in,
                       Word* out, int blocks) {
    Near<Shape> weights;
    Sums<Shape> sums;
    weights.fetch(place, thread);
    sums.begin(biases + rank * Shape::ROWS, thread);
    sums.add(weights, thread, [&](int k) { return take_four(in + k, number); });
    pass_on<RELU>(sums, number, out, blocks);
  }
  DEVICE int largest_of_head(int value, int* room) {
    value = largest_of_warp(value);
    if (thread % 32 == 0) room[thread / 32] = value;
    meet(AMONG_HEAD, HEAD);
    for (int warp = 0; warp < HEAD_WARPS; warp++) value = room[warp] > value ? room[warp] : value;
    return value;
  }
  template <class T>
  DEVICE void share_out(T* room, const T (&own)[EACH]) {
    for (int e = 0; e < EACH; e++) if (thread * EACH + e < P) room[thread * EACH + e] = own[e];
    meet(AMONG_HEAD, HEAD);
  }
  // Sets to 0 all but the likeliest classes that reach the share: a class stays if what is likelier
  // is below it; of equals the first stay. Nothing is sorted: each adds up what comes before.
  DEVICE void keep_likeliest(double (&odds)[EACH], double share) {
    double before[EACH] = {}, all = 0;
    share_out(s.odds, odds);
    for (int c = 0; c < CLASSES; c++) {
      const double other = s.odds[c];
      all += other;
      for (int e = 0; e < EACH; e++)
        if (other > odds[e] || (other == odds[e] && c < thread * EACH + e)) before[e] += other;
    }
    for (int e = 0; e < EACH; e++) if (before[e] >= share * all) odds[e] = 0;
  }
  // Sets to 0 all but the k likeliest classes and those that tie with the k-th.
  DEVICE void keep_k(double (&odds)[EACH], const int (&keys)[EACH], int k) {
    int above[EACH] = {};
    share_out(s.keys, keys);
    for (int c = 0; c < CLASSES; c++)
      for (int e = 0; e < EACH; e++) above[e] += s.keys[c] > keys[e];
    for (int e = 0; e < EACH; e++) if (above[e] >= k) odds[e] = 0;
  }
  // Gives the first class whose cumulative odds exceed the uniform's share of all; one of no odds
  // is never given, and class 0 if all have none.
  DEVICE int inverse_cdf(const double (&odds)[EACH], double uniform) {
    double own = 0;
    for (int e = 0; e < EACH; e++) own += odds[e];
    double up_to = own;  // and with this thread, from the warp's first
    for (int distance = 1; distance < 32; distance *= 2) {
      const double before = from_lanes_before(up_to, distance);
      if (thread % 32 >= distance) up_to += before;
    }
    if (thread % 32 == 31) s.sums[thread / 32] = up_to;
    double cdf = from_lanes_before(up_to, 1), all = 0;
    if (thread % 32 == 0) cdf = 0;
    meet(AMONG_HEAD, HEAD);
    for (int warp = 0; warp < HEAD_WARPS; warp++) {
      if (warp == thread / 32) cdf += all;
      all += s.sums[warp];
    }
    int first = P, last = 0;
    for (int e = 0; e < EACH; e++) {
      cdf += odds[e];
      if (odds[e] > 0 && first == P && cdf > uniform * all) first = thread * EACH + e;
      if (odds[e] > 0) last = thread * EACH + e;
    }
    // the first before any last: rounding may leave a little over behind the last class
    const int found = largest_of_head(first < P ? 2 * P - first : last, s.picks);
    return found > P ? 2 * P - found : found;
  }
  // Draws in float64 by the rules of wavenet/sampling.py, and tells the chain and the caller.
  DEVICE void draw(int t) {
    const long long place = stream * (long long)a.n + t;
    const double uniform = a.noise[place];
    float logits[EACH];
    int keys[EACH], top = MINUS_INFINITE, code = P;
    for (int e = 0; e < EACH; e++) {
      const int c = thread * EACH + e;
      logits[e] = c < CLASSES ? take(&s.logits[c], t + 1) : bits_to_float(0xff800000);
      keys[e] = ordered(logits[e]);
      top = keys[e] > top ? keys[e] : top;
    }
    top = largest_of_head(top, s.tops);
    if (a.greedy) {
      for (int e = EACH - 1; e >= 0; e--)
        if (keys[e] == top && thread * EACH + e < CLASSES) code = thread * EACH + e;
      code = -largest_of_head(-code, s.picks);
    } else {
      const bool drawable = top > MINUS_INFINITE && top < INFINITE;  // else no distribution: code 0
      const double peak = bits_to_float(top < 0 ? top ^ LARGEST : top);
      double odds[EACH];
      for (int e = 0; e < EACH; e++)
        odds[e] = drawable ? exp(logits[e] / a.temperature - peak / a.temperature) : 0.;
      if (a.top_k) keep_k(odds, keys, a.top_k);
      if (a.top_p < 1) keep_likeliest(odds, a.top_p);
      code = inverse_cdf(odds, uniform);
    }
    if (thread) return;
    store_word(&s.code, rank, make_word(t + 1, code));
    a.codes[place] = code;
  }
  DEVICE void run_head() {
    const float* biases = a.biases + LAYERS * (2 * G + R);
    const Quad* skips = a.skips + (long long)rank * LAYERS * SkipProduct::SIZE;
    const Quad *hidden = image + PER * LAYER_SIZE, *output = hidden + HiddenProduct::SIZE;
    for (int t = 0; t < a.n; t++) {
      const int number = t + 1;
      Far<SkipProduct> weights, next;
      weights.fetch(skips, thread);
      Sums<SkipProduct> skip;
      skip.begin(biases + rank * SkipProduct::ROWS, thread);
      for (int layer = 0; layer < LAYERS; layer++) {
        if (layer < LAYERS - 1) next.fetch(skips + (layer + 1) * SkipProduct::SIZE, thread);
        skip.add(weights, thread, [&](int k) { return take_four(&s.z[layer][k], number); });
        weights = next;
      }
      pass_on<true>(skip, number, s.skip, BLOCKS);
      multiply<HiddenProduct, true>(hidden, biases + S, number, s.skip, s.hidden, BLOCKS);
      multiply<OutputProduct, false>(output, biases + 2 * S, number, s.hidden, s.logits, 1);
      if (rank > 0) continue;
      if (a.codes) draw(t);
      else for (int c = thread; c < P; c += HEAD)
        a.params[stream * P + c] = take(s.logits + c, number);
    }
  }
};

KERNEL advance(const Arguments a) {
  Shared& s = *(Shared*)shared_memory();
  Quad* image = (Quad*)(shared_memory() + sizeof(Shared));
  Block block = {a, s, image, block_rank(), stream_index(), thread_index()};
  const int threads = GATE + RES + HEAD + TAPG, first = block.rank * PER, left = LAYERS - first;
  const int layers = left < 0 ? 0 : clamp(left, PER);
  const int thread = block.thread, size = sizeof(Shared) / 4;
  for (int i = thread; i < size; i += threads) ((volatile int*)&s)[i] = 0;
  for (int i = thread; i < IMAGE; i += threads) image[i] = a.image[block.rank * IMAGE + i];
  meet_cluster();  // nobody sends before all have cleared
  if (block.thread < GATE) block.run_gate(layers);
  else if ((block.thread -= GATE) < RES) block.run_residual(first, layers);
  else if ((block.thread -= RES) < HEAD) block.run_head();
  else block.thread -= HEAD, block.run_taps();
  meet_cluster();  // nobody ends while others may still store into its memory
}
