// Whether this machine's matrix tiles may be used: it has them, the system lends them, and they
// compute what their manual says.
#if defined(__x86_64__)
#include "tiles_check.h"

#include <cmath>
#include <cstring>
#include <vector>

#if defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace ponder {
namespace {

#if defined(__linux__)
constexpr unsigned kTileBits = 1u << 22 | 1u << 24;  // AMX-BF16, AMX-TILE
constexpr unsigned kSavedState = 1u << 17 | 1u << 18;           // TILECFG, TILEDATA
constexpr int kRequestPermission = 0x1023, kTileData = 18;      // ARCH_REQ_XCOMP_PERM

bool lent() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) return false;  // OSXSAVE
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTileBits) != kTileBits) return false;
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & kSavedState) != kSavedState) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool lent() { return false; }
#endif

// Numbers that a wrong index would show in; the same on every machine.
class Numbers {
 public:
  uint32_t next() { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
  // A bfloat16 from -1 to 1.
  uint16_t half() {
    const float x = (float)next() * (2.0f / 16777216.0f) - 1.0f;
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return (uint16_t)(bits >> 16);
  }

 private:
  uint32_t state_ = 1;
};

// One product, of all rows at once and of each alone: full tiles, partial ones, a tail of steps.
class Product {
 public:
  Product() : weights_(kPanels * kSteps * kVectorBytes), input_(kRows * kStride) {
    Numbers numbers;
    for (std::vector<char>* bytes : {&weights_, &input_})
      for (size_t i = 0; i < bytes->size(); i += 2) {
        const uint16_t half = numbers.half();
        std::memcpy(bytes->data() + i, &half, 2);
      }
    packed_.format = kBfloat16;
    packed_.columns = kColumns;
    packed_.panels = kPanels;
    packed_.steps = kSteps;
    packed_.data = weights_.data();
  }

  std::vector<float> by(const Kernels& kernels, int together) {
    std::vector<float> out(kRows * kColumns);
    for (int row = 0; row < kRows; row += together) {
      Input input{};
      input.data = input_.data() + row * kStride;
      input.stride = kStride;
      Linear job{};
      job.weight = &packed_;
      job.input = input;
      job.rows = kRows - row < together ? kRows - row : together;
      job.output = out.data() + row * kColumns;
      job.stride = kColumns;
      kernels.linear(job, {0, kPanels, nullptr, 0});
    }
    return out;
  }

 private:
  static constexpr int kRows = 53, kColumns = 45, kPanels = 3, kSteps = 41, kStride = kSteps * 4 + 64;

  std::vector<char> weights_, input_;
  Packed packed_{};
};

// Sums of 82 products of numbers up to 1, apart by the order of adding at most.
constexpr float kRounding = 1e-4f;

}  // namespace

bool same_products(const Kernels& kernels, const Kernels& reference) {
  Product product;
  const std::vector<float> want = product.by(reference, 53), got = product.by(kernels, 53), alone = product.by(kernels, 1);
  for (size_t i = 0; i < want.size(); ++i)
    if (!(std::fabs(got[i] - want[i]) <= kRounding)) return false;
  return std::memcmp(got.data(), alone.data(), got.size() * sizeof(float)) == 0;
}

bool has_amx() {
  static const bool found = lent() && same_products(amx_kernels, amx_emulated_kernels);
  return found;
}

}  // namespace ponder
#endif
