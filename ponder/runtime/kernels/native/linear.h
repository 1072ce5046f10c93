// Matrix products over packed panels, and what is done with each tile: store, add, or gate.
#pragma once

namespace {

constexpr int kMaxTile = 8 * 4 * kLanes;

template <class L, class D>
void sums(const Linear& job, int64_t row, int rows, int64_t panel, int panels,
          typename D::Out* out) {
  const char* sources[L::kPanels];
  for (int p = 0; p < panels; ++p) sources[p] = job.weight->panel(panel + p);
  const int64_t steps = job.weight->steps;
  const Tile<typename D::Out> t{sources,           job.input.row(row), job.input.stride, steps, steps, out,
                                panels * kLanes, false};
  any_tile<D, L::kRows, L::kPanels>(rows, panels, t);
}

// Integer sums of unsigned activations: take off the shift of 128, then scale.
template <class L>
void scaled(const Linear& job, int64_t row, int rows, int64_t panel, int panels, const int32_t* in,
            float* out) {
  for (int r = 0; r < rows; ++r)
    for (int p = 0; p < panels; ++p) {
      const int at = (r * panels + p) * kLanes;
      const int64_t column = (panel + p) * kLanes;
      const auto exact = L::sub_int(L::load_int(in + at), L::load_int(job.weight->offsets + column));
      const auto scale = L::mul(L::load(job.weight->scales + column), L::set1(job.input.scales[row + r]));
      L::store(out + at, L::mul(L::to_float(exact), scale));
    }
}

// [rows][panels * 16] floats
template <class L>
void product(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out) {
  switch (job.weight->format) {
    case kFloat32: return sums<L, DotFloat<L>>(job, row, rows, panel, panels, out);
    case kBfloat16: return sums<L, DotPairs<L>>(job, row, rows, panel, panels, out);
    case kInt8: {
      int32_t whole[kMaxTile];
      sums<L, DotBytes<L>>(job, row, rows, panel, panels, whole);
      return scaled<L>(job, row, rows, panel, panels, whole, out);
    }
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

template <class L>
void linear(const Linear& job, int64_t first, int64_t last) {
  alignas(64) float out[kMaxTile];
  for (int64_t panel = first; panel < last; panel += L::kPanels) {
    const int panels = (int)(last - panel < L::kPanels ? last - panel : L::kPanels);
    for (int64_t row = 0; row < job.rows; row += L::kRows) {
      const int rows = (int)(job.rows - row < L::kRows ? job.rows - row : L::kRows);
      product<L>(job, row, rows, panel, panels, out);
      for (int r = 0; r < rows; ++r)
        for (int p = 0; p < panels; ++p)
          emit<L>(job, row + r, panel + p, out + (r * panels + p) * kLanes);
    }
  }
}

template <class L>
void gated(const Linear& gate, const Linear& up, int64_t first, int64_t last) {
  alignas(64) float g[kMaxTile], u[kMaxTile];
  for (int64_t panel = first; panel < last; panel += L::kPanels) {
    const int panels = (int)(last - panel < L::kPanels ? last - panel : L::kPanels);
    for (int64_t row = 0; row < gate.rows; row += L::kRows) {
      const int rows = (int)(gate.rows - row < L::kRows ? gate.rows - row : L::kRows);
      product<L>(gate, row, rows, panel, panels, g);
      product<L>(up, row, rows, panel, panels, u);
      for (int i = 0; i < rows * panels; ++i) {
        float* out = gate.output + (row + i / panels) * gate.stride + (panel + i % panels) * kLanes;
        L::store(out, L::mul(silu<L>(L::load(g + i * kLanes)), L::load(u + i * kLanes)));
      }
    }
  }
}

}  // namespace
