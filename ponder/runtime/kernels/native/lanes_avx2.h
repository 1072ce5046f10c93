// Sixteen floats as two AVX2 registers, multiply-adds fused. Whole-number dots split bytes into even and
// odd ones, since the instruction that takes bytes saturates.
#pragma once

namespace {

struct Avx2 {
  struct F { __m256 a, b; };
  struct I { __m256i a, b; };
  struct Pairs { F even, odd; };
  struct PairX { __m256 even, odd; };
  static constexpr int kRows = 4, kGroupedRows = 4, kPanels = 1, kQueries = 4, kQueryPanels = 1;

  static F set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F zero() { return set1(0.0f); }
  static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void store(float* p, F x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
  }
  static F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  static F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static F fma(F x, F y, F z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  static __m256 round(__m256 x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F round(F x) { return {round(x.a), round(x.b)}; }
  static __m256 pow2(__m256 n) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
  }
  static F pow2(F n) { return {pow2(n.a), pow2(n.b)}; }
  static F head(F x, int count, float rest) {
    const __m256i n = _mm256_set1_epi32(count);
    const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i high = _mm256_add_epi32(low, _mm256_set1_epi32(8));
    const __m256 r = _mm256_set1_ps(rest);
    return {_mm256_blendv_ps(r, x.a, _mm256_castsi256_ps(_mm256_cmpgt_epi32(n, low))),
            _mm256_blendv_ps(r, x.b, _mm256_castsi256_ps(_mm256_cmpgt_epi32(n, high)))};
  }
  static float largest(F x) {
    const __m256 m = _mm256_max_ps(x.a, x.b);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
  }
  static float sum(F x) {
    const __m256 s = _mm256_add_ps(x.a, x.b);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
  }

  static __m256 even(__m256i w) { return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16)); }
  static __m256 odd(__m256i w) {
    return _mm256_castsi256_ps(_mm256_and_si256(w, _mm256_set1_epi32((int)0xffff0000u)));
  }
  static __m256i half(const char* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static void store2(uint16_t* p, F x) {
    float v[16];
    store(v, x);
    for (int i = 0; i < 16; ++i) p[i] = to_bfloat16(v[i]);
  }
  static Pairs load2(const char* p) {
    const __m256i a = half(p), b = half(p + 32);
    return {{even(a), even(b)}, {odd(a), odd(b)}};
  }
  static __m256i spread(const char* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
  }
  static PairX spread2(const char* p) { return {even(spread(p)), odd(spread(p))}; }
  static F dot2(F acc, Pairs w, PairX x) {
    acc = fma(w.even, {x.even, x.even}, acc);
    return fma(w.odd, {x.odd, x.odd}, acc);
  }

  struct Bytes { I even, odd; };
  struct ByteX { __m256i even, odd; };
  static I set_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static __m256i even_bytes(__m256i w) { return _mm256_and_si256(w, _mm256_set1_epi16(0xff)); }
  static Bytes bytes(__m256i a, __m256i b) {
    return {{even_bytes(a), even_bytes(b)}, {_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)}};
  }
  static Bytes load4(const char* p) { return bytes(half(p), half(p + 32)); }
  static void load_halves(const char* p, Bytes& low, Bytes& high) {
    const __m256i mask = _mm256_set1_epi8(15), a = half(p), b = half(p + 32);
    low = bytes(_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
    high = bytes(_mm256_and_si256(_mm256_srli_epi16(a, 4), mask), _mm256_and_si256(_mm256_srli_epi16(b, 4), mask));
  }
  static ByteX spread4(const char* p) {
    const __m256i x = spread(p);
    return {_mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), _mm256_srai_epi16(x, 8)};
  }
  static __m256i dot4(__m256i acc, __m256i even, __m256i odd, ByteX x) {
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(even, x.even));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(odd, x.odd));
  }
  static I dot4(I acc, Bytes w, ByteX x) {
    return {dot4(acc.a, w.even.a, w.odd.a, x), dot4(acc.b, w.even.b, w.odd.b, x)};
  }
  static F to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
  static F load_half(const uint16_t* p) {
    const __m128i* at = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(at)), _mm256_cvtph_ps(_mm_loadu_si128(at + 1))};
  }
  // Whole numbers from -128 to 127.
  static void store_bytes(int8_t* p, F x) {
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    const __m128i out = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), out);
  }
};

}  // namespace
