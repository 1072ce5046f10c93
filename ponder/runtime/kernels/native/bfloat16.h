// Rounding to bfloat16, to nearest, ties to even.
#pragma once

namespace {

inline uint16_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  // Rounding up could carry a NaN's bits into an infinity's.
  const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40 : rounded >> 16);
}

}  // namespace
