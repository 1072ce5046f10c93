// What happens to one row by itself: norm, and rounding to a product's input.
#pragma once

namespace {

// `n` is padded with zeros in both `x` and `weight`; `real` is how many count for the mean.
template <class L>
void norm(const float* x, const float* weight, int64_t n, int64_t real, float epsilon, float* out) {
  auto squares = L::zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto v = L::load(x + i);
    squares = L::fma(v, v, squares);
  }
  const auto scale = L::set1(1.0f / std::sqrt(L::sum(squares) / (float)real + epsilon));
  for (int64_t i = 0; i < n; i += kLanes)
    L::store(out + i, L::mul(L::mul(L::load(x + i), scale), L::load(weight + i)));
}

// Symmetric, at most 127, shifted by 128 to be unsigned. A row that is not finite gets a NaN
// scale, since whole numbers could not tell.
template <class L>
void quantise(const float* x, int64_t n, uint8_t* out, float* scale) {
  auto most = L::zero(), poison = L::zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto v = L::load(x + i);
    most = L::max(most, L::max(v, L::sub(L::zero(), v)));
    poison = L::add(poison, L::mul(v, L::zero()));
  }
  const float top = L::largest(most);
  const float inverse = top > 0 ? 127.0f / top : 0.0f;
  *scale = top / 127.0f + L::sum(poison);
  if (!(*scale >= 0 && *scale < 3e38f)) {
    std::memset(out, 128, n);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float nearest = (x[i] * inverse + 12582912.0f) - 12582912.0f;
    out[i] = (uint8_t)((int32_t)nearest + 128);
  }
}

// `n` is a multiple of 16.
template <class L, class T>
void put_all(const float* x, int64_t n, T* out) {
  for (int64_t i = 0; i < n; i += kLanes) put<L>(out + i, L::load(x + i));
}

template <class L>
void convert(const float* x, int64_t n, Format format, Input input, int64_t row) {
  char* out = input.row(row);
  if (format == kFloat32) {
    std::memcpy(out, x, n * sizeof(float));
  } else if (format == kBfloat16) {
    put_all<L>(x, n, reinterpret_cast<uint16_t*>(out));
  } else {
    quantise<L>(x, n, reinterpret_cast<uint8_t*>(out), input.scales + row);
  }
}

}  // namespace
