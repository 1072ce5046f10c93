// Matrix products over packed panels, and what is done with each tile: store, add, or gate. A tile
// runs over the whole inner dimension at once: to stop on the way, so that panels stay in the nearest
// cache while rows pass by, was measured and is 10 % slower.
#pragma once

namespace {

// Bytes asked for ahead, at most: they must find room beside what is in use.
constexpr int64_t kMostAhead = 256 << 10;

template <class L>
constexpr int kSums = L::kRows * L::kPanels * kLanes;

template <class L, class D>
void sums(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out, Ahead& ahead) {
  const char* sources[L::kPanels] = {};
  for (int p = 0; p < panels; ++p) sources[p] = job.weight->panel(panel + p);
  const int64_t steps = job.weight->steps;
  const Tile<float> t{sources, job.input.row(row), job.input.stride, steps, steps, out, panels * kLanes, false};
  any_tile<D, L::kRows, L::kPanels>(rows, panels, t, ahead);
}

template <class L, class W>
void grouped_sums(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out, Ahead& ahead) {
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
    any_grouped_tile<L, W, L::kGroupedRows, L::kPanels>(count, panels, t, ahead);
  }
}

// [rows][panels * 16] floats
template <class L>
void product(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out, Ahead& ahead) {
  switch (job.weight->format) {
    case kFloat32: return sums<L, DotFloat<L>>(job, row, rows, panel, panels, out, ahead);
    case kBfloat16: return sums<L, DotPairs<L>>(job, row, rows, panel, panels, out, ahead);
    case kInt8: return grouped_sums<L, Bytes<L>>(job, row, rows, panel, panels, out, ahead);
    case kInt4: return grouped_sums<L, HalfBytes<L>>(job, row, rows, panel, panels, out, ahead);
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

// The panels of `then` from `next` on, while a thread is at those of `job`. Where a product reads its
// weights once anyhow, the processor's own guesses serve better.
template <class L>
Ahead ahead_of(const Linear& job, const Packed* then, int64_t next) {
  if (!then || job.rows <= L::kRows) return {};
  const int64_t left = then->panels - next, panels = left < L::kPanels ? left : L::kPanels;
  const int64_t bytes = panels * then->vectors() * kVectorBytes;
  if (bytes > kMostAhead) return {};
  const bool groups = grouped(job.weight->format);
  const int64_t rows = groups ? L::kGroupedRows : L::kRows, steps = groups ? kGroupSteps : kStepsPerTurn;
  return {then->panel(next), bytes, (job.rows + rows - 1) / rows * (job.weight->steps / steps)};
}

// Calls what(row, rows, panel, panels) for each tile, and begin(next) before those of other panels; -1:
// they are the last here.
template <class L, class Begin, class Do>
void each_tile(int64_t rows, const Span& span, Begin begin, Do what) {
  for (int64_t panel = span.first, next; panel < span.last; panel = next) {
    next = panel + L::kPanels;
    begin(next < span.last ? next : -1);
    for (int64_t row = 0; row < rows; row += L::kRows)
      what(row, (int)(rows - row < L::kRows ? rows - row : L::kRows), panel,
           (int)(span.last - panel < L::kPanels ? span.last - panel : L::kPanels));
  }
}

template <class L>
void linear(const Linear& job, const Span& span) {
  alignas(64) float out[kSums<L>];
  Ahead ahead;
  const auto begin = [&](int64_t next) {
    ahead = next < 0 ? ahead_of<L>(job, span.then, span.next) : ahead_of<L>(job, job.weight, next);
  };
  each_tile<L>(job.rows, span, begin, [&](int64_t row, int rows, int64_t panel, int panels) {
    product<L>(job, row, rows, panel, panels, out, ahead);
    for (int i = 0; i < rows * panels; ++i)
      emit<L>(job, row + i / panels, panel + i % panels, out + i * kLanes);
  });
}

template <class L>
void gated(const Linear& gate, const Linear& up, const Span& span) {
  alignas(64) float g[kSums<L>], u[kSums<L>];
  Ahead gate_ahead, up_ahead;
  const auto begin = [&](int64_t next) {
    const bool leaves = next < 0 && span.then != gate.weight;
    if (next < 0) next = span.next;
    gate_ahead = ahead_of<L>(gate, leaves ? span.then : gate.weight, next);
    up_ahead = ahead_of<L>(up, leaves ? nullptr : up.weight, next);
  };
  each_tile<L>(gate.rows, span, begin, [&](int64_t row, int rows, int64_t panel, int panels) {
    product<L>(gate, row, rows, panel, panels, g, gate_ahead);
    product<L>(up, row, rows, panel, panels, u, up_ahead);
    for (int i = 0; i < rows * panels; ++i) {
      float* out = gate.output + (row + i / panels) * gate.stride + (panel + i % panels) * kLanes;
      L::store(out, L::mul(silu<L>(L::load(g + i * kLanes)), L::load(u + i * kLanes)));
    }
  });
}

}  // namespace
