// The kernels for AVX-512 with dot products of bfloat16 and of bytes.
#if defined(__x86_64__)
#include <cmath>
#include <cstring>

#include "abi.h"
#include "half.h"

// After the standard headers: their inline functions are shared with code for any machine.
#define PONDER_AVX512_BF16
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma")
#endif

namespace ponder {
#include "lanes_avx512.h"
#include "isa.h"

const Kernels avx512_bf16_kernels = table<Avx512Bf16>("avx512_bf16");

}  // namespace ponder

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
