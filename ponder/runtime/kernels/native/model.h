// A model's weights, packed once, and the buffers of a step, kept between steps.
#pragma once

#include <deque>
#include <mutex>
#include <vector>

#include "abi.h"
#include "team.h"

namespace ponder {

// 64-byte aligned, zeroed when it grows; large ones in huge pages where the system has them.
class Memory {
 public:
  Memory() = default;
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // At least `bytes`; what was in it is lost when it grows.
  char* room(int64_t bytes);
  float* floats(int64_t count) { return reinterpret_cast<float*>(room(count * 4)); }
  char* data() const { return data_; }

 private:
  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Memory that is handed out and never taken back, so that many small things lie in few huge pages.
class Arena {
 public:
  // Zeros, 64-byte aligned.
  char* take(int64_t bytes);

 private:
  std::deque<Memory> chunks_;
  int64_t size_ = 0, used_ = 0;  // of the last
};

class Matrix {
 public:
  // `weights` is [columns, inner] floats, row by row. Padding columns and inner places add nothing.
  void pack(Format format, const float* weights, int64_t columns, int64_t inner, Arena& arena, Team& team);
  const Packed& packed() const { return packed_; }

 private:
  // One panel's columns.
  void pack_steps(const float* weights, int64_t columns, int64_t inner, char* panel) const;
  void pack_groups(const float* weights, int64_t columns, int64_t inner, char* panel, uint16_t* scales) const;

  Packed packed_{};
};

struct Layer {
  Memory attention_norm, mlp_norm;
  Memory bias, query_norm, key_norm;  // empty where the model has none
  Matrix projection, output, gate, up, down;
};

struct Buffers {
  Memory x, normed, projected, queries, attended, partials, hidden, inputs, scratch;
};

class Model {
 public:
  Model(const Shape& shape, Format format, const Kernels& kernels, int threads)
      : shape(shape), format(format), kernels(kernels), team(threads), layers(shape.layers) {}

  // Takes one tensor; false for a kind it does not know. Frequencies are doubles.
  bool take(int kind, int layer, const float* data);
  void embed(int64_t token, float* out) const;

  const Shape shape;
  const Format format;
  const Kernels& kernels;
  Team team;
  Arena arena;
  std::vector<Layer> layers;
  Memory embedding, norm, cosines, sines, frequencies;
  Matrix head;
  Buffers buffers;
  std::mutex busy;
};

enum Tensor : int {
  kEmbedding, kHead, kNorm, kCosines, kSines, kFrequencies,
  kAttentionNorm, kProjection, kOutput, kMlpNorm, kGate, kUp, kDown, kBias, kQueryNorm, kKeyNorm
};

}  // namespace ponder
