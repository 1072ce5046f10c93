// Matrix products over packed panels, and what is done with each tile: store, add, or gate. A tile
// runs over the whole inner dimension at once: to stop on the way, so that panels stay in the nearest
// cache while rows pass by, was measured and is 10 % slower.
#pragma once

namespace {

template <class L>
constexpr int kSums = L::kRows * L::kPanels * kLanes;

template <class L, class D>
void sums(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out) {
  const char* sources[L::kPanels] = {};
  for (int p = 0; p < panels; ++p) sources[p] = job.weight->panel(panel + p);
  const int64_t steps = job.weight->steps;
  const Tile<float> t{sources, job.input.row(row), job.input.stride, steps, steps, out, panels * kLanes, false};
  any_tile<D, L::kRows, L::kPanels>(rows, panels, t);
}

template <class L, class W>
void grouped_sums(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out) {
  const Packed& weight = *job.weight;
  const char* sources[L::kPanels] = {};
  const uint16_t* scales[L::kPanels] = {};
  for (int p = 0; p < panels; ++p) {
    sources[p] = weight.panel(panel + p);
    scales[p] = weight.panel_scales(panel + p);
  }
  // Fewer rows than elsewhere: a group's whole-number sums need registers beside those of floats.
  for (int r = 0; r < rows; r += L::kGroupedRows) {
    const char* x = job.input.row(row + r);
    const GroupedTile t{sources, scales, x, x + weight.steps * 4, job.input.stride, weight.steps / kGroupSteps,
                        out + r * panels * kLanes, panels * kLanes};
    const int count = rows - r < L::kGroupedRows ? rows - r : L::kGroupedRows;
    any_grouped_tile<L, W, L::kGroupedRows, L::kPanels>(count, panels, t);
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

// Calls what(row, rows, panel, panels) for each tile.
template <class L, class Do>
void each_tile(int64_t rows, int64_t first, int64_t last, Do what) {
  for (int64_t panel = first; panel < last; panel += L::kPanels)
    for (int64_t row = 0; row < rows; row += L::kRows)
      what(row, (int)(rows - row < L::kRows ? rows - row : L::kRows), panel,
           (int)(last - panel < L::kPanels ? last - panel : L::kPanels));
}

template <class L>
void linear(const Linear& job, int64_t first, int64_t last) {
  alignas(64) float out[kSums<L>];
  each_tile<L>(job.rows, first, last, [&](int64_t row, int rows, int64_t panel, int panels) {
    product<L>(job, row, rows, panel, panels, out);
    for (int i = 0; i < rows * panels; ++i)
      emit<L>(job, row + i / panels, panel + i % panels, out + i * kLanes);
  });
}

template <class L>
void gated(const Linear& gate, const Linear& up, int64_t first, int64_t last) {
  alignas(64) float g[kSums<L>], u[kSums<L>];
  each_tile<L>(gate.rows, first, last, [&](int64_t row, int rows, int64_t panel, int panels) {
    product<L>(gate, row, rows, panel, panels, g);
    product<L>(up, row, rows, panel, panels, u);
    for (int i = 0; i < rows * panels; ++i) {
      float* out = gate.output + (row + i / panels) * gate.stride + (panel + i % panels) * kLanes;
      L::store(out, L::mul(silu<L>(L::load(g + i * kLanes)), L::load(u + i * kLanes)));
    }
  });
}

}  // namespace
