// What the kernel of cluster_kernel.cu asks of a device: places, words between blocks, barriers, lanes.
//
// Instructions of compute capability 9.0. Tests put others in their place, on a CPU.

typedef unsigned long long Word;

#define DEVICE __device__ __forceinline__
#define COLD static __device__ __noinline__
#define KERNEL extern "C" __global__ void __launch_bounds__(GATE + RES + HEAD + TAPG, 1)
#define UNROLL _Pragma("unroll 16")
constexpr unsigned ALL_LANES = 0xffffffff;

DEVICE int thread_index() { return threadIdx.x; }
DEVICE int stream_index() { return blockIdx.x / BLOCKS; }
DEVICE int block_rank() { return blockIdx.x % BLOCKS; }  // clusters are a row of blocks
DEVICE char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}
DEVICE unsigned address(const void* here) { return (unsigned)__cvta_generic_to_shared(here); }

// Stores into the shared memory of a block of the cluster what lies here in our own.
DEVICE void store_word(Word* here, int rank, Word value) {
  unsigned there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address(here)), "r"(rank));
  asm volatile("st.relaxed.cluster.shared::cluster.u64 [%0], %1;" ::"r"(there), "l"(value));
}
// Other blocks store what is read here, hence the scope of the cluster.
DEVICE Word load_word(const Word* here) {
  Word value;
  asm volatile("ld.relaxed.cluster.shared::cta.u64 %0, [%1];" : "=l"(value) : "r"(address(here)));
  return value;
}
// Each of the two is whole, which a load of four times 32 bits would not promise.
DEVICE void load_words(const Word* here, Word& a, Word& b) {
  asm volatile("ld.relaxed.cluster.shared::cta.v2.u64 {%0, %1}, [%2];"
               : "=l"(a), "=l"(b) : "r"(address(here)));
}
DEVICE void pause() {}  // between polls; the fibres of a test change turns here
// Barriers order shared and global memory among those who take part. A poll may have parted the
// threads of a warp, and a barrier counts whole warps.
DEVICE void meet(int barrier, int threads) {
  __syncwarp();
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
DEVICE void announce(int barrier, int threads) {
  __syncwarp();
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
DEVICE void meet_cluster() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
template <class T>
DEVICE T from_lane_xor(T value, int mask) { return __shfl_xor_sync(ALL_LANES, value, mask); }
template <class T>
DEVICE T from_lanes_before(T value, int far) { return __shfl_up_sync(ALL_LANES, value, far); }
DEVICE int largest_of_warp(int value) { return __reduce_max_sync(ALL_LANES, value); }
DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Has the compiler compute these here and not where they are used.
DEVICE void pin(float4& x) { asm volatile("" : "+f"(x.x), "+f"(x.y), "+f"(x.z), "+f"(x.w)); }
DEVICE float bits_to_float(int bits) { return __int_as_float(bits); }
DEVICE int float_to_bits(float x) { return __float_as_int(x); }
template <class T>
DEVICE T load_from_l2(const T* place) { return __ldcg(place); }
