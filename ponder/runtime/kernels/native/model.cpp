// Memory, and which tensor goes where. See model.h.
#include "model.h"

#include "half.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ponder {
namespace {

constexpr int64_t kHuge = 2 << 20, kSmallestChunk = 64 << 10, kLargestChunk = 64 << 20;

float whole(uint16_t x) {
  const uint32_t bits = (uint32_t)x << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
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

char* Arena::take(int64_t bytes) {
  bytes = (bytes + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
  if (used_ + bytes > size_) {
    const int64_t next = size_ < kLargestChunk ? 2 * size_ : size_;
    size_ = std::max({bytes, next, kSmallestChunk});
    used_ = 0;
    chunks_.emplace_back().room(size_);
  }
  used_ += bytes;
  return chunks_.back().data() + used_ - bytes;
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
      for (int64_t i = 0; i < count; ++i) out[i] = to_bfloat16(data[i]);
      return true;
    }
    case kHead: return head.pack(head_format(format), data, shape.vocabulary, hidden, arena, team), true;
    case kNorm: return copy(norm, data, hidden, padded(hidden)), true;
    case kCosines: return copy(cosines, data, angles, angles), true;
    case kSines: return copy(sines, data, angles, angles), true;
    case kFrequencies: return std::memcpy(frequencies.room(shape.head_dim * 4), data, shape.head_dim * 4), true;
    case kBias: return copy(layer.bias, data, shape.width(), shape.width()), true;
    case kQueryNorm: return copy(layer.query_norm, data, shape.head_dim, shape.head_dim), true;
    case kKeyNorm: return copy(layer.key_norm, data, shape.head_dim, shape.head_dim), true;
    case kAttentionNorm: return copy(layer.attention_norm, data, hidden, padded(hidden)), true;
    case kProjection: return layer.projection.pack(format, data, shape.width(), hidden, arena, team), true;
    case kOutput: return layer.output.pack(format, data, hidden, heads, arena, team), true;
    case kMlpNorm: return copy(layer.mlp_norm, data, hidden, padded(hidden)), true;
    case kGate: return layer.gate.pack(format, data, inner, hidden, arena, team), true;
    case kUp: return layer.up.pack(format, data, inner, hidden, arena, team), true;
    case kDown: return layer.down.pack(format, data, hidden, inner, arena, team), true;
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
