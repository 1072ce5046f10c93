// Sixteen floats in plain C++ (four 16-byte vectors, which every compiler maps to SSE2 or NEON).
// A multiply-add is a product and a sum here: two roundings on every machine.
#pragma once

namespace {

typedef float Quad __attribute__((vector_size(16)));
typedef int32_t QuadInt __attribute__((vector_size(16)));

inline float as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

struct Portable {
  struct F { Quad q[4]; };
  struct I { int32_t v[16]; };
  struct Pairs { F even, odd; };
  struct PairX { float even, odd; };
  static constexpr int kRows = 4, kGroupedRows = 4, kPanels = 1, kQueries = 4, kQueryPanels = 1;

  template <class Op>
  static F each(Op op) {
    F r;
    for (int i = 0; i < 4; ++i) r.q[i] = op(i);
    return r;
  }
  static F set1(float x) { return each([&](int) { return Quad{x, x, x, x}; }); }
  static F zero() { return set1(0.0f); }
  static F load(const float* p) {
    F r;
    std::memcpy(&r, p, sizeof r);
    return r;
  }
  static void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
  static F add(F a, F b) { return each([&](int i) { return a.q[i] + b.q[i]; }); }
  static F sub(F a, F b) { return each([&](int i) { return a.q[i] - b.q[i]; }); }
  static F mul(F a, F b) { return each([&](int i) { return a.q[i] * b.q[i]; }); }
  static F div(F a, F b) { return each([&](int i) { return a.q[i] / b.q[i]; }); }
  static F fma(F a, F b, F c) { return add(mul(a, b), c); }
  static Quad pick(QuadInt mask, Quad yes, Quad no) {
    return (Quad)((mask & (QuadInt)yes) | (~mask & (QuadInt)no));
  }
  // The second where either is not a number, as on x86.
  static F max(F a, F b) { return each([&](int i) { return pick(a.q[i] > b.q[i], a.q[i], b.q[i]); }); }
  static F min(F a, F b) { return each([&](int i) { return pick(a.q[i] < b.q[i], a.q[i], b.q[i]); }); }
  static F round(F x) {
    const F magic = set1(12582912.0f);  // 1.5 * 2^23: what it pushes out is the fraction
    return sub(add(x, magic), magic);
  }
  // 2^n for whole n from -127 (which gives 0) to 127.
  static F pow2(F n) {
    return each([&](int i) { return (Quad)((__builtin_convertvector(n.q[i], QuadInt) + 127) << 23); });
  }
  static F head(F x, int count, float rest) {
    float v[16];
    store(v, x);
    for (int i = 0; i < 16; ++i) v[i] = i < count ? v[i] : rest;
    return load(v);
  }
  static float largest(F x) {
    float v[16];
    store(v, x);
    float m = v[0];
    for (int i = 1; i < 16; ++i) m = m > v[i] ? m : v[i];
    return m;
  }
  static float sum(F x) {
    float v[16];
    store(v, x);
    for (int n = 8; n; n /= 2)
      for (int i = 0; i < n; ++i) v[i] += v[i + n];
    return v[0];
  }

  static void store2(uint16_t* p, F x) {
    float v[16];
    store(v, x);
    for (int i = 0; i < 16; ++i) p[i] = to_bfloat16(v[i]);
  }
  static Pairs load2(const char* p) {
    Pairs r;
    for (int i = 0; i < 4; ++i) {
      QuadInt w;
      std::memcpy(&w, p + 16 * i, sizeof w);
      r.even.q[i] = (Quad)(w << 16);
      r.odd.q[i] = (Quad)(w & (int32_t)0xffff0000);
    }
    return r;
  }
  static PairX spread2(const char* p) {
    uint32_t x;
    std::memcpy(&x, p, 4);
    return {as_float(x << 16), as_float(x & 0xffff0000u)};
  }
  static F dot2(F acc, const Pairs& w, PairX x) {
    return fma(w.odd, set1(x.odd), fma(w.even, set1(x.even), acc));
  }

  struct Bytes { uint8_t w[64]; };
  struct ByteX { int32_t x[4]; };
  static I set_int(int32_t x) {
    I r;
    for (int32_t& v : r.v) v = x;
    return r;
  }
  static Bytes load4(const char* p) {
    Bytes r;
    std::memcpy(&r, p, sizeof r);
    return r;
  }
  static void load_halves(const char* p, Bytes& low, Bytes& high) {
    const Bytes both = load4(p);
    for (int i = 0; i < 64; ++i) low.w[i] = both.w[i] & 15, high.w[i] = both.w[i] >> 4;
  }
  static ByteX spread4(const char* p) {
    const int8_t* x = reinterpret_cast<const int8_t*>(p);
    return {{x[0], x[1], x[2], x[3]}};
  }
  static I dot4(I acc, const Bytes& w, ByteX x) {
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 4; ++j) acc.v[i] += x.x[j] * w.w[4 * i + j];
    return acc;
  }
  static F to_float(const I& x) {
    float v[16];
    for (int i = 0; i < 16; ++i) v[i] = (float)x.v[i];
    return load(v);
  }
  static F load_half(const uint16_t* p) {
    float v[16];
    for (int i = 0; i < 16; ++i) v[i] = from_half(p[i]);
    return load(v);
  }
  static void store_bytes(int8_t* p, F x) {
    float v[16];
    store(v, x);
    for (int i = 0; i < 16; ++i) p[i] = (int8_t)v[i];
  }
};

}  // namespace
