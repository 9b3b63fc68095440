// Stands in for a GPU: every thread of a cluster is a fibre of one thread of the CPU. Has the names
// of cluster_device.cuh.
//
// Includes cluster_kernel.cu, which takes its primitives from here. Nothing is in step that
// need not be: warps run in turn, but some are held back for a while, by chance, and what is stored
// into the memory of a block arrives later and in any order. So whoever reads without waiting, or
// overwrites what is still to be read, gives other codes sooner or later. The chance is seeded.
// A cluster in which nothing moves any more is given up.

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

typedef unsigned long long Word;

#define DEVICE inline
#define COLD static
#define KERNEL static void
#define UNROLL

struct uint2 { unsigned x, y; };
struct alignas(16) float4 { float x, y, z, w; };
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulation {
constexpr int THREADS = GATE + RES + HEAD + TAPG, WARPS = THREADS / 32;
constexpr int GIVEN_UP = 20000;  // rounds in which nothing moved
constexpr size_t STACK = 64 << 10;

struct Barrier { int arrived = 0, rounds = 0; };
struct Warp {
  uint64_t slots[2][32];
  int posted[32] = {};
  int held_back = 0;
};
struct Block {
  std::vector<char> memory = std::vector<char>(SHARED_BYTES + 16);
  int arrivals = 0;  // of words
  Barrier barriers[16];
  Warp warps[WARPS];
};
struct Fibre {
  ucontext_t beginning;
  jmp_buf place;
  int block, thread, shuffles = 0;
  const int* watched = nullptr;  // has no turn before this changes
  int seen = 0;
  bool begun = false, over = false;
};
struct Flight { int block; uint64_t* place; uint64_t value; int rounds; };

static std::vector<Block> blocks;
static std::vector<Fibre> fibres;
static std::vector<Flight> in_flight;
static std::vector<char> stacks;
static Barrier cluster;
static Fibre* current;
static jmp_buf scheduler;
static int stream, moved, running;
static std::minstd_rand generator;

inline int chance(int below) { return generator() / 7 % below; }
inline void give_turn() { if (!_setjmp(current->place)) _longjmp(scheduler, 1); }
// Gives others their turn until a number changes, or nothing else moves.
inline void wait_for(const int& number) {
  current->watched = &number;
  current->seen = number;
  give_turn();
  current->watched = nullptr;
}
// Fibres begin by setcontext, but go on by jumps, which need no call into the system.
__attribute__((noinline)) inline void resume() {
  if (_setjmp(scheduler)) return;
  if (current->begun) _longjmp(current->place, 1);
  current->begun = true;
  setcontext(&current->beginning);
}
inline Block& block() { return blocks[current->block]; }
inline char* memory_of(int rank) {
  return (char*)(((uintptr_t)blocks[rank].memory.data() + 15) & ~(uintptr_t)15);
}
inline bool arrive(Barrier& barrier, int expected) {
  moved = 1;
  if (++barrier.arrived < expected) return false;
  barrier.arrived = 0;
  barrier.rounds++;
  return true;
}
inline void pass(Barrier& barrier, int expected) {
  const int round = barrier.rounds;
  if (!arrive(barrier, expected)) while (barrier.rounds == round) wait_for(barrier.rounds);
  moved = 1;
}
// All lanes post a value; gives that of another.
template <class T>
T exchange(T value, int source) {
  Warp& warp = block().warps[current->thread / 32];
  const int count = ++current->shuffles, lane = current->thread % 32;
  memcpy(&warp.slots[count & 1][lane], &value, sizeof value);
  warp.posted[lane] = count;
  for (int other = 0; other < 32; other++) 
    while (warp.posted[other] < count) wait_for(warp.posted[other]);
  moved = 1;
  memcpy(&value, &warp.slots[count & 1][source], sizeof value);
  return value;
}
}  // namespace emulation

DEVICE int thread_index() { return emulation::current->thread; }
DEVICE int stream_index() { return emulation::stream; }
DEVICE int block_rank() { return emulation::current->block; }
DEVICE char* shared_memory() { return emulation::memory_of(block_rank()); }
DEVICE void store_word(Word* here, int rank, Word value) {
  if (rank < 0 || rank >= BLOCKS) abort();
  auto* place = (uint64_t*)(emulation::memory_of(rank) + ((char*)here - shared_memory()));
  emulation::in_flight.push_back({rank, place, value, emulation::chance(4)});
  emulation::moved = 1;
  if (emulation::chance(8) == 0) emulation::give_turn();
}
DEVICE Word load_word(const Word* here) { return *here; }
DEVICE void load_words(const Word* here, Word& a,
                       Word& b) {
  a = here[0];
  b = here[1];
}
DEVICE void pause() { emulation::wait_for(emulation::block().arrivals); }
DEVICE void meet(int barrier, int threads) {
  emulation::pass(emulation::block().barriers[barrier], threads);
}
DEVICE void announce(int barrier, int threads) {
  emulation::arrive(emulation::block().barriers[barrier], threads);
  emulation::give_turn();
}
DEVICE void meet_cluster() {
  emulation::pass(emulation::cluster, BLOCKS * emulation::THREADS);
}
template <class T>
DEVICE T from_lane_xor(T value, int mask) {
  return emulation::exchange(value, (thread_index() % 32) ^ mask);
}
template <class T>
DEVICE T from_lanes_before(T value, int distance) {
  const int lane = thread_index() % 32;
  return emulation::exchange(value, lane < distance ? lane : lane - distance);
}
DEVICE int largest_of_warp(int value) {
  for (int mask = 1; mask < 32; mask *= 2) {
    const int other = from_lane_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}
DEVICE void pin(float4&) {}
DEVICE float reciprocal(float x) { return 1 / x; }
DEVICE float bits_to_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
DEVICE int float_to_bits(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
template <class T>
DEVICE T load_from_l2(const T* place) { return *place; }

#include KERNEL_SOURCE

namespace emulation {
static const Arguments* arguments;
inline void enter_fibre() {
  advance(*arguments);
  current->over = true;
  running--;
  moved = 1;
  _longjmp(scheduler, 1);
}

// One round: what has been under way for long enough arrives, then every warp has its turn.
inline void deliver() {
  for (size_t i = 0; i < in_flight.size();) {
    if (in_flight[i].rounds-- > 0) { i++; continue; }
    *in_flight[i].place = in_flight[i].value;
    blocks[in_flight[i].block].arrivals++;
    in_flight[i] = in_flight.back();
    in_flight.pop_back();
    moved = 1;
  }
}
inline void run_warps(bool all) {
  for (int warp = 0; warp < BLOCKS * WARPS; warp++) {
    int& held_back = blocks[warp / WARPS].warps[warp % WARPS].held_back;
    if (held_back == 0 && chance(64) == 0) held_back = chance(60);
    if (held_back > 0) { held_back--; continue; }
    for (int lane = 0; lane < 32; lane++) {
      current = &fibres[warp * 32 + lane];
      const bool waits = current->watched && *current->watched == current->seen;
      if (!current->over && (all || !waits)) resume();
    }
  }
}
// Gives 0, or 1 if the cluster was given up.
inline int run_cluster() {
  blocks.assign(BLOCKS, Block());
  fibres.assign(BLOCKS * THREADS, Fibre());
  stacks.resize(fibres.size() * STACK);
  in_flight.clear();
  cluster = Barrier();
  running = BLOCKS * THREADS;
  for (size_t i = 0; i < fibres.size(); i++) {
    Fibre& fibre = fibres[i];
    fibre.block = i / THREADS;
    fibre.thread = i % THREADS;
    getcontext(&fibre.beginning);
    fibre.beginning.uc_stack.ss_sp = stacks.data() + i * STACK;
    fibre.beginning.uc_stack.ss_size = STACK;
    makecontext(&fibre.beginning, enter_fibre, 0);
  }
  int idle = 0;
  do {
    moved = 0;
    deliver();
    run_warps(idle > 0);
    idle = moved ? 0 : idle + 1;
  } while (running && idle < GIVEN_UP);
  return running > 0;
}
}  // namespace emulation

// Runs the kernel for some streams, one after the other; 0, or 1 if one was given up.
extern "C" int emulate(int streams, unsigned seed, const Arguments* a) {
  emulation::generator.seed(seed);
  emulation::arguments = a;
  for (emulation::stream = 0; emulation::stream < streams; emulation::stream++)
    if (emulation::run_cluster()) return 1;
  return 0;
}
