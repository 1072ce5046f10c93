// The kernels for AVX2 with fused multiply-add and half precision (F16C).
#if defined(__x86_64__)
#include <cmath>
#include <cstring>

#include "abi.h"
#include "half.h"

// After the standard headers: their inline functions are shared with code for any machine.
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

namespace ponder {
#include "lanes_avx2.h"
#include "isa.h"

const Kernels avx2_kernels = table<Avx2>("avx2");

}  // namespace ponder

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
