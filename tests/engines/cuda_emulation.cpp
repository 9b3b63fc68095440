// A GPU emulated on a CPU: every thread of a cluster is a fibre of one CPU thread. Defines the
// names of cluster_device.cuh.
//
// Includes cluster_kernel.cu, which uses these primitives. Nothing is synchronised that a GPU would
// not synchronise: warps run in turn, but some are held back at random, and stores into the memory
// of a block arrive later and in any order. So a kernel that reads without waiting, or overwrites
// what is not read yet, sooner or later generates other codes. The random numbers are seeded. A
// cluster in which nothing progresses is stopped.

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

using std::exp;

typedef unsigned long long Message;

#define DEVICE inline
#define NOINLINE static
#define KERNEL static void
#define UNROLL

struct uint2 { unsigned x, y; };
struct alignas(16) float4 { float x, y, z, w; };
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulation {
constexpr int THREADS = GATE_THREADS + RESIDUAL_THREADS + HEAD_THREADS + TAP_THREADS;
constexpr int WARPS = THREADS / 32;
constexpr int MAX_IDLE_ROUNDS = 20000;  // rounds without progress
constexpr size_t STACK_BYTES = 64 << 10;

struct Barrier { int arrived = 0, rounds = 0; };
struct Warp {
  uint64_t slots[2][32];
  int posted[32] = {};
  int held_back = 0;  // rounds
};
struct Block {
  std::vector<char> memory = std::vector<char>(SHARED_MEMORY_BYTES + 16);
  int arrivals = 0;  // of messages
  Barrier barriers[16];
  Warp warps[WARPS];
};
struct Fibre {
  ucontext_t entry;
  jmp_buf position;
  int block, thread, shuffles = 0;
  const int* watched = nullptr;  // the fibre is skipped until this number changes
  int seen = 0;
  bool started = false, finished = false;
};
struct Store { int block; uint64_t* place; uint64_t value; int rounds; };

static std::vector<Block> blocks;
static std::vector<Fibre> fibres;
static std::vector<Store> stores_in_flight;
static std::vector<char> stacks;
static Barrier cluster;
static Fibre* current;
static jmp_buf scheduler;
static int stream, progress, running;
static std::minstd_rand generator;

inline int random_below(int limit) { return generator() / 7 % limit; }
inline void yield_fibre() { if (!_setjmp(current->position)) _longjmp(scheduler, 1); }
// Runs other fibres until a number changes, or until nothing else progresses.
inline void wait_for_change(const int& number) {
  current->watched = &number;
  current->seen = number;
  yield_fibre();
  current->watched = nullptr;
}
// Fibres start by setcontext, but continue by jumps, which need no system call.
__attribute__((noinline)) inline void resume() {
  if (_setjmp(scheduler)) return;
  if (current->started) _longjmp(current->position, 1);
  current->started = true;
  setcontext(&current->entry);
}
inline Block& block() { return blocks[current->block]; }
inline char* memory_of(int rank) {
  return (char*)(((uintptr_t)blocks[rank].memory.data() + 15) & ~(uintptr_t)15);
}
inline bool arrive(Barrier& barrier, int expected) {
  progress = 1;
  if (++barrier.arrived < expected) return false;
  barrier.arrived = 0;
  barrier.rounds++;
  return true;
}
inline void pass(Barrier& barrier, int expected) {
  const int round = barrier.rounds;
  if (!arrive(barrier, expected)) while (barrier.rounds == round) wait_for_change(barrier.rounds);
  progress = 1;
}
// Every lane posts a value; returns the value of another lane.
template <class T>
T exchange(T value, int source) {
  Warp& warp = block().warps[current->thread / 32];
  const int count = ++current->shuffles, lane = current->thread % 32;
  memcpy(&warp.slots[count & 1][lane], &value, sizeof value);
  warp.posted[lane] = count;
  for (int other = 0; other < 32; other++)
    while (warp.posted[other] < count) wait_for_change(warp.posted[other]);
  progress = 1;
  memcpy(&value, &warp.slots[count & 1][source], sizeof value);
  return value;
}
}  // namespace emulation

DEVICE int thread_index() { return emulation::current->thread; }
DEVICE int stream_index() { return emulation::stream; }
DEVICE int block_rank() { return emulation::current->block; }
DEVICE char* shared_memory() { return emulation::memory_of(block_rank()); }
DEVICE void store_message(Message* place, int rank, Message value) {
  if (rank < 0 || rank >= BLOCKS) abort();
  auto* remote = (uint64_t*)(emulation::memory_of(rank) + ((char*)place - shared_memory()));
  emulation::stores_in_flight.push_back({rank, remote, value, emulation::random_below(4)});
  emulation::progress = 1;
  if (emulation::random_below(8) == 0) emulation::yield_fibre();
}
DEVICE Message load_message(const Message* place) { return *place; }
DEVICE void load_two_messages(const Message* place, Message& a, Message& b) {
  a = place[0];
  b = place[1];
}
DEVICE void pause() { emulation::wait_for_change(emulation::block().arrivals); }
DEVICE void barrier_sync(int barrier, int threads) {
  emulation::pass(emulation::block().barriers[barrier], threads);
}
DEVICE void barrier_arrive(int barrier, int threads) {
  emulation::arrive(emulation::block().barriers[barrier], threads);
  emulation::yield_fibre();
}
DEVICE void cluster_sync() {
  emulation::pass(emulation::cluster, BLOCKS * emulation::THREADS);
}
template <class T>
DEVICE T shuffle_xor(T value, int mask) {
  return emulation::exchange(value, (thread_index() % 32) ^ mask);
}
template <class T>
DEVICE T shuffle_up(T value, int distance) {
  const int lane = thread_index() % 32;
  return emulation::exchange(value, lane < distance ? lane : lane - distance);
}
DEVICE int warp_max(int value) {
  for (int mask = 1; mask < 32; mask *= 2) {
    const int other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}
DEVICE void compute_now(float4&) {}
DEVICE float reciprocal(float x) { return 1 / x; }
DEVICE float bits_to_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
DEVICE int float_to_bits(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
template <class T>
DEVICE T load_from_l2(const T* place) { return *place; }

#include KERNEL_SOURCE

namespace emulation {
static const KernelArguments* arguments;
inline void run_fibre() {
  generate_stream(*arguments);
  current->finished = true;
  running--;
  progress = 1;
  _longjmp(scheduler, 1);
}

// Completes the stores that have been in flight for long enough.
inline void deliver_stores() {
  for (size_t i = 0; i < stores_in_flight.size();) {
    Store& store = stores_in_flight[i];
    if (store.rounds-- > 0) { i++; continue; }
    *store.place = store.value;
    blocks[store.block].arrivals++;
    store = stores_in_flight.back();
    stores_in_flight.pop_back();
    progress = 1;
  }
}
// Runs every warp that is not held back; with `all`, waiting fibres too.
inline void run_warps(bool all) {
  for (int warp = 0; warp < BLOCKS * WARPS; warp++) {
    int& held_back = blocks[warp / WARPS].warps[warp % WARPS].held_back;
    if (held_back == 0 && random_below(64) == 0) held_back = random_below(60);
    if (held_back > 0) { held_back--; continue; }
    for (int lane = 0; lane < 32; lane++) {
      current = &fibres[warp * 32 + lane];
      const bool waits = current->watched && *current->watched == current->seen;
      if (!current->finished && (all || !waits)) resume();
    }
  }
}
// Returns 0, or 1 if the cluster was stopped.
inline int run_cluster() {
  blocks.assign(BLOCKS, Block());
  fibres.assign(BLOCKS * THREADS, Fibre());
  stacks.resize(fibres.size() * STACK_BYTES);
  stores_in_flight.clear();
  cluster = Barrier();
  running = BLOCKS * THREADS;
  for (size_t i = 0; i < fibres.size(); i++) {
    Fibre& fibre = fibres[i];
    fibre.block = i / THREADS;
    fibre.thread = i % THREADS;
    getcontext(&fibre.entry);
    fibre.entry.uc_stack.ss_sp = stacks.data() + i * STACK_BYTES;
    fibre.entry.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fibre.entry, run_fibre, 0);
  }
  int idle_rounds = 0;
  do {
    progress = 0;
    deliver_stores();
    run_warps(idle_rounds > 0);
    idle_rounds = progress ? 0 : idle_rounds + 1;
  } while (running && idle_rounds < MAX_IDLE_ROUNDS);
  return running > 0;
}
}  // namespace emulation

// Runs the kernel for some streams, one after the other; returns 0, or 1 if a cluster was stopped.
extern "C" int emulate(int streams, unsigned seed, const KernelArguments* a) {
  emulation::generator.seed(seed);
  emulation::arguments = a;
  for (emulation::stream = 0; emulation::stream < streams; emulation::stream++)
    if (emulation::run_cluster()) return 1;
  return 0;
}
