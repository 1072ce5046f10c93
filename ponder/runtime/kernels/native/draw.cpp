// One token from a row of logits: what is allowed, temperature, top-k, min-p, top-p, then the inverse of the
// cumulated weights at a given uniform. What is kept is always the likeliest few, the lowest id
// first among equals, so every truncation is a place in one order.
#include "draw_row.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ponder {
namespace {

// Logits are spread over buckets by their distance from the best, so that a place in the order is
// found by sorting one bucket.
constexpr int kBuckets = 4096;
constexpr float kBucketsPerNat = 64.0f;

struct Row {
  const float* logits;
  const float* weights;
  int64_t n;
  float best;

  int bucket(int64_t i) const {
    const float at = (best - logits[i]) * kBucketsPerNat;
    return at < kBuckets - 1 ? (int)at : kBuckets - 1;
  }
  bool before(int64_t a, int64_t b) const {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  }
};

class Order {
 public:
  explicit Order(const Row& row) : row_(row), counts_(kBuckets), masses_(kBuckets) {
    for (int64_t i = 0; i < row.n; ++i) {
      const int b = row.bucket(i);
      ++counts_[b];
      masses_[b] += row.weights[i];
    }
  }

  // Keeps at most `count`, no weight under `floor`, and no more once `goal` of mass is reached.
  // Returns the mass kept.
  double cut(int64_t count, double floor, double goal) {
    double mass = 0;
    int b = 0;
    for (; b < last_; ++b) {
      // A bucket that may hold the end is gone through in order.
      const double least = std::exp(-(double)(b + 1) / kBucketsPerNat * rate);
      if (count < counts_[b] || mass + masses_[b] >= goal || least * 0.999 < floor) {
        if (!walk(b, count, floor, goal, mass)) continue;
        return mass;
      }
      count -= counts_[b];
      mass += masses_[b];
    }
    return mass;
  }

  bool keeps(int64_t i) const {
    const int b = row_.bucket(i);
    return b < last_ && (b < partial_ || std::binary_search(kept_.begin(), kept_.end(), i));
  }

  double rate = 1;

 private:
  // Takes what fits of bucket `b`; true if the end is in it.
  bool walk(int b, int64_t& count, double floor, double goal, double& mass) {
    std::vector<int64_t> inside;
    if (b == partial_) inside = kept_;
    else
      for (int64_t i = 0; i < row_.n; ++i)
        if (row_.bucket(i) == b) inside.push_back(i);
    std::sort(inside.begin(), inside.end(), [&](int64_t x, int64_t y) { return row_.before(x, y); });
    size_t taken = 0;
    while (taken < inside.size() && count > 0 && mass < goal && row_.weights[inside[taken]] >= floor) {
      mass += row_.weights[inside[taken++]];
      --count;
    }
    if (taken == inside.size() && b != partial_) return false;
    inside.resize(taken);
    std::sort(inside.begin(), inside.end());
    kept_ = std::move(inside);
    partial_ = b;
    last_ = b + 1;
    return true;
  }

  const Row& row_;
  std::vector<int64_t> counts_;
  std::vector<double> masses_;
  std::vector<int64_t> kept_;  // of bucket `partial_`, by id
  int partial_ = kBuckets, last_ = kBuckets;
};

int64_t invert(const float* weights, const double* sums, int64_t n, double point) {
  int64_t block = 0, chosen = 0;
  const int64_t blocks = (n + kDrawBlock - 1) / kDrawBlock;
  while (block + 1 < blocks && point >= sums[block]) point -= sums[block++];
  for (int64_t i = block * kDrawBlock; i < n; ++i) {
    // Rounding may leave a point past the end; the last token with any weight takes it.
    if (weights[i] > 0) chosen = i;
    point -= weights[i];
    if (point < 0) return chosen;
  }
  if (weights[chosen] > 0) return chosen;
  for (chosen = n - 1; chosen > 0 && !(weights[chosen] > 0);) --chosen;
  return chosen;
}

void truncate(const Row& row, const Draw& draw, float* weights, double* sums) {
  Order order(row);
  order.rate = 1.0 / draw.temperature;
  const double all = order.cut(draw.top_k > 0 ? draw.top_k : row.n, draw.min_p, INFINITY);
  if (draw.top_p < 1) order.cut(row.n, 0, draw.top_p * all);
  for (int64_t start = 0; start < row.n; start += kDrawBlock) {
    double sum = 0;
    for (int64_t i = start; i < std::min(row.n, start + kDrawBlock); ++i) {
      if (!order.keeps(i)) weights[i] = 0;
      sum += weights[i];
    }
    sums[start / kDrawBlock] = sum;
  }
}

// `weighed`: the weights are there already.
int64_t sample(const Kernels& kernels, const float* logits, int64_t n, float best, const Draw& draw, bool weighed,
               std::vector<float>& weights, std::vector<double>& sums) {
  if (!weighed) kernels.weigh(logits, n, best, 1.0f / draw.temperature, weights.data(), sums.data());
  if (draw.top_k > 0 || draw.top_p < 1 || draw.min_p > 0)
    truncate({logits, weights.data(), n, best}, draw, weights.data(), sums.data());
  double total = 0;
  for (double sum : sums) total += sum;
  return invert(weights.data(), sums.data(), n, draw.uniform * total);
}

// By byte of a mask, what its eight tokens get.
struct Bars {
  float of[256][8];
  Bars() {
    for (int byte = 0; byte < 256; ++byte)
      for (int bit = 0; bit < 8; ++bit) of[byte][bit] = byte >> bit & 1 ? 0.0f : -INFINITY;
  }
};

void hold(const float* logits, const uint8_t* allowed, int64_t n, float* held) {
  static const Bars bars;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int bit = 0; bit < 8; ++bit) held[i + bit] = logits[i + bit] + bars.of[allowed[i / 8]][bit];
  for (; i < n; ++i) held[i] = logits[i] + bars.of[allowed[i / 8]][i % 8];
}

}  // namespace

void draw_row(const Kernels& kernels, const float* logits, const float* biased, int64_t n, Draw& draw) {
  const int64_t blocks = (n + kDrawBlock - 1) / kDrawBlock;
  thread_local std::vector<float> weights, held;
  weights.resize(blocks * kDrawBlock);
  std::vector<double> sums(blocks);
  const float top = kernels.largest(logits, n);
  const double norm = top + std::log(kernels.weigh(logits, n, top, 1.0f, weights.data(), sums.data()));
  if (draw.allowed) {
    held.resize(n);
    hold(biased, draw.allowed, n, held.data());
    biased = held.data();
  }
  const float best = logits == biased ? top : kernels.largest(biased, n);
  if (!std::isfinite(norm)) {
    draw.token = kNotFinite;
  } else if (best == -INFINITY) {
    draw.token = kForbidden;
  } else {
    const bool weighed = logits == biased && draw.temperature == 1;
    const int64_t token = draw.temperature > 0 ? sample(kernels, biased, n, best, draw, weighed, weights, sums)
                                               : std::find(biased, biased + n, best) - biased;
    draw.token = (int32_t)token;
    draw.logprob = (float)std::min((double)logits[token] - norm, 0.0);
  }
}

}  // namespace ponder
