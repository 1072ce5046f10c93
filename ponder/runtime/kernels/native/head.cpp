// What follows the layers: logits of hidden states kept from a step, and sampling, over the rows.
#include "draw_row.h"
#include "step.h"

#include <cstring>

namespace ponder {
void run_head(Model& model, const float* hidden, int64_t rows, float* logits) {
  std::lock_guard<std::mutex> lock(model.busy);
  const int64_t width = model.shape.hidden, room = padded(width);
  const Format format = model.head.packed().format;
  const int64_t stride = row_bytes(format, room) + kVectorBytes;
  const Input input{model.buffers.inputs.room(rows * stride), stride};
  float* row = model.buffers.normed.floats(room);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < room; ++k) row[k] = k < width ? hidden[i * width + k] : 0.0f;
    model.kernels.convert(row, room, format, input, i);
  }
  const Linear job{&model.head.packed(), input, rows, logits, model.shape.vocabulary, false};
  const int64_t unit = model.kernels.panels, panels = job.weight->panels;
  model.team.each((panels + unit - 1) / unit, [&](int64_t i, int64_t next) {
    model.kernels.linear(job, {i * unit, (i + 1) * unit < panels ? (i + 1) * unit : panels, next < 0 ? nullptr : job.weight, next * unit});
  });
}

void run_linear(const Kernels& kernels, Format format, const float* weights, int64_t columns,
                int64_t inner, const float* x, int64_t rows, float* out) {
  Team team(1);
  Arena arena;
  Matrix matrix;
  matrix.pack(format, weights, columns, inner, arena, team);
  Memory inputs, padding;
  const int64_t stride = row_bytes(format, padded(inner)) + kVectorBytes;
  const Input input{inputs.room(rows * stride), stride};
  float* row = padding.floats(padded(inner));
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(row, x + i * inner, inner * sizeof(float));
    kernels.convert(row, padded(inner), format, input, i);
  }
  kernels.linear({&matrix.packed(), input, rows, out, columns, false}, {0, matrix.packed().panels, nullptr, 0});
}

void run_draws(Model& model, const float* logits, const float* biased, int64_t rows, Draw* draws) {
  std::lock_guard<std::mutex> lock(model.busy);
  const int64_t n = model.shape.vocabulary;
  model.team.each(rows, [&](int64_t i, int64_t) {
    draw_row(model.kernels, logits + i * n, biased + i * n, n, draws[i]);
  });
}

}  // namespace ponder
