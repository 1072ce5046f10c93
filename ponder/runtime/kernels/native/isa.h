// Included last by each instruction set's file: the kernels, and the table of them for lanes `L`.
#pragma once

#include "arithmetic.h"
#include "tile.h"
#include "grouped.h"
#include "linear.h"
#include "rows.h"
#include "turn.h"
#include "places.h"
#include "attention.h"
#include "draw.h"

namespace {

template <class L>
constexpr Kernels table(const char* name) {
  return {name,  linear<L>,    gated<L>,  L::kPanels, norm<L>,
          convert<L>, turn<L>, attend<L>, finish<L>, largest<L>, weigh<L>};
}

}  // namespace
