// See tiles_check.cpp.
#pragma once

#include "abi.h"

namespace ponder {

// Whether products of bfloat16 are what `reference` gives, and a row's the same alone.
bool same_products(const Kernels& kernels, const Kernels& reference);
// Asks the system for the tiles when first called. The machine must have AVX-512 with bfloat16.
bool has_amx();

}  // namespace ponder
