// One table, best first, each with the test of the processor that it needs. A new instruction set
// (AMX, SVE) is a new file of kernels and a new line here.
#include "dispatch.h"

#include <cstring>
#include <string>

namespace ponder {
namespace {

struct Choice {
  const Kernels* kernels;
  bool (*present)();
};

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
}
#endif
bool always() { return true; }

const Choice choices[] = {
#if defined(__x86_64__)
    {&avx512_bf16_kernels, has_avx512_bf16},
    {&avx512_kernels, has_avx512},
    {&avx2_kernels, has_avx2},
#endif
    {&portable_kernels, always},
};

}  // namespace

const Kernels* find_kernels(const char* name) {
  for (const Choice& choice : choices)
    if (choice.present() && (!*name || std::strcmp(name, choice.kernels->name) == 0)) return choice.kernels;
  return nullptr;
}

const char* known_kernels() {
  static const std::string names = [] {
    std::string all;
    for (const Choice& choice : choices)
      if (choice.present()) all += (all.empty() ? "" : " ") + std::string(choice.kernels->name);
    return all;
  }();
  return names.c_str();
}

}  // namespace ponder
