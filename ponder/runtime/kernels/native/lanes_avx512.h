// Sixteen floats as one AVX-512 register. The second struct has the dot products of bfloat16 and
// of bytes as single instructions.
#pragma once

namespace {

struct Avx512 {
  using F = __m512;
  using I = __m512i;
  struct Pairs { F even, odd; };
  using PairX = Pairs;
  static constexpr int kRows = 8, kGroupedRows = 4, kPanels = 3, kQueries = 6, kQueryPanels = 4;

  static F set1(float x) { return _mm512_set1_ps(x); }
  static F zero() { return _mm512_setzero_ps(); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F round(F x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F pow2(F n) {
    const I biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
  }
  static F head(F x, int count, float rest) {
    const __mmask16 mask = count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1;
    return _mm512_mask_blend_ps(mask, _mm512_set1_ps(rest), x);
  }
  static float largest(F x) { return _mm512_reduce_max_ps(x); }
  static float sum(F x) { return _mm512_reduce_add_ps(x); }

  static I vector(const char* p) { return _mm512_loadu_si512(p); }
  static F even(I w) { return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16)); }
  static F odd(I w) {
    return _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32((int)0xffff0000u)));
  }
  static void store2(uint16_t* p, F x) {
    // Rounding up could carry a NaN's bits into an infinity's.
    const I w = _mm512_castps_si512(x), bit = _mm512_and_si512(_mm512_srli_epi32(w, 16), _mm512_set1_epi32(1));
    const I up = _mm512_add_epi32(w, _mm512_add_epi32(bit, _mm512_set1_epi32(0x7fff)));
    const I quiet = _mm512_or_si512(w, _mm512_set1_epi32(0x400000));
    const I r = _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
  }
  static Pairs load2(const char* p) { return {even(vector(p)), odd(vector(p))}; }
  static I spread(const char* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
  static PairX spread2(const char* p) { return {even(spread(p)), odd(spread(p))}; }
  static F dot2(F acc, Pairs w, PairX x) { return fma(w.odd, x.odd, fma(w.even, x.even, acc)); }

  struct Bytes { I even, odd; };
  using ByteX = Bytes;
  static I set_int(int32_t x) { return _mm512_set1_epi32(x); }
  static I low_halves(I w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
  static Bytes bytes(I w) {
    return {_mm512_and_si512(w, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(w, 8)};
  }
  static Bytes load4(const char* p) { return bytes(vector(p)); }
  static void load_halves(const char* p, Bytes& low, Bytes& high) {
    low = bytes(low_halves(vector(p)));
    high = bytes(low_halves(_mm512_srli_epi16(vector(p), 4)));
  }
  static ByteX spread4(const char* p) {
    const I x = spread(p);
    return {_mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8), _mm512_srai_epi16(x, 8)};
  }
  static I dot4(I acc, Bytes w, ByteX x) {
    acc = _mm512_add_epi32(acc, _mm512_madd_epi16(w.even, x.even));
    return _mm512_add_epi32(acc, _mm512_madd_epi16(w.odd, x.odd));
  }
  static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static F load_half(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  // Whole numbers from -128 to 127.
  static void store_bytes(int8_t* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
  }
};

#ifdef PONDER_AVX512_BF16
struct Avx512Bf16 : Avx512 {
  using Pairs = __m512bh;
  using PairX = __m512bh;
  static void store2(uint16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(x));
  }
  static Pairs load2(const char* p) { return (__m512bh)vector(p); }
  static PairX spread2(const char* p) { return (__m512bh)spread(p); }
  static F dot2(F acc, Pairs w, PairX x) { return _mm512_dpbf16_ps(acc, x, w); }

  using Bytes = I;
  using ByteX = I;
  static Bytes load4(const char* p) { return vector(p); }
  static void load_halves(const char* p, Bytes& low, Bytes& high) {
    low = low_halves(vector(p));
    high = low_halves(_mm512_srli_epi16(vector(p), 4));
  }
  static ByteX spread4(const char* p) { return spread(p); }
  static I dot4(I acc, Bytes w, ByteX x) { return _mm512_dpbusd_epi32(acc, w, x); }
};
#endif

}  // namespace
