// Sixteen floats as four NEON registers, multiply-adds fused; every sum is in the order of AVX2's, and so
// equal to the bit. The second struct has the dot product of signed bytes as one instruction.
#pragma once

namespace {

struct Neon {
  struct F { float32x4_t q[4]; };
  struct I { int32x4_t q[4]; };
  struct Pairs { F even, odd; };
  struct PairX { float even, odd; };
  static constexpr int kRows = 4, kGroupedRows = 4, kPanels = 1, kQueries = 4, kQueryPanels = 1;

  template <class Op>
  static F each(Op op) {
    return {{op(0), op(1), op(2), op(3)}};
  }
  template <class Op>
  static I each_int(Op op) {
    return {{op(0), op(1), op(2), op(3)}};
  }
  static F set1(float x) { return each([&](int) { return vdupq_n_f32(x); }); }
  static F zero() { return set1(0.0f); }
  static F load(const float* p) { return each([&](int i) { return vld1q_f32(p + 4 * i); }); }
  static void store(float* p, const F& x) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.q[i]);
  }
  static F add(const F& a, const F& b) { return each([&](int i) { return vaddq_f32(a.q[i], b.q[i]); }); }
  static F sub(const F& a, const F& b) { return each([&](int i) { return vsubq_f32(a.q[i], b.q[i]); }); }
  static F mul(const F& a, const F& b) { return each([&](int i) { return vmulq_f32(a.q[i], b.q[i]); }); }
  static F div(const F& a, const F& b) { return each([&](int i) { return vdivq_f32(a.q[i], b.q[i]); }); }
  static F fma(const F& a, const F& b, const F& c) {
    return each([&](int i) { return vfmaq_f32(c.q[i], a.q[i], b.q[i]); });
  }
  // The second where either is not a number, as on x86; NEON's own instructions would pass it on.
  static float32x4_t max(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static float32x4_t min(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static F max(const F& a, const F& b) { return each([&](int i) { return max(a.q[i], b.q[i]); }); }
  static F min(const F& a, const F& b) { return each([&](int i) { return min(a.q[i], b.q[i]); }); }
  static F round(const F& x) { return each([&](int i) { return vrndnq_f32(x.q[i]); }); }
  static F pow2(const F& n) {
    return each([&](int i) {
      const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n.q[i]), vdupq_n_s32(127));
      return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
    });
  }
  static F head(const F& x, int count, float rest) {
    static const int32_t places[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int32x4_t n = vdupq_n_s32(count);
    const float32x4_t other = vdupq_n_f32(rest);
    return each([&](int i) { return vbslq_f32(vcgtq_s32(n, vld1q_s32(places + 4 * i)), x.q[i], other); });
  }
  static float largest(const F& x) {
    const float32x4_t m = max(max(x.q[0], x.q[2]), max(x.q[1], x.q[3]));
    const float32x4_t half = max(m, vextq_f32(m, m, 2));
    return vgetq_lane_f32(max(half, vextq_f32(half, half, 1)), 0);
  }
  static float sum(const F& x) {
    const float32x4_t s = vaddq_f32(vaddq_f32(x.q[0], x.q[2]), vaddq_f32(x.q[1], x.q[3]));
    const float32x4_t half = vaddq_f32(s, vextq_f32(s, s, 2));
    return vgetq_lane_f32(vaddq_f32(half, vextq_f32(half, half, 1)), 0);
  }

  static int32x4_t words(const char* p) { return vreinterpretq_s32_s8(vld1q_s8(reinterpret_cast<const int8_t*>(p))); }
  static float32x4_t even(int32x4_t w) { return vreinterpretq_f32_s32(vshlq_n_s32(w, 16)); }
  static float32x4_t odd(int32x4_t w) {
    return vreinterpretq_f32_s32(vandq_s32(w, vdupq_n_s32((int32_t)0xffff0000u)));
  }
  static void store2(uint16_t* p, F x) {
    float v[16];
    store(v, x);
    for (int i = 0; i < 16; ++i) p[i] = to_bfloat16(v[i]);
  }
  static Pairs load2(const char* p) {
    return {each([&](int i) { return even(words(p + 16 * i)); }), each([&](int i) { return odd(words(p + 16 * i)); })};
  }
  static int32x4_t spread(const char* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return vdupq_n_s32(x);
  }
  static PairX spread2(const char* p) {
    const int32x4_t x = spread(p);
    return {vgetq_lane_f32(even(x), 0), vgetq_lane_f32(odd(x), 0)};
  }
  static F dot2(const F& acc, const Pairs& w, PairX x) {
    return each([&](int i) {
      return vfmaq_n_f32(vfmaq_n_f32(acc.q[i], w.even.q[i], x.even), w.odd.q[i], x.odd);
    });
  }

  static I set_int(int32_t x) { return each_int([&](int) { return vdupq_n_s32(x); }); }
  static uint8x16_t vector(const char* p) { return vld1q_u8(reinterpret_cast<const uint8_t*>(p)); }

  // Weights as 16-bit numbers, two columns a register.
  struct Bytes { int16x8_t h[8]; };
  using ByteX = int16x8_t;
  static void widen(uint8x16_t w, int16x8_t* out) {
    out[0] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(w)));
    out[1] = vreinterpretq_s16_u16(vmovl_high_u8(w));
  }
  static Bytes load4(const char* p) {
    Bytes r;
    for (int i = 0; i < 4; ++i) widen(vector(p + 16 * i), r.h + 2 * i);
    return r;
  }
  static void load_halves(const char* p, Bytes& low, Bytes& high) {
    for (int i = 0; i < 4; ++i) {
      widen(vandq_u8(vector(p + 16 * i), vdupq_n_u8(15)), low.h + 2 * i);
      widen(vshrq_n_u8(vector(p + 16 * i), 4), high.h + 2 * i);
    }
  }
  static ByteX spread4(const char* p) { return vmovl_s8(vreinterpret_s8_s32(vget_low_s32(spread(p)))); }
  // Two columns: four products each, added up in pairs.
  static int32x4_t products(int16x8_t w, ByteX x) {
    return vpaddq_s32(vmull_s16(vget_low_s16(w), vget_low_s16(x)), vmull_high_s16(w, x));
  }
  static I dot4(const I& acc, const Bytes& w, ByteX x) {
    return each_int([&](int i) {
      return vaddq_s32(acc.q[i], vpaddq_s32(products(w.h[2 * i], x), products(w.h[2 * i + 1], x)));
    });
  }
  static F to_float(const I& x) { return each([&](int i) { return vcvtq_f32_s32(x.q[i]); }); }
  static F load_half(const uint16_t* p) {
    return each([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
  }
  // Whole numbers from -128 to 127.
  static void store_bytes(int8_t* p, const F& x) {
    for (int i = 0; i < 4; i += 2) {
      const int16x4_t low = vmovn_s32(vcvtq_s32_f32(x.q[i])), high = vmovn_s32(vcvtq_s32_f32(x.q[i + 1]));
      vst1_s8(p + 4 * i, vmovn_s16(vcombine_s16(low, high)));
    }
  }
};

#ifdef PONDER_NEON_DOTPROD
struct NeonDotprod : Neon {
  // The instruction has no unsigned factor: bytes are taken less 128, and what that takes off is
  // added with x. Half bytes are less than 128 as they are, but their dots go the same way.
  struct Bytes { int8x16_t w[4]; };
  struct ByteX {
    int8x16_t x;
    int32x4_t shift;
  };
  static int8x16_t lowered(uint8x16_t w) { return vreinterpretq_s8_u8(veorq_u8(w, vdupq_n_u8(128))); }
  static Bytes load4(const char* p) {
    Bytes r;
    for (int i = 0; i < 4; ++i) r.w[i] = lowered(vector(p + 16 * i));
    return r;
  }
  static void load_halves(const char* p, Bytes& low, Bytes& high) {
    for (int i = 0; i < 4; ++i) {
      low.w[i] = lowered(vandq_u8(vector(p + 16 * i), vdupq_n_u8(15)));
      high.w[i] = lowered(vshrq_n_u8(vector(p + 16 * i), 4));
    }
  }
  static ByteX spread4(const char* p) {
    const int8x16_t x = vreinterpretq_s8_s32(spread(p));
    return {x, vshlq_n_s32(vdotq_s32(vdupq_n_s32(0), x, vdupq_n_s8(1)), 7)};
  }
  static I dot4(const I& acc, const Bytes& w, const ByteX& x) {
    return each_int([&](int i) { return vdotq_s32(vaddq_s32(acc.q[i], x.shift), w.w[i], x.x); });
  }
};
#endif

}  // namespace
