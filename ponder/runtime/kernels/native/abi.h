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
constexpr int kBlocksPerSegment = kSegment / kBlock;
constexpr int kVectorBytes = 64;
// Queries of one head that a thread attends for at a time: their scores stay in the nearest cache.
constexpr int kBatchQueries = 24;
constexpr int kMaxHead = 512;     // widest head
constexpr int kDrawBlock = 256;   // logits a partial sum covers

// Inner values that share a scale, in weights and in what is multiplied by them; as in GGUF's
// Q8_0 and Q4_1.
constexpr int kGroup = 32;
constexpr int kGroupSteps = kGroup / 4;

enum Format : int32_t { kFloat32 = 0, kBfloat16 = 1, kInt8 = 2, kInt4 = 3 };

constexpr bool grouped(Format format) { return format == kInt8 || format == kInt4; }
// Of one inner value of a product's input: both kinds of grouped weights meet bytes.
constexpr int bytes_of(Format format) {
  return format == kFloat32 ? 4 : format == kBfloat16 ? 2 : 1;
}
// KV and attention have no grouped form.
constexpr Format attention_format(Format format) { return format == kFloat32 ? kFloat32 : kBfloat16; }
// The head and the embedding have none of 4 bits: what they lose is seen at once.
constexpr Format head_format(Format format) { return format == kInt4 ? kInt8 : format; }
constexpr int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }
constexpr int64_t groups(int64_t inner) { return (inner + kGroup - 1) / kGroup; }
// Steps of 4 bytes of input along the inner dimension.
constexpr int64_t steps_of(Format format, int64_t inner) {
  return grouped(format) ? groups(inner) * kGroupSteps : padded(inner) * bytes_of(format) / 4;
}
// Of an input row: its steps, then a `Group` for each group.
constexpr int64_t row_bytes(Format format, int64_t inner) {
  return steps_of(format, inner) * 4 + (grouped(format) ? groups(inner) * 8 : 0);
}

struct Shape {
  int32_t layers, hidden, intermediate, heads, kv_heads, head_dim, vocabulary, positions;
  float epsilon;
  float scale;  // of scores

  constexpr int32_t group() const { return heads / kv_heads; }
  int32_t width() const { return (heads + 2 * kv_heads) * head_dim; }
};

// A weight matrix in panels of 16 output columns. A panel is a run of 64-byte vectors, each with
// one step of the inner dimension for each column: 1 float, 2 bfloat16, 4 bytes (int8), or 2 times 4
// halves of a byte (int4). Sixteen vectors in a row are a tile as AMX wants it; of int8, eight, since
// a group's sum must be scaled before the next joins it.
//
//   int8   weight = scale * (byte - 128)
//   int4   weight = scale * half-byte + least; a group's vector v has step v in the low halves of
//          its bytes and step v + 4 in the high halves
//
// A group's whole-number sum is exact; it is multiplied by the row's scale times the column's, and
// groups are added in order, so that every tile size gives the same floats.
struct Packed {
  Format format;
  int64_t columns, panels, steps;
  const char* data;
  // Half precision: [panels][groups][16] scales (int8), or [panels][groups][scales 16, least 16] (int4).
  const uint16_t* scales;

  int64_t vectors() const { return format == kInt4 ? steps / 2 : steps; }
  const char* panel(int64_t index) const { return data + index * vectors() * kVectorBytes; }
  int64_t group_scales() const { return format == kInt4 ? 2 * kLanes : kLanes; }
  const uint16_t* panel_scales(int64_t index) const {
    return scales + index * (steps / kGroupSteps) * group_scales();
  }
};

// Of one group of an input row: value = scale * signed byte.
struct Group {
  float scale;
  union {
    int32_t start;  // int8: -128 times the bytes' sum, which the weights' shift by 128 adds
    float sum;      // int4: the values' sum, which the column's least is multiplied by
  };
};

// Rows as a matrix product reads them: 4 bytes a step, then the groups. See `row_bytes`.
struct Input {
  char* data;
  int64_t stride;  // bytes

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

// Panels `first` to `last` of a product. The same thread goes on with those from `next` on of `then`, which
// may be asked of the memory meanwhile; null: not known.
struct Span {
  int64_t first, last;
  const Packed* then;
  int64_t next;
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
  uint64_t holes;        // those of them that hold nothing, a bit each
  int64_t page[kPagesPerBlock];  // -1: the places do not lie in one page in order
  const int64_t* slots;          // of the block's first place
};

struct Entry {
  int32_t last;                        // place it sees: its own
  int32_t queries[kBlocksPerSegment];  // the row's query as each block of the segment wants it
  int64_t partial;                     // where this row's result for this segment goes
};

// A few rows, and one segment of positions: what one thread does at a time.
struct Batch {
  const Entry* entries;
  const Run* runs;
  int32_t count, run_count;
  int32_t segment;
};

// Never none: a row's queries of one head stay together.
constexpr int batch_rows(const Shape& shape) {
  return shape.group() < kBatchQueries ? kBatchQueries / shape.group() : 1;
}
constexpr int64_t batch_queries(const Shape& shape) { return batch_rows(shape) * shape.group(); }
// Bytes that a thread attends in.
constexpr int64_t attention_room(const Shape& shape) {
  const int64_t rows = batch_queries(shape), width = shape.head_dim;
  const int64_t floats = rows * (kSegment + 2 * width) + (kBlock + 1) * width + 2 * padded(rows);
  return (floats * 4 + 4095) / 4096 * 4096;
}

struct Attention {
  const Shape* shape;
  Format format;
  Cache cache;
  const char* queries;  // [queries][heads][head_dim], scaled to base 2
  float* partials;      // [partials][heads][head_dim + 16]: sums, their maximum, their total
};

struct Turn {
  const Shape* shape;
  Format format;
  Cache cache;
  const float* projected;   // [rows][width]
  const float* bias;        // [width], or null
  const float* query_norm;  // [head_dim], or null
  const float* key_norm;
  char* queries;
};

// A rotation: the cosines and sines, [head_dim / 2], of a distance or of its opposite.
struct Angle {
  const float *cosines, *sines;
  float sign;  // of the sines
};

// What a row's turn is given: where its key and value go, and how far they are rotated; and its
// query once for each distance at which it sees others.
struct Turning {
  int64_t row, slot;
  Angle key;
  const Angle* angles;  // [count]
  int64_t query, count;  // the first of its queries, and how many
};

struct Draw {
  const uint8_t* allowed;  // bits of the tokens that may come, the first the lowest; null allows all
  float temperature, min_p, top_p;
  int32_t top_k;
  double uniform;
  int32_t token;  // out; -1: every token is forbidden, -2: not finite
  float logprob;  // out
};

// What an instruction set provides. A new one fills in this table over the same `Packed`, `Input` and
// `Cache`; it may keep any tile shape, as long as each result is one fixed chain of sums.
struct Kernels {
  const char* name;
  void (*linear)(const Linear&, const Span&);
  // silu(gate) * up into `gate.output`.
  void (*gated)(const Linear& gate, const Linear& up, const Span&);
  int64_t panels;  // that `linear` takes at once
  void (*norm)(const float* x, const float* weight, int64_t n, int64_t real, float epsilon,
               float* out);
  void (*convert)(const float* x, int64_t n, Format format, Input input, int64_t row);
  void (*turn)(const Turn&, const Turning&);
  void (*attend)(const Attention&, const Batch&, int64_t kv_head, char* scratch);
  void (*finish)(const Attention&, int64_t first, int64_t count, float* out);
  float (*largest)(const float* x, int64_t n);
  double (*weigh)(const float* x, int64_t n, float best, float rate, float* weights, double* sums);
};

extern const Kernels portable_kernels;
extern const Kernels amx_emulated_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
extern const Kernels avx512_bf16_kernels;
extern const Kernels amx_kernels;
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
extern const Kernels neon_dotprod_kernels;
#endif

}  // namespace ponder
