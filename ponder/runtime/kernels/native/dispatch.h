// Which kernels this machine can run.
#pragma once

#include "abi.h"

namespace ponder {

// By name, or the best this machine has for ""; null where it has none by that name.
const Kernels* find_kernels(const char* name);
// Names of what this machine has, best first, separated by spaces.
const char* known_kernels();

}  // namespace ponder
