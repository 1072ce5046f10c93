// What crosses from Python: plain structs of numbers and raw pointers, mirrored in native.py.
// Also the kernel table that each instruction set fills in. No Python, no torch.
#pragma once

#include <cstdint>

namespace ponder {

constexpr int kLanes = 16;  // floats a vector, on every instruction set
constexpr int kPage = 16;   // tokens a KV page
constexpr int kBlock = 64;  // positions a softmax step
constexpr int kPagesPerBlock = kBlock / kPage;
// Positions a partial result covers. Fixed, so that where a row's sums are cut depends on its
// position alone, never on who shares the step or how many threads there are.
constexpr int kSegment = 256;
constexpr int kVectorBytes = 64;
constexpr int kBatchRows = 32;    // rows one thread attends for at a time
constexpr int kMaxRows = 8;       // of a tile
constexpr int kMaxHead = 512;     // widest head
constexpr int kDrawBlock = 256;   // logits a partial sum covers

enum Format : int32_t { kFloat32 = 0, kBfloat16 = 1, kInt8 = 2 };

constexpr int bytes_of(Format format) {
  return format == kFloat32 ? 4 : format == kBfloat16 ? 2 : 1;
}
// KV and attention have no int8 form.
constexpr Format attention_format(Format format) { return format == kFloat32 ? kFloat32 : kBfloat16; }
constexpr int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

struct Shape {
  int32_t layers, hidden, intermediate, heads, kv_heads, head_dim, vocabulary, positions;
  float epsilon;

  int32_t group() const { return heads / kv_heads; }
  int32_t width() const { return (heads + 2 * kv_heads) * head_dim; }
};

// A weight matrix in panels of 16 output columns. A panel is a run of 64-byte vectors, each with
// 4 bytes of the inner dimension (1 float, 2 bfloat16, 4 int8) for each column.
struct Packed {
  Format format;
  int64_t columns, panels, steps;
  const char* data;
  const float* scales;   // [panels * 16], int8 only
  const int32_t* offsets;  // [panels * 16], int8 only: 128 times the column's sum

  const char* panel(int64_t index) const { return data + index * steps * kVectorBytes; }
};

// Rows as a matrix product reads them: 4 bytes a step.
struct Input {
  char* data;
  int64_t stride;  // bytes
  float* scales;   // [rows], int8 only

  char* row(int64_t index) const { return data + index * stride; }
};

struct Linear {
  const Packed* weight;
  Input input;
  int64_t rows;
  float* output;
  int64_t stride;  // floats
  bool add;        // to what is there
};

// One layer's KV. A page of one head is two runs of vectors: keys [head_dim steps][16 places], and
// values [head_dim / 16 panels][16 places' steps][16 dimensions], so that scores and weighted sums
// are the same tile as a matrix product.
struct Cache {
  char* keys;
  char* values;
  int64_t pages;
  int64_t page_bytes;

  int64_t at(int64_t head, int64_t page) const { return (head * pages + page) * page_bytes; }
};

// Rows of a batch that read the same places of one block.
struct Run {
  int32_t first, count;  // entries of the batch
  int32_t block;         // positions block * 64 and on
  int32_t places;        // how many of the block's 64 anybody here sees
  int64_t page[kPagesPerBlock];  // -1: the places do not lie in one page in order
  const int64_t* slots;          // of the block's first place
};

struct Entry {
  int32_t row, position;
  int64_t partial;  // where this row's result for this segment goes
};

// Up to a few dozen rows, and one segment of positions: what one thread does at a time.
struct Batch {
  const Entry* entries;
  const Run* runs;
  int32_t count, run_count;
};

struct Attention {
  const Shape* shape;
  Format format;
  Cache cache;
  const char* queries;  // [rows][heads][head_dim], scaled to base 2
  float* partials;      // [partials][heads][head_dim + 16]: sums, their maximum, their total
};

struct Turn {
  const Shape* shape;
  Format format;
  Cache cache;
  const float* projected;  // [rows][width]
  const float* cosines;    // [positions][head_dim / 2]
  const float* sines;
  char* queries;
};

struct Draw {
  float temperature, min_p, top_p;
  int32_t top_k;
  double uniform;
  int32_t token;  // out; -1: every token is forbidden, -2: not finite
  float logprob;  // out
};

struct Kernels {
  const char* name;
  void (*linear)(const Linear&, int64_t first, int64_t last);  // panels
  // silu(gate) * up into `gate.output`; panels.
  void (*gated)(const Linear& gate, const Linear& up, int64_t first, int64_t last);
  int64_t panels;  // that `linear` takes at once
  void (*norm)(const float* x, const float* weight, int64_t n, int64_t real, float epsilon,
               float* out);
  void (*convert)(const float* x, int64_t n, Format format, Input input, int64_t row);
  void (*turn)(const Turn&, int64_t row, int64_t position, int64_t slot);
  void (*attend)(const Attention&, const Batch&, int64_t kv_head, char* scratch);
  void (*finish)(const Attention&, int64_t first, int64_t count, float* out);
  float (*largest)(const float* x, int64_t n);
  double (*weigh)(const float* x, int64_t n, float best, float rate, float* weights, double* sums);
};

extern const Kernels portable_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
extern const Kernels avx512_bf16_kernels;
#endif

}  // namespace ponder
