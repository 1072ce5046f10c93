// The kernels for NEON with dot products of bytes.
#if defined(__aarch64__)
#include <cmath>
#include <cstring>

#include "abi.h"
#include "half.h"

// After the standard headers: their inline functions are shared with code for any machine.
#define PONDER_NEON_DOTPROD
#include <arm_neon.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace ponder {
#include "lanes_neon.h"
#include "isa.h"

const Kernels neon_dotprod_kernels = table<NeonDotprod>("neon_dotprod");

}  // namespace ponder

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
