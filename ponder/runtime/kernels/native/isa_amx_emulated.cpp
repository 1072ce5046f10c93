// The plain kernels, with products on emulated tiles: for tests of the index work, not for use.
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "abi.h"
#include "half.h"

namespace ponder {
#include "lanes_portable.h"
#include "isa.h"
#include "tiles_amx.h"
#include "tiles_emulated.h"

const Kernels amx_emulated_kernels = with_tiles<Portable, EmulatedTiles>("amx_emulated");

}  // namespace ponder
