// The kernels of AVX-512 with bfloat16, with products on the machine's matrix tiles.
#if defined(__x86_64__)
#include <cmath>
#include <cstring>

#include "abi.h"
#include "half.h"

// After the standard headers: their inline functions are shared with code for any machine.
#define PONDER_AVX512_BF16
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,amx-tile,amx-bf16"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma")
#endif

namespace ponder {
#include "lanes_avx512.h"
#include "isa.h"
#include "tiles_amx.h"

namespace {

// Not the compilers' intrinsics: those name tiles by literals only, and gcc 12's do not tell the
// compiler that they read memory.
struct AmxTiles {
  static void configure(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
  static void release() { asm volatile("tilerelease"); }

  template <int T>
  static void load(const char* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  static void store(char* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(T) : "memory");
  }
  template <int Sum, int X, int W>
  static void pairs() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(X), "i"(W));
  }
};

}  // namespace

const Kernels amx_kernels = with_tiles<Avx512Bf16, AmxTiles>("amx");

}  // namespace ponder

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
