// The kernels for NEON, which every 64-bit Arm has.
#if defined(__aarch64__)
#include <cmath>
#include <cstring>

#include "abi.h"
#include "half.h"

#include <arm_neon.h>

namespace ponder {
#include "lanes_neon.h"
#include "isa.h"

const Kernels neon_kernels = table<Neon>("neon");

}  // namespace ponder
#endif
