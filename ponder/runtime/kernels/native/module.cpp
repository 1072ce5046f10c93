// The doors for ctypes, and an empty Python module so that the build and the import find the file.
// Nothing thrown passes a door: each answers 0, or -1 for no memory, or a number of its own.
#include <Python.h>

#include <cmath>
#include <new>

#include "dispatch.h"
#include "step.h"

#define DOOR extern "C" __attribute__((visibility("default")))

using namespace ponder;

namespace {

constexpr int kNoMemory = -1, kUnknown = -2, kOutOfRange = -3;

// Indices are 32-bit, and distances exact in a double's cosine.
constexpr int64_t kLongest = 1 << 30;

bool places_fit(const Work& work, int64_t slots) {
  if (work.count < 1 || work.count > work.length || work.length > kLongest) return false;
  for (int64_t i = 0; i < work.length; ++i)
    if (work.slots[i] < (i < work.past() ? -1 : 0) || work.slots[i] >= slots) return false;
  return true;
}

bool turns_fit(const Work& work, int64_t positions) {
  for (int64_t block = 0; block < work.blocks(); ++block)
    if (work.shift(block) < -kLongest || work.shift(block) > kLongest) return false;
  for (int64_t row = 0; row < work.count; ++row) {
    const int64_t position = work.position(row);
    if (position < 0 || position >= positions) return false;
    if (work.home(row) != position - work.shift((work.past() + row) / kBlock)) return false;
  }
  return true;
}

bool fits(const Model& model, const Step& step) {
  const int64_t* token = step.tokens;
  int64_t rows = 0;
  for (int64_t w = 0; w < step.work_count; ++w) {
    const Work& work = step.works[w];
    if (!places_fit(work, step.pages * kPage) || !turns_fit(work, model.shape.positions)) return false;
    for (int64_t i = 0; i < work.count; ++i, ++token)
      if (*token < 0 || *token >= model.shape.vocabulary) return false;
    rows += work.count;
  }
  for (int64_t i = 0; i < step.wanted_count; ++i)
    if (step.wanted[i] < 0 || step.wanted[i] >= rows) return false;
  return rows > 0 && step.wanted_count <= rows;
}

template <class Do>
int guarded(Do what) {
  try {
    return what();
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
}

}  // namespace

DOOR const char* ponder_isas() { return known_kernels(); }

DOOR int ponder_open(const Shape* shape, int format, const char* isa, int threads, Model** model) {
  const Kernels* kernels = find_kernels(isa);
  if (!kernels) return kUnknown;
  if (shape->head_dim % kLanes || shape->head_dim > kMaxHead || shape->heads % shape->kv_heads) return kOutOfRange;
  return guarded([&] { return *model = new Model(*shape, (Format)format, *kernels, threads), 0; });
}

DOOR void ponder_close(Model* model) { delete model; }

DOOR int ponder_take(Model* model, int kind, int layer, const float* data) {
  return guarded([&] { return model->take(kind, layer, data) ? 0 : kUnknown; });
}

DOOR int ponder_step(Model* model, Step* step) {
  if (!fits(*model, *step)) return kOutOfRange;
  return guarded([&] { return run(*model, *step), 0; });
}

DOOR int ponder_head(Model* model, const float* hidden, int64_t rows, float* logits) {
  return guarded([&] { return run_head(*model, hidden, rows, logits), 0; });
}

DOOR int ponder_linear(const char* isa, int format, const float* weights, int64_t columns, int64_t inner,
                       const float* x, int64_t rows, float* out) {
  const Kernels* kernels = find_kernels(isa);
  if (!kernels) return kUnknown;
  return guarded([&] { return run_linear(*kernels, (Format)format, weights, columns, inner, x, rows, out), 0; });
}

DOOR int ponder_draw(Model* model, const float* logits, const float* biased, int64_t rows, Draw* draws) {
  return guarded([&] { return run_draws(*model, logits, biased, rows, draws), 0; });
}

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&definition); }
