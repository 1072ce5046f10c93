// One forward pass: what it is given and where its results go.
#pragma once

#include "model.h"
#include "plan.h"

namespace ponder {

// Nanoseconds, by phase.
enum Phase : int { kLinearTime, kAttentionTime, kOtherTime, kPhases };

struct Step {
  const int64_t* tokens;  // [rows], work by work
  const Work* works;
  int64_t work_count;
  const int64_t* wanted;  // [wanted_count] rows
  int64_t wanted_count;
  char* keys;    // [layers][kv_heads][pages][page bytes]
  char* values;
  int64_t pages;
  float* hidden;  // [wanted_count][hidden], normed
  int64_t nanoseconds[kPhases];  // out, of the first thread
};

void run(Model& model, Step& step);
// Logits of given hidden states.
void run_head(Model& model, const float* hidden, int64_t rows, float* logits);
// x [rows, inner] times weights [columns, inner], transposed: a layer's product by itself, for tests.
void run_linear(const Kernels& kernels, Format format, const float* weights, int64_t columns,
                int64_t inner, const float* x, int64_t rows, float* out);
// One token a row; `biased` may be `logits`.
void run_draws(Model& model, const float* logits, const float* biased, int64_t rows, Draw* draws);

}  // namespace ponder
