// Device primitives of cluster_kernel.cu: indices, messages between blocks, barriers, shuffles.
//
// Uses instructions of compute capability 9.0. Tests replace this file by an emulation on the CPU.

typedef unsigned long long Message;

#define DEVICE __device__ __forceinline__
#define NOINLINE static __device__ __noinline__
#define KERNEL \
  extern "C" __global__ void \
  __launch_bounds__(GATE_THREADS + RESIDUAL_THREADS + HEAD_THREADS + TAP_THREADS, 1)
#define UNROLL _Pragma("unroll 16")
constexpr unsigned ALL_LANES = 0xffffffff;

DEVICE int thread_index() { return threadIdx.x; }
DEVICE int stream_index() { return blockIdx.x / BLOCKS; }
DEVICE int block_rank() { return blockIdx.x % BLOCKS; }  // a cluster is a row of blocks
DEVICE char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}
DEVICE unsigned shared_address(const void* place) {
  return (unsigned)__cvta_generic_to_shared(place);
}

// Stores a message at `place` in the shared memory of another block of the cluster.
DEVICE void store_message(Message* place, int rank, Message value) {
  unsigned remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(remote) : "r"(shared_address(place)), "r"(rank));
  asm volatile("st.relaxed.cluster.shared::cluster.u64 [%0], %1;" ::"r"(remote), "l"(value));
}
// Other blocks store what is read here, so the scope is the cluster.
DEVICE Message load_message(const Message* place) {
  Message value;
  asm volatile("ld.relaxed.cluster.shared::cta.u64 %0, [%1];"
               : "=l"(value) : "r"(shared_address(place)));
  return value;
}
// Each of the two messages is read as a whole; a load of four times 32 bits would not guarantee it.
DEVICE void load_two_messages(const Message* place, Message& a, Message& b) {
  asm volatile("ld.relaxed.cluster.shared::cta.v2.u64 {%0, %1}, [%2];"
               : "=l"(a), "=l"(b) : "r"(shared_address(place)));
}
DEVICE void pause() {}  // between polls; the emulation switches threads here
// Barriers order shared and global memory among their threads. A poll may have diverged the threads
// of a warp, and a barrier counts whole warps, hence __syncwarp.
DEVICE void barrier_sync(int barrier, int threads) {
  __syncwarp();
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
DEVICE void barrier_arrive(int barrier, int threads) {
  __syncwarp();
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
DEVICE void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
template <class T>
DEVICE T shuffle_xor(T value, int mask) { return __shfl_xor_sync(ALL_LANES, value, mask); }
template <class T>
DEVICE T shuffle_up(T value, int distance) { return __shfl_up_sync(ALL_LANES, value, distance); }
DEVICE int warp_max(int value) { return __reduce_max_sync(ALL_LANES, value); }
DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Prevents the compiler from moving the computation of these numbers below this line.
DEVICE void compute_now(float4& x) {
  asm volatile("" : "+f"(x.x), "+f"(x.y), "+f"(x.z), "+f"(x.w));
}
DEVICE float bits_to_float(int bits) { return __int_as_float(bits); }
DEVICE int float_to_bits(float x) { return __float_as_int(x); }
template <class T>
DEVICE T load_from_l2(const T* place) { return __ldcg(place); }
