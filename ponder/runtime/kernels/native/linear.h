// Matrix products over packed panels, and what is done with each tile: store, add, or gate.
//
// Blocked so that a stretch of a few panels stays in the nearest cache while a chunk of rows passes
// by. The sums wait in `out` between stretches: the chain of each is in order all the same.
#pragma once

namespace {

constexpr int kChunk = 64;            // rows whose sums are kept at a time
constexpr int64_t kStretch = 128;     // steps of the inner dimension; whole groups

// One tile of rows reads each panel once, so there is nothing to keep near; a stop between
// stretches would only interrupt the stream from memory.
template <class L>
constexpr int64_t stretch_of(int64_t steps, int rows) {
  return rows > L::kRows && steps > kStretch ? kStretch : steps;
}

template <class L>
constexpr int kSums = kChunk * L::kPanels * kLanes;

template <class L, class D>
void sums(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out) {
  const Packed& weight = *job.weight;
  const int width = panels * kLanes;
  const int64_t stretch = stretch_of<L>(weight.steps, rows);
  for (int64_t step = 0; step < weight.steps; step += stretch) {
    const int64_t count = weight.steps - step < stretch ? weight.steps - step : stretch;
    const char* sources[L::kPanels];
    for (int p = 0; p < panels; ++p) sources[p] = weight.panel(panel + p) + step * kVectorBytes;
    for (int r = 0; r < rows; r += L::kRows) {
      const Tile<float> t{sources, job.input.row(row + r) + step * 4, job.input.stride, count, count,
                          out + r * width, width, step > 0};
      any_tile<D, L::kRows, L::kPanels>(rows - r < L::kRows ? rows - r : L::kRows, panels, t);
    }
  }
}

template <class L, class W>
void grouped_sums(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out) {
  const Packed& weight = *job.weight;
  const int width = panels * kLanes;
  const int64_t all = weight.steps / kGroupSteps;
  const int64_t stretch = stretch_of<L>(weight.steps, rows) / kGroupSteps;
  for (int64_t group = 0; group < all; group += stretch) {
    const char* sources[L::kPanels];
    const uint16_t* scales[L::kPanels];
    for (int p = 0; p < panels; ++p) {
      sources[p] = weight.panel(panel + p) + group * W::kVectors * kVectorBytes;
      scales[p] = weight.panel_scales(panel + p) + group * W::kScales;
    }
    for (int r = 0; r < rows; r += L::kRows) {
      const char* x = job.input.row(row + r);
      const GroupedTile t{sources,
                          scales,
                          x + group * kGroup,
                          x + weight.steps * 4 + group * (int64_t)sizeof(Group),
                          job.input.stride,
                          all - group < stretch ? all - group : stretch,
                          out + r * width,
                          width,
                          group > 0};
      any_grouped_tile<L, W, L::kRows, L::kPanels>(rows - r < L::kRows ? rows - r : L::kRows, panels, t);
    }
  }
}

// [rows][panels * 16] floats
template <class L>
void product(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out) {
  switch (job.weight->format) {
    case kFloat32: return sums<L, DotFloat<L>>(job, row, rows, panel, panels, out);
    case kBfloat16: return sums<L, DotPairs<L>>(job, row, rows, panel, panels, out);
    case kInt8: return grouped_sums<L, Bytes<L>>(job, row, rows, panel, panels, out);
    case kInt4: return grouped_sums<L, HalfBytes<L>>(job, row, rows, panel, panels, out);
  }
}

template <class L>
void emit(const Linear& job, int64_t row, int64_t panel, const float* values) {
  const int64_t column = panel * kLanes, room = job.weight->columns - column;
  float* out = job.output + row * job.stride + column;
  auto x = L::load(values);
  if (room >= kLanes) {
    L::store(out, job.add ? L::add(L::load(out), x) : x);
    return;
  }
  for (int64_t i = 0; i < room; ++i) out[i] = job.add ? out[i] + values[i] : values[i];
}

// Calls what(row, rows, panel, panels) for chunks of rows and a few panels at a time.
template <class L, class Do>
void each_chunk(int64_t rows, int64_t first, int64_t last, Do what) {
  for (int64_t panel = first; panel < last; panel += L::kPanels)
    for (int64_t row = 0; row < rows; row += kChunk)
      what(row, (int)(rows - row < kChunk ? rows - row : kChunk), panel,
           (int)(last - panel < L::kPanels ? last - panel : L::kPanels));
}

template <class L>
void linear(const Linear& job, int64_t first, int64_t last) {
  alignas(64) float out[kSums<L>];
  each_chunk<L>(job.rows, first, last, [&](int64_t row, int rows, int64_t panel, int panels) {
    product<L>(job, row, rows, panel, panels, out);
    for (int i = 0; i < rows * panels; ++i)
      emit<L>(job, row + i / panels, panel + i % panels, out + i * kLanes);
  });
}

template <class L>
void gated(const Linear& gate, const Linear& up, int64_t first, int64_t last) {
  alignas(64) float g[kSums<L>], u[kSums<L>];
  each_chunk<L>(gate.rows, first, last, [&](int64_t row, int rows, int64_t panel, int panels) {
    product<L>(gate, row, rows, panel, panels, g);
    product<L>(up, row, rows, panel, panels, u);
    for (int i = 0; i < rows * panels; ++i) {
      float* out = gate.output + (row + i / panels) * gate.stride + (panel + i % panels) * kLanes;
      L::store(out, L::mul(silu<L>(L::load(g + i * kLanes)), L::load(u + i * kLanes)));
    }
  });
}

}  // namespace
