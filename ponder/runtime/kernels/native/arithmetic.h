// Elementwise functions over sixteen lanes. Everything is in an unnamed namespace: each instruction
// set compiles its own copy, and the linker must not merge them.
#pragma once

namespace {

// Asks for the lines of `bytes` from a line's start on, `stride` bytes apart. The empty statement keeps gcc from
// dropping calls of this: it takes a function that only prefetches for one without effect.
inline void ask(const char* start, int64_t bytes, int64_t stride = kVectorBytes) {
  for (int64_t at = 0; at < bytes; at += stride) __builtin_prefetch(start + at, 0, 2);
  asm volatile("");
}

// 2^x to 2e-7 relative for x <= 127; exactly 0 below -126.5. NaN stays NaN: `max` and `min` give
// their second argument then.
template <class L>
typename L::F exp2(typename L::F x) {
  x = L::min(L::set1(127.0f), L::max(L::set1(-127.0f), x));
  const typename L::F n = L::round(x), f = L::sub(x, n);
  typename L::F p = L::set1(0.000154035303933816f);
  p = L::fma(p, f, L::set1(0.00133335581464284f));
  p = L::fma(p, f, L::set1(0.00961812910762848f));
  p = L::fma(p, f, L::set1(0.0555041086648216f));
  p = L::fma(p, f, L::set1(0.240226506959101f));
  p = L::fma(p, f, L::set1(0.693147180559945f));
  p = L::fma(p, f, L::set1(1.0f));
  return L::mul(p, L::pow2(n));
}

template <class L>
float exp2_one(float x) {
  float v[kLanes];
  L::store(v, exp2<L>(L::set1(x)));
  return v[0];
}

// As float, or rounded to bfloat16.
template <class L>
void put(float* out, typename L::F x) { L::store(out, x); }
template <class L>
void put(uint16_t* out, typename L::F x) { L::store2(out, x); }

template <class L>
typename L::F silu(typename L::F x) {
  const typename L::F e = exp2<L>(L::mul(x, L::set1(-1.44269504088896f)));
  return L::div(x, L::add(L::set1(1.0f), e));
}

}  // namespace
