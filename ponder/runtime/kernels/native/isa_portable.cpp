// The kernels in plain C++, for any machine.
#include <cmath>
#include <cstring>

#include "abi.h"
#include "half.h"

namespace ponder {
#include "lanes_portable.h"
#include "isa.h"

const Kernels portable_kernels = table<Portable>("portable");

}  // namespace ponder
