// Packing of weights. See model.h.
#include "model.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ponder {
namespace {

constexpr int64_t kHuge = 2 << 20;

uint16_t half(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (x != x) return (uint16_t)((bits >> 16) | 0x40);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float whole(uint16_t x) {
  const uint32_t bits = (uint32_t)x << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}

// Calls put(place, value) with the place of each weight in panels that hold `per` a vector lane.
template <class Put>
void each_place(const float* weights, int64_t columns, int64_t inner, int per, Put put) {
  const int64_t steps = padded(inner) / per, vector = kLanes * per;
  for (int64_t n = 0; n < columns; ++n)
    for (int64_t k = 0; k < inner; ++k)
      put((n / kLanes * steps + k / per) * vector + n % kLanes * per + k % per, n, weights[n * inner + k]);
}

float column_scale(const float* weights, int64_t inner) {
  float most = 0, sum = 0;
  for (int64_t k = 0; k < inner; ++k) {
    most = std::fabs(weights[k]) > most ? std::fabs(weights[k]) : most;
    sum += weights[k];
  }
  // A column that is not finite says so in its scale; its bytes cannot.
  return std::isfinite(sum) ? most / 127.0f : NAN;
}

void copy(Memory& to, const float* from, int64_t count, int64_t room) {
  std::memcpy(to.floats(room), from, count * sizeof(float));
}

}  // namespace

Memory::~Memory() { std::free(data_); }

char* Memory::room(int64_t bytes) {
  if (bytes <= bytes_) return data_;
  const int64_t unit = bytes >= kHuge ? kHuge : kVectorBytes;
  const int64_t size = (bytes + unit - 1) / unit * unit;
  std::free(data_);
  data_ = static_cast<char*>(std::aligned_alloc(unit, size));
  bytes_ = data_ ? size : 0;
  if (!data_) throw std::bad_alloc();
#if defined(__linux__)
  if (size >= kHuge) madvise(data_, size, MADV_HUGEPAGE);
#endif
  std::memset(data_, 0, size);
  return data_;
}

void Matrix::pack(Format format, const float* weights, int64_t columns, int64_t inner) {
  const int per = 4 / bytes_of(format);
  packed_ = {format, columns, padded(columns) / kLanes, padded(inner) / per, nullptr, nullptr, nullptr};
  char* data = data_.room(packed_.panels * packed_.steps * kVectorBytes);
  packed_.data = data;
  if (format == kFloat32) {
    float* out = reinterpret_cast<float*>(data);
    each_place(weights, columns, inner, per, [&](int64_t at, int64_t, float w) { out[at] = w; });
  } else if (format == kBfloat16) {
    uint16_t* out = reinterpret_cast<uint16_t*>(data);
    each_place(weights, columns, inner, per, [&](int64_t at, int64_t, float w) { out[at] = half(w); });
  } else {
    pack_bytes(weights, columns, inner);
  }
}

void Matrix::pack_bytes(const float* weights, int64_t columns, int64_t inner) {
  int8_t* out = reinterpret_cast<int8_t*>(data_.data());
  float* scales = scales_.floats(packed_.panels * kLanes);
  int32_t* offsets = reinterpret_cast<int32_t*>(offsets_.room(packed_.panels * kLanes * 4));
  for (int64_t n = 0; n < columns; ++n) scales[n] = column_scale(weights + n * inner, inner);
  each_place(weights, columns, inner, 4, [&](int64_t at, int64_t n, float w) {
    out[at] = scales[n] > 0 ? (int8_t)std::nearbyint(w / scales[n]) : 0;
    offsets[n] += 128 * out[at];
  });
  packed_.scales = scales;
  packed_.offsets = offsets;
}

bool Model::take(int kind, int index, const float* data) {
  const int64_t hidden = shape.hidden, inner = shape.intermediate, heads = (int64_t)shape.heads * shape.head_dim;
  const int64_t angles = (int64_t)shape.positions * shape.head_dim / 2;
  if (index < 0 || index >= shape.layers) return false;
  Layer& layer = layers[index];
  switch (kind) {
    case kEmbedding: {
      const int64_t count = shape.vocabulary * hidden;
      if (format == kFloat32) return copy(embedding, data, count, count), true;
      uint16_t* out = reinterpret_cast<uint16_t*>(embedding.room(count * 2));
      for (int64_t i = 0; i < count; ++i) out[i] = half(data[i]);
      return true;
    }
    case kHead: return head.pack(format, data, shape.vocabulary, hidden), true;
    case kNorm: return copy(norm, data, hidden, padded(hidden)), true;
    case kCosines: return copy(cosines, data, angles, angles), true;
    case kSines: return copy(sines, data, angles, angles), true;
    case kFrequencies: return std::memcpy(frequencies.room(shape.head_dim * 4), data, shape.head_dim * 4), true;
    case kBias: return copy(layer.bias, data, shape.width(), shape.width()), true;
    case kQueryNorm: return copy(layer.query_norm, data, shape.head_dim, shape.head_dim), true;
    case kKeyNorm: return copy(layer.key_norm, data, shape.head_dim, shape.head_dim), true;
    case kAttentionNorm: return copy(layer.attention_norm, data, hidden, padded(hidden)), true;
    case kProjection: return layer.projection.pack(format, data, shape.width(), hidden), true;
    case kOutput: return layer.output.pack(format, data, hidden, heads), true;
    case kMlpNorm: return copy(layer.mlp_norm, data, hidden, padded(hidden)), true;
    case kGate: return layer.gate.pack(format, data, inner, hidden), true;
    case kUp: return layer.up.pack(format, data, inner, hidden), true;
    case kDown: return layer.down.pack(format, data, hidden, inner), true;
  }
  return false;
}

void Model::embed(int64_t token, float* out) const {
  const int64_t n = shape.hidden;
  if (format == kFloat32) {
    std::memcpy(out, reinterpret_cast<const float*>(embedding.data()) + token * n, n * sizeof(float));
  } else {
    const uint16_t* row = reinterpret_cast<const uint16_t*>(embedding.data()) + token * n;
    for (int64_t i = 0; i < n; ++i) out[i] = whole(row[i]);
  }
  for (int64_t i = n; i < padded(n); ++i) out[i] = 0;
}

}  // namespace ponder
