// What happens to one row by itself: norm, rounding to a product's input, rotation, and the write
// of its keys and values.
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

template <class L>
void convert(const float* x, int64_t n, Format format, Input input, int64_t row) {
  char* out = input.row(row);
  if (format == kFloat32) {
    std::memcpy(out, x, n * sizeof(float));
  } else if (format == kBfloat16) {
    uint16_t* half = reinterpret_cast<uint16_t*>(out);
    for (int64_t i = 0; i < n; ++i) half[i] = to_bfloat16(x[i]);
  } else {
    quantise_row<L>(x, n, format, out);
  }
}

inline void rotate(const float* x, const float* cosines, const float* sines, int half, float scale,
                   float* out) {
  for (int j = 0; j < half; ++j) {
    const float low = x[j], high = x[j + half];
    out[j] = (low * cosines[j] - high * sines[j]) * scale;
    out[j + half] = (high * cosines[j] + low * sines[j]) * scale;
  }
}

template <class T>
T rounded(float x) {
  if constexpr (sizeof(T) == 2) return to_bfloat16(x);
  else return x;
}

template <class T>
void write_key(const float* key, int width, int place, char* page) {
  constexpr int per = 4 / sizeof(T);
  T* out = reinterpret_cast<T*>(page) + place * per;
  for (int d = 0; d < width; ++d) out[d / per * (kLanes * per) + d % per] = rounded<T>(key[d]);
}

template <class T>
void write_value(const float* value, int width, int place, char* page) {
  constexpr int per = 4 / sizeof(T);
  T* out = reinterpret_cast<T*>(page) + place / per * (kLanes * per) + place % per;
  for (int d = 0; d < width; ++d)
    out[d / kLanes * (kPage * kLanes) + d % kLanes * per] = rounded<T>(value[d]);
}

template <class T>
void turn_as(const Turn& job, int64_t row, int64_t position, int64_t slot) {
  const Shape& shape = *job.shape;
  const int width = shape.head_dim, half = width / 2;
  const float* cosines = job.cosines + position * half;
  const float* sines = job.sines + position * half;
  const float* x = job.projected + row * shape.width();
  // 1 / ln 2: scores are in base 2.
  const float scale = 1.44269504088896f / std::sqrt((float)width);
  float turned[kMaxHead];
  T* queries = reinterpret_cast<T*>(job.queries) + row * shape.heads * width;
  for (int h = 0; h < shape.heads; ++h, x += width, queries += width) {
    rotate(x, cosines, sines, half, scale, turned);
    for (int d = 0; d < width; ++d) queries[d] = rounded<T>(turned[d]);
  }
  const float* value = x + shape.kv_heads * width;
  for (int h = 0; h < shape.kv_heads; ++h, x += width, value += width) {
    const int64_t page = job.cache.at(h, slot / kPage);
    rotate(x, cosines, sines, half, 1.0f, turned);
    write_key<T>(turned, width, slot % kPage, job.cache.keys + page);
    write_value<T>(value, width, slot % kPage, job.cache.values + page);
  }
}

inline void turn(const Turn& job, int64_t row, int64_t position, int64_t slot) {
  if (job.format == kFloat32) turn_as<float>(job, row, position, slot);
  else turn_as<uint16_t>(job, row, position, slot);
}

}  // namespace
