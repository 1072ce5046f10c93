// The two passes over a row of logits that sampling needs.
#pragma once

namespace {

template <class L>
float largest(const float* x, int64_t n) {
  auto most = L::set1(-INFINITY);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = L::max(most, L::load(x + i));
  float best = L::largest(most);
  for (; i < n; ++i) best = best > x[i] ? best : x[i];
  return best;
}

// weights[i] = exp((x[i] - best) * rate), and their sums a block; `weights` has room for whole
// blocks.
template <class L>
double weigh(const float* x, int64_t n, float best, float rate, float* weights, double* sums) {
  const auto base = L::set1(best), scale = L::set1(rate * 1.44269504088896f);
  double total = 0;
  for (int64_t start = 0; start < n; start += kDrawBlock) {
    auto sum = L::zero();
    for (int64_t i = start; i < start + kDrawBlock; i += kLanes) {
      float tail[kLanes];
      const bool whole = i + kLanes <= n;
      for (int j = 0; !whole && j < kLanes; ++j) tail[j] = i + j < n ? x[i + j] : -INFINITY;
      const auto v = L::load(whole ? x + i : tail);
      const auto w = exp2<L>(L::mul(L::sub(v, base), scale));
      L::store(weights + i, w);
      sum = L::add(sum, w);
    }
    *sums = (double)L::sum(sum);
    total += *sums++;
  }
  return total;
}

}  // namespace
