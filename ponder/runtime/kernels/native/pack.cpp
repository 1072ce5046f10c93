// Weights to panels, in each format. See `Packed`.
#include <cmath>

#include "half.h"
#include "model.h"

namespace ponder {
namespace {

// Calls put(place, value) with the place of each weight in panels that hold `per` a vector lane.
template <class Put>
void each_place(const float* weights, int64_t columns, int64_t inner, int per, Put put) {
  const int64_t steps = padded(inner) / per, vector = kLanes * per;
  for (int64_t n = 0; n < columns; ++n)
    for (int64_t k = 0; k < inner; ++k)
      put((n / kLanes * steps + k / per) * vector + n % kLanes * per + k % per, weights[n * inner + k]);
}

// One column's share of a group: weight = scale * whole + least.
struct Levels {
  uint16_t scale, least;  // half precision
  uint8_t whole[kGroup];
};

bool finite(const float* w, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += w[i] * 0.0f;
  return sum == 0;
}

Levels bytes(const float* w, int64_t n) {
  Levels out{};
  float most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::fmax(most, std::fabs(w[i]));
  // Whole numbers cannot say that a weight is not finite; the scale can.
  out.scale = to_half(finite(w, n) ? most / 127.0f : NAN);
  const float scale = from_half(out.scale);
  for (int64_t i = 0; i < kGroup; ++i) {
    const float nearest = i < n && scale > 0 ? std::nearbyint(w[i] / scale) : 0.0f;
    out.whole[i] = (uint8_t)(128 + (int)std::fmin(127.0f, std::fmax(-127.0f, nearest)));
  }
  return out;
}

// Levels from `from` to `to` in `count` steps, and how far the worst weight is from its own, in
// steps. `from` may be the largest: the scale is negative then.
float fit(const float* w, int64_t n, float from, float to, int count, Levels& out) {
  out.least = to_half(from);
  const float least = from_half(out.least);
  out.scale = to_half((to - least) / (float)count);
  const float scale = from_half(out.scale);
  float worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float at = scale == 0 ? 0.0f : (w[i] - least) / scale;
    const float nearest = std::fmin(15.0f, std::fmax(0.0f, std::nearbyint(at)));
    worst = std::fmax(worst, std::fabs(at - nearest));
    out.whole[i] = (uint8_t)nearest;
  }
  return worst;
}

// Weights that were rounded to at most 16 levels before, as GGUF's Q4_0 and Q4_1 are, lie on a grid
// that need not reach over all 16. It is sought from the finest on, and their levels are taken over.
// Others get 16 levels from the least to the largest.
Levels half_bytes(const float* w, int64_t n) {
  constexpr float kOnGrid = 1.0f / 64;
  Levels first{};
  if (!finite(w, n)) return first.scale = to_half(NAN), first;
  float least = w[0], most = w[0];
  for (int64_t i = 1; i < n; ++i) least = std::fmin(least, w[i]), most = std::fmax(most, w[i]);
  fit(w, n, least, most, 15, first);
  for (int count = 15; count > 0; --count) {
    Levels up{}, down{};
    const float a = fit(w, n, least, most, count, up), b = fit(w, n, most, least, count, down);
    if (std::fmin(a, b) < kOnGrid) return a <= b ? up : down;
  }
  return first;
}

}  // namespace

void Matrix::pack(Format format, const float* weights, int64_t columns, int64_t inner, Arena& arena) {
  packed_ = {format, columns, padded(columns) / kLanes, steps_of(format, inner), nullptr, nullptr};
  char* data = arena.take(packed_.panels * packed_.vectors() * kVectorBytes);
  packed_.data = data;
  if (format == kFloat32) {
    float* out = reinterpret_cast<float*>(data);
    each_place(weights, columns, inner, 1, [&](int64_t at, float w) { out[at] = w; });
  } else if (format == kBfloat16) {
    uint16_t* out = reinterpret_cast<uint16_t*>(data);
    each_place(weights, columns, inner, 2, [&](int64_t at, float w) { out[at] = to_bfloat16(w); });
  } else {
    const int64_t scales = packed_.panels * groups(inner) * packed_.group_scales();
    uint16_t* to = reinterpret_cast<uint16_t*>(arena.take(scales * 2));
    packed_.scales = to;
    pack_groups(weights, columns, inner, data, to);
  }
}

void Matrix::pack_groups(const float* weights, int64_t columns, int64_t inner, char* data, uint16_t* to) const {
  const bool halves = packed_.format == kInt4;
  const int64_t count = groups(inner), scales = packed_.group_scales();
  for (int64_t n = 0; n < columns; ++n) {
    char* panel = data + n / kLanes * packed_.vectors() * kVectorBytes + n % kLanes * 4;
    for (int64_t g = 0; g < count; ++g) {
      const float* w = weights + n * inner + g * kGroup;
      const int64_t size = inner - g * kGroup < kGroup ? inner - g * kGroup : kGroup;
      const Levels levels = halves ? half_bytes(w, size) : bytes(w, size);
      uint16_t* at = to + (n / kLanes * count + g) * scales + n % kLanes;
      at[0] = levels.scale;
      if (halves) at[kLanes] = levels.least;
      for (int i = 0; i < kGroup; ++i) {
        const int step = i / 4 % (halves ? kGroupSteps / 2 : kGroupSteps);
        const int64_t vector = g * (halves ? kGroupSteps / 2 : kGroupSteps) + step;
        panel[vector * kVectorBytes + i % 4] |= (char)(levels.whole[i] << (halves && i >= kGroup / 2 ? 4 : 0));
      }
    }
  }
}

}  // namespace ponder
