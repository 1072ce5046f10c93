// Sampling's face to the step.
#pragma once

#include "abi.h"

namespace ponder {

constexpr int32_t kForbidden = -1;
constexpr int32_t kNotFinite = -2;

// Fills in `draw`'s token and log-probability. `biased` may be `logits`.
void draw_row(const Kernels& kernels, const float* logits, const float* biased, int64_t n, Draw& draw);

}  // namespace ponder
