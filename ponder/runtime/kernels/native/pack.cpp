// Weights to panels, in each format. See `Packed`.
#include <cmath>

#include "half.h"
#include "model.h"

namespace ponder {
namespace {

// To the nearest, ties to even, of numbers under 2^22: what the sum pushes out is the fraction.
float nearest(float x) { return x + 12582912.0f - 12582912.0f; }
// Not the library's, which are calls; nothing here is a NaN.
float lesser(float x, float y) { return x < y ? x : y; }
float greater(float x, float y) { return x > y ? x : y; }

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
  for (int64_t i = 0; i < n; ++i) most = greater(most, std::fabs(w[i]));
  // Whole numbers cannot say that a weight is not finite; the scale can.
  out.scale = to_half(finite(w, n) ? most / 127.0f : NAN);
  const float scale = from_half(out.scale);
  for (int64_t i = 0; i < kGroup; ++i) {
    const float at = i < n && scale > 0 ? nearest(w[i] / scale) : 0.0f;
    out.whole[i] = (uint8_t)(128 + (int)lesser(127.0f, greater(-127.0f, at)));
  }
  return out;
}

// Levels from `from` to `to` in `count` steps, and how far the worst weight is from its own, in
// steps; one that is further than `limit` ends it. `from` may be the largest: the scale is negative then.
float fit(const float* w, int64_t n, float from, float to, int count, float limit, Levels& out) {
  out.least = to_half(from);
  const float least = from_half(out.least);
  out.scale = to_half((to - least) / (float)count);
  const float scale = from_half(out.scale);
  float worst = 0;
  for (int64_t i = 0; i < n && worst <= limit; ++i) {
    const float at = scale == 0 ? 0.0f : (w[i] - least) / scale;
    const float level = lesser(15.0f, greater(0.0f, nearest(at)));
    worst = greater(worst, std::fabs(at - level));
    out.whole[i] = (uint8_t)level;
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
  for (int64_t i = 1; i < n; ++i) least = lesser(least, w[i]), most = greater(most, w[i]);
  fit(w, n, least, most, 15, INFINITY, first);
  for (int count = 15; count > 0; --count) {
    Levels up{}, down{};
    const float a = fit(w, n, least, most, count, kOnGrid, up), b = fit(w, n, most, least, count, kOnGrid, down);
    if (lesser(a, b) < kOnGrid) return a <= b ? up : down;
  }
  return first;
}

}  // namespace

void Matrix::pack(Format format, const float* weights, int64_t columns, int64_t inner, Arena& arena, Team& team) {
  packed_ = {format, columns, padded(columns) / kLanes, steps_of(format, inner), nullptr, nullptr};
  const int64_t bytes = packed_.vectors() * kVectorBytes, scales = grouped(format) ? groups(inner) * packed_.group_scales() : 0;
  char* data = arena.take(packed_.panels * bytes);
  uint16_t* of_groups = reinterpret_cast<uint16_t*>(arena.take(packed_.panels * scales * 2));
  packed_.data = data;
  packed_.scales = of_groups;
  team.each(packed_.panels, [&](int64_t i, int64_t) {
    const int64_t first = i * kLanes, count = columns - first < kLanes ? columns - first : kLanes;
    if (grouped(format)) pack_groups(weights + first * inner, count, inner, data + i * bytes, of_groups + i * scales);
    else pack_steps(weights + first * inner, count, inner, data + i * bytes);
  });
}

void Matrix::pack_steps(const float* weights, int64_t columns, int64_t inner, char* panel) const {
  float* whole = reinterpret_cast<float*>(panel);
  uint16_t* half = reinterpret_cast<uint16_t*>(panel);
  for (int64_t n = 0; n < columns; ++n)
    for (int64_t k = 0; k < inner; ++k) {
      const float w = weights[n * inner + k];
      if (packed_.format == kFloat32) whole[k * kLanes + n] = w;
      else half[(k / 2 * kLanes + n) * 2 + k % 2] = to_bfloat16(w);
    }
}

void Matrix::pack_groups(const float* weights, int64_t columns, int64_t inner, char* panel, uint16_t* scales) const {
  const bool halves = packed_.format == kInt4;
  const int64_t count = groups(inner), vectors = halves ? kGroupSteps / 2 : kGroupSteps;
  for (int64_t n = 0; n < columns; ++n)
    for (int64_t g = 0; g < count; ++g) {
      const float* w = weights + n * inner + g * kGroup;
      const int64_t size = inner - g * kGroup < kGroup ? inner - g * kGroup : kGroup;
      const Levels levels = halves ? half_bytes(w, size) : bytes(w, size);
      uint16_t* at = scales + g * packed_.group_scales() + n;
      at[0] = levels.scale;
      if (halves) at[kLanes] = levels.least;
      for (int i = 0; i < kGroup; ++i) {
        const int64_t vector = g * vectors + i / 4 % vectors;
        panel[vector * kVectorBytes + n * 4 + i % 4] |= (char)(levels.whole[i] << (halves && i >= kGroup / 2 ? 4 : 0));
      }
    }
}

}  // namespace ponder
