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

// One group, symmetric, at most 127. One that is not finite gets a NaN scale, since whole numbers
// could not tell.
template <class L>
Group quantise(const float* x, Format format, int8_t* out) {
  const auto a = L::load(x), b = L::load(x + kLanes);
  const auto most = L::max(L::max(a, L::sub(L::zero(), a)), L::max(b, L::sub(L::zero(), b)));
  const float top = L::largest(most);
  const float poison = L::sum(L::mul(L::add(a, b), L::zero()));
  Group group{};
  // Below, the inverse would be infinite; what is lost is nothing to a sum in float32.
  if (!(top > 1e-30f)) {
    std::memset(out, 0, kGroup);
    group.scale = poison;
    return group;
  }
  const auto inverse = L::set1(127.0f / top);
  const auto low = L::round(L::mul(a, inverse)), high = L::round(L::mul(b, inverse));
  const float sum = L::sum(L::add(low, high));
  group.scale = top / 127.0f + poison;
  if (poison != 0) return group;
  L::store_bytes(out, low);
  L::store_bytes(out + kLanes, high);
  if (format == kInt8) group.start = -128 * (int32_t)sum;
  else group.sum = group.scale * sum;
  return group;
}

template <class L>
void quantise_row(const float* x, int64_t n, Format format, char* out) {
  Group* to = reinterpret_cast<Group*>(out + steps_of(format, n) * 4);
  for (int64_t i = 0; i < n; i += kGroup, out += kGroup) {
    float padded[kGroup] = {};
    if (i + kGroup > n) std::memcpy(padded, x + i, (n - i) * sizeof(float));
    *to++ = quantise<L>(i + kGroup > n ? padded : x + i, format, reinterpret_cast<int8_t*>(out));
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
    quantise_row<L>(x, n, format, out);
  }
}

}  // namespace
