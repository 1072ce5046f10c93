// One table, best first, each with the test of the processor that it needs. A new instruction set
// is a new file of kernels and a new line here. Those below "portable", which every machine has, are
// used where they are asked for by name alone.
#include "dispatch.h"

#include <cstring>
#include <string>

#include "tiles_check.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

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
bool has_tiles() { return has_avx512_bf16() && has_amx(); }
#elif defined(__aarch64__)
bool has_dotprod() {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & 1 << 20;  // ASIMDDP
#else
  return true;  // of Apple's, all have it
#endif
}
#endif
bool always() { return true; }

const Choice choices[] = {
#if defined(__x86_64__)
    {&avx512_bf16_kernels, has_avx512_bf16},
    {&avx512_kernels, has_avx512},
    {&avx2_kernels, has_avx2},
#elif defined(__aarch64__)
    {&neon_dotprod_kernels, has_dotprod},
    {&neon_kernels, always},
#endif
    {&portable_kernels, always},
#if defined(__x86_64__)
    // Not the first choice before it has run on the hardware: so far only emulations have run it.
    {&amx_kernels, has_tiles},
#endif
    {&amx_emulated_kernels, always},
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
