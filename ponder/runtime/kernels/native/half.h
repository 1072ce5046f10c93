// Rounding to bfloat16, and half precision (IEEE), in which grouped weights keep their scales. In an
// unnamed namespace for the same reason as arithmetic.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

inline uint16_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  // Rounding up could carry a NaN's bits into an infinity's.
  const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40 : rounded >> 16);
}

inline float from_half(uint16_t h) {
  const bool finite = (h & 0x7c00) != 0x7c00;
  uint32_t bits = (uint32_t)(h & 0x7fff) << 13 | (finite ? 0 : 0x7f800000u);
  float x;
  std::memcpy(&x, &bits, 4);
  // In a float's place the exponent is 112 too small; for subnormal numbers too.
  if (finite) x *= 0x1p112f;
  return h & 0x8000 ? -x : x;
}

// To the nearest, ties to even; infinite from 65,520 on.
inline uint16_t to_half(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const uint16_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return sign | 0x7e00;
  if (bits >= 0x477ff000) return sign | 0x7c00;
  if (bits < 0x38800000) return sign | (uint16_t)std::nearbyint(std::fabs(x) * 0x1p24f);
  return sign | (uint16_t)((bits + 0xfff + (bits >> 13 & 1) - (112u << 23)) >> 13);
}

}  // namespace
