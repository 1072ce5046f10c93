// How far keys and queries are rotated: looked up for positions, by symmetry for their opposites,
// computed for what lies beyond. A distance has one rotation, however it came about.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <vector>

#include "abi.h"

namespace ponder {

struct Rotary {
  const float* cosines;  // [positions][half]
  const float* sines;
  const double* frequencies;  // [half], radians a position
  int64_t positions, half;
};

class Angles {
 public:
  explicit Angles(const Rotary& rotary) : rotary_(rotary) {}

  // Valid as long as this object.
  Angle at(int64_t distance) {
    const int64_t size = std::llabs(distance), half = rotary_.half;
    const float sign = distance < 0 ? -1.0f : 1.0f;
    if (size < rotary_.positions) return {rotary_.cosines + size * half, rotary_.sines + size * half, sign};
    std::vector<float>& far = far_[size];
    if (far.empty()) compute(size, far);
    return {far.data(), far.data() + half, sign};
  }

 private:
  void compute(int64_t size, std::vector<float>& far) const {
    far.resize(2 * rotary_.half);
    for (int64_t j = 0; j < rotary_.half; ++j) {
      const double angle = (double)size * rotary_.frequencies[j];
      far[j] = (float)std::cos(angle);
      far[rotary_.half + j] = (float)std::sin(angle);
    }
  }

  Rotary rotary_;
  std::map<int64_t, std::vector<float>> far_;
};

}  // namespace ponder
