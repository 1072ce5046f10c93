// The kernels for AVX-512 (F, BW, DQ, VL).
#if defined(__x86_64__)
#include <cmath>
#include <cstring>

#include "abi.h"
#include "half.h"

// After the standard headers: their inline functions are shared with code for any machine.
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

namespace ponder {
#include "lanes_avx512.h"
#include "isa.h"

const Kernels avx512_kernels = table<Avx512>("avx512");

}  // namespace ponder

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
