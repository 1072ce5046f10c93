// The inner loop for floats and pairs of bfloat16: a tile of rows times panels of 16 columns. Each (row, column) is one chain of multiply-adds over the inner dimension in
// order, in every size of tile: that is what makes results independent of the batch.
#pragma once

namespace {

template <class L>
struct DotFloat {
  using Acc = typename L::F;
  using Out = float;
  static Acc zero() { return L::zero(); }
  static Acc get(const Out* p) { return L::load(p); }
  static void put(Out* p, const Acc& x) { L::store(p, x); }
  static typename L::F load(const char* p) { return L::load(reinterpret_cast<const float*>(p)); }
  static typename L::F spread(const char* p) { return L::set1(*reinterpret_cast<const float*>(p)); }
  static Acc step(const Acc& acc, const typename L::F& w, const typename L::F& x) {
    return L::fma(w, x, acc);
  }
};

template <class L>
struct DotPairs : DotFloat<L> {
  static typename L::Pairs load(const char* p) { return L::load2(p); }
  static typename L::PairX spread(const char* p) { return L::spread2(p); }
  static typename L::F step(const typename L::F& acc, const typename L::Pairs& w,
                            const typename L::PairX& x) {
    return L::dot2(acc, w, x);
  }
};

// Lines of memory that will be wanted soon, asked for a few at a time while something else is computed:
// the processor guesses only what lies ahead within a page.
class Ahead {
 public:
  Ahead() = default;
  // `bytes` from `from` on, in `turns` turns.
  Ahead(const char* from, int64_t bytes, int64_t turns)
      : at_(from), lines_(bytes / kVectorBytes), each_((lines_ + turns - 1) / turns) {}

  void turn() {
    const int64_t count = each_ < lines_ ? each_ : lines_;
    for (int64_t i = 0; i < count; ++i) __builtin_prefetch(at_ + i * kVectorBytes, 0, 2);
    at_ += count * kVectorBytes;
    lines_ -= count;
  }

 private:
  const char* at_ = nullptr;
  int64_t lines_ = 0, each_ = 0;
};

constexpr int kStepsPerTurn = 8;

// Where nothing is asked for.
struct Nothing {
  void turn() const {}
};

template <class Out>
struct Tile {
  const char* const* panels;  // [sources][P]
  const char* x;              // the rows' first steps
  int64_t x_stride;           // bytes a row
  int64_t steps;              // in all
  int64_t per_source;         // steps before the next source's panels
  Out* out;                   // [R][P * 16]
  int64_t out_stride;
  bool add;
};

template <class D, int R, int P, class A>
void tile(const Tile<typename D::Out>& t, A& ahead) {
  typename D::Acc acc[R][P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
      acc[r][p] = t.add ? D::get(t.out + r * t.out_stride + p * kLanes) : D::zero();
  const char* x = t.x;
  const char* const* panels = t.panels;
  for (int64_t done = 0; done < t.steps; done += t.per_source, panels += P) {
    const char* w[P];
    for (int p = 0; p < P; ++p) w[p] = panels[p];
    const int64_t count = t.steps - done < t.per_source ? t.steps - done : t.per_source;
    for (int64_t k = 0; k < count; ++k, x += 4) {
      if (k % kStepsPerTurn == 0) ahead.turn();
      decltype(D::load(x)) v[P];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) v[p] = D::load(w[p] + k * kVectorBytes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const auto spread = D::spread(x + r * t.x_stride);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) acc[r][p] = D::step(acc[r][p], v[p], spread);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) D::put(t.out + r * t.out_stride + p * kLanes, acc[r][p]);
}

// A tile of a size known only now, of at most R rows and P panels.
template <class D, int R, int P, class A>
void any_tile(int rows, int panels, const Tile<typename D::Out>& t, A& ahead) {
  if constexpr (P > 1)
    if (panels < P) return any_tile<D, R, P - 1>(rows, panels, t, ahead);
  if constexpr (R > 1)
    if (rows < R) return any_tile<D, R - 1, P>(rows, panels, t, ahead);
  tile<D, R, P>(t, ahead);
}

template <class D, int R, int P>
void any_tile(int rows, int panels, const Tile<typename D::Out>& t) {
  Nothing nothing;
  any_tile<D, R, P>(rows, panels, t, nothing);
}

}  // namespace
