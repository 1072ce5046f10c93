// Runs the native step of a small model without Python, for machines that tests reach only through
// an emulator. Reads a file that `native_elsewhere.py` writes, and writes logits to the output.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "dispatch.h"
#include "step.h"

using namespace ponder;

namespace {

[[noreturn]] void fail(const char* why) {
  std::fprintf(stderr, "native_check: %s\n", why);
  std::exit(1);
}

class Source {
 public:
  explicit Source(const char* path) : file_(std::fopen(path, "rb")) {
    if (!file_) fail("no such file");
  }
  template <class T>
  T one() {
    return *many<T>(1).data();
  }
  template <class T>
  std::vector<T> many(int64_t count) {
    std::vector<T> values(count);
    if (std::fread(values.data(), sizeof(T), count, file_) != (size_t)count) fail("the file ends early");
    return values;
  }

 private:
  std::FILE* file_;
};

// Every token's logits, in steps of `chunk` tokens of one sequence.
std::vector<float> logits(Model& model, const std::vector<int64_t>& tokens, int64_t chunk) {
  const Shape& shape = model.shape;
  const int64_t count = (int64_t)tokens.size(), pages = (count + kPage - 1) / kPage;
  Memory keys, values;
  const int64_t room = pages * kPage * shape.layers * shape.kv_heads * shape.head_dim * 4;
  std::vector<float> hidden(count * shape.hidden), out(count * shape.vocabulary);
  std::vector<int64_t> places(count), wanted(count);
  for (int64_t i = 0; i < count; ++i) places[i] = wanted[i] = i;
  for (int64_t start = 0; start < count; start += chunk) {
    const int64_t rows = count - start < chunk ? count - start : chunk;
    const Work work{places.data(), nullptr, nullptr, nullptr, start + rows, rows};
    Step step{};
    step.tokens = tokens.data() + start;
    step.works = &work;
    step.work_count = 1;
    step.wanted = wanted.data();
    step.wanted_count = rows;
    step.keys = keys.room(room);
    step.values = values.room(room);
    step.pages = pages;
    step.hidden = hidden.data() + start * shape.hidden;
    run(model, step);
  }
  run_head(model, hidden.data(), count, out.data());
  return out;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 1) {
    std::puts(known_kernels());
    return 0;
  }
  if (count != 5) fail("give nothing, or an instruction set, a format, tokens a step and a file");
  const Kernels* kernels = find_kernels(arguments[1]);
  if (!kernels) fail("this machine has no such instruction set");
  Source source(arguments[4]);
  Model model(source.one<Shape>(), (Format)std::atoi(arguments[2]), *kernels, 2);
  for (int32_t left = source.one<int32_t>(); left > 0; --left) {
    const int32_t kind = source.one<int32_t>(), layer = source.one<int32_t>();
    if (!model.take(kind, layer, source.many<float>(source.one<int64_t>()).data())) fail("a tensor of an unknown kind");
  }
  const std::vector<int64_t> tokens = source.many<int64_t>(source.one<int64_t>());
  const std::vector<float> result = logits(model, tokens, std::atoi(arguments[3]));
  std::fwrite(result.data(), sizeof(float), result.size(), stdout);
  return 0;
}
