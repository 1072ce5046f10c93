// The inner loop for weights with a scale a group: whole-number dots within a group, which are exact,
// then one scaled sum a group, in order, for every size of tile.
#pragma once

namespace {

// One byte a weight, shifted by 128 to be unsigned.
template <class L>
struct Bytes {
  static constexpr int kVectors = kGroupSteps, kStepsPerVector = 1, kScales = kLanes;

  static typename L::I start(const Group& x) { return L::set_int(x.start); }
  static void decode(const char* p, typename L::Bytes* steps) { steps[0] = L::load4(p); }
  static typename L::F add(typename L::F acc, typename L::F, const Group&) { return acc; }
};

// Half a byte a weight, above the group's least.
template <class L>
struct HalfBytes {
  static constexpr int kVectors = kGroupSteps / 2, kStepsPerVector = 2, kScales = 2 * kLanes;

  static typename L::I start(const Group&) { return L::set_int(0); }
  static void decode(const char* p, typename L::Bytes* steps) { L::load_halves(p, steps[0], steps[1]); }
  static typename L::F add(typename L::F acc, typename L::F least, const Group& x) {
    return L::fma(least, L::set1(x.sum), acc);
  }
};

struct GroupedTile {
  const char* const* panels;         // [P], at the first group
  const uint16_t* const* scales;     // [P]
  const char* x;                     // the rows' first steps
  const char* groups;                // the rows' first groups
  int64_t x_stride;                  // bytes a row, of both
  int64_t count;                     // groups
  float* out;                        // [R][P * 16]
  int64_t out_stride;
};

template <class L, class W, int R, int P>
void grouped_tile(const GroupedTile& t, Ahead& ahead) {
  typename L::F acc[R][P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
      acc[r][p] = L::zero();
  for (int64_t g = 0; g < t.count; ++g) {
    ahead.turn();
    typename L::I sum[R][P];
    const Group* x[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      x[r] = reinterpret_cast<const Group*>(t.groups + r * t.x_stride) + g;
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) sum[r][p] = W::start(*x[r]);
    }
#pragma GCC unroll 8
    for (int v = 0; v < W::kVectors; ++v) {
      typename L::Bytes w[P][W::kStepsPerVector];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) W::decode(t.panels[p] + (g * W::kVectors + v) * kVectorBytes, w[p]);
#pragma GCC unroll 8
      for (int h = 0; h < W::kStepsPerVector; ++h)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const auto spread = L::spread4(t.x + r * t.x_stride + (g * kGroupSteps + h * W::kVectors + v) * 4);
#pragma GCC unroll 8
          for (int p = 0; p < P; ++p) sum[r][p] = L::dot4(sum[r][p], w[p][h], spread);
        }
    }
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const uint16_t* at = t.scales[p] + g * W::kScales;
      const auto scale = L::load_half(at), least = L::load_half(at + W::kScales - kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        acc[r][p] = L::fma(L::mul(L::to_float(sum[r][p]), scale), L::set1(x[r]->scale), acc[r][p]);
        acc[r][p] = W::add(acc[r][p], least, *x[r]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) L::store(t.out + r * t.out_stride + p * kLanes, acc[r][p]);
}

template <class L, class W, int R, int P>
void any_grouped_tile(int rows, int panels, const GroupedTile& t, Ahead& ahead) {
  if constexpr (P > 1)
    if (panels < P) return any_grouped_tile<L, W, R, P - 1>(rows, panels, t, ahead);
  if constexpr (R > 1)
    if (rows < R) return any_grouped_tile<L, W, R - 1, P>(rows, panels, t, ahead);
  grouped_tile<L, W, R, P>(t, ahead);
}

}  // namespace
