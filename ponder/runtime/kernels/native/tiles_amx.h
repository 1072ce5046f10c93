// Matrix products on tiles of 16 rows by 64 bytes (AMX; Intel's Software Developer's Manual, volume 1
// chapter 18), for bfloat16. A run of 16 vectors of a packed panel is a tile as it lies. Written
// over a unit `U` that has the instructions: the machine's, or their emulation.
#pragma once

namespace {

constexpr int kTileRows = 16;
constexpr int kTileSteps = 16;
constexpr int kTilePanels = 2;  // of one product
constexpr int kProductRows = 2 * kTileRows;

// What `ldtilecfg` reads. Sums are tiles 0 to 3 (rows by panels), rows are 4 and 5, weights 6 and 7.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};

  // For `count` rows, at most 32. A tile that would be empty stays unused.
  explicit TileConfig(int count) {
    const int low = count < kTileRows ? count : kTileRows, high = count - low;
    const int of_tile[8] = {low, low, high, high, low, high, kTileSteps, kTileSteps};
    for (int i = 0; i < 8; ++i) {
      rows[i] = (uint8_t)of_tile[i];
      bytes[i] = of_tile[i] ? kVectorBytes : 0;
    }
  }
};

// Another library may configure the tiles between two calls, so each call does, and lets go of
// them at its end: what is left in them makes every switch of threads slower.
template <class U>
struct Configured {
  explicit Configured(int rows) { U::configure(TileConfig(rows)); }
  ~Configured() { U::release(); }
  Configured(const Configured&) = delete;
  Configured& operator=(const Configured&) = delete;
};

// Sixteen steps of the inner dimension. `far`: from the first 16 rows to the next, and from one panel to
// the next.
template <class U>
void tile_steps(const char* x, int64_t stride, const char* w, int64_t far, bool high, bool both) {
  U::template load<6>(w, kVectorBytes);
  U::template load<4>(x, stride);
  U::template pairs<0, 4, 6>();
  if (both) {
    U::template load<7>(w + far, kVectorBytes);
    U::template pairs<1, 4, 7>();
  }
  if (!high) return;
  U::template load<5>(x + kTileRows * stride, stride);
  U::template pairs<2, 5, 6>();
  if (both) U::template pairs<3, 5, 7>();
}

// The last, incomplete steps, filled up with zeros: what lies behind them may be anything.
struct TileTail {
  alignas(64) char x[kProductRows][kVectorBytes] = {};
  alignas(64) char w[kTilePanels][kTileSteps][kVectorBytes] = {};

  TileTail(const Linear& job, int64_t row, int rows, int64_t panel, int panels, int64_t step) {
    const int64_t left = job.weight->steps - step;
    for (int r = 0; r < rows; ++r) std::memcpy(x[r], job.input.row(row + r) + step * 4, left * 4);
    for (int p = 0; p < panels; ++p)
      std::memcpy(w[p], job.weight->panel(panel + p) + step * kVectorBytes, left * kVectorBytes);
  }
};

// [rows][panels * 16] sums. The tiles of all sums are summed over the same sixteen steps at a time,
// whatever else is there, so a row's sums are its own.
template <class U>
void tile_product(const Linear& job, int64_t row, int rows, int64_t panel, int panels, float* out) {
  const bool high = rows > kTileRows, both = panels > 1;
  const int64_t steps = job.weight->steps, whole = steps / kTileSteps * kTileSteps;
  const Configured<U> tiles(rows);  // which zeroes them
  const char *x = job.input.row(row), *w = job.weight->panel(panel);
  for (int64_t k = 0; k < whole; k += kTileSteps)
    tile_steps<U>(x + k * 4, job.input.stride, w + k * kVectorBytes, steps * kVectorBytes, high, both);
  if (whole < steps) {
    const TileTail tail(job, row, rows, panel, panels, whole);
    tile_steps<U>(tail.x[0], kVectorBytes, tail.w[0][0], sizeof tail.w[0], high, both);
  }
  const int64_t stride = panels * kVectorBytes;
  char* to = reinterpret_cast<char*>(out);
  U::template store<0>(to, stride);
  if (both) U::template store<1>(to + kVectorBytes, stride);
  if (high) U::template store<2>(to + kTileRows * stride, stride);
  if (high && both) U::template store<3>(to + kTileRows * stride + kVectorBytes, stride);
}

constexpr int kMaxProduct = kProductRows * kTilePanels * kLanes;

// Calls what(row, rows, panel, panels) for blocks of at most 32 rows and 2 panels.
template <class Do>
void tile_blocks(int64_t rows, const Span& span, Do what) {
  for (int64_t panel = span.first; panel < span.last; panel += kTilePanels)
    for (int64_t row = 0; row < rows; row += kProductRows)
      what(row, (int)(rows - row < kProductRows ? rows - row : kProductRows), panel,
           (int)(span.last - panel < kTilePanels ? span.last - panel : kTilePanels));
}

// Of grouped weights a group is half a tile, and each is scaled by itself: lanes do that.
constexpr bool in_tiles(Format format) { return format == kBfloat16; }

template <class L, class U>
void tile_linear(const Linear& job, const Span& span) {
  if (!in_tiles(job.weight->format)) return linear<L>(job, span);
  alignas(64) float out[kMaxProduct];
  tile_blocks(job.rows, span, [&](int64_t row, int rows, int64_t panel, int panels) {
    tile_product<U>(job, row, rows, panel, panels, out);
    for (int i = 0; i < rows * panels; ++i) emit<L>(job, row + i / panels, panel + i % panels, out + i * kLanes);
  });
}

template <class L, class U>
void tile_gated(const Linear& gate, const Linear& up, const Span& span) {
  if (!in_tiles(gate.weight->format)) return gated<L>(gate, up, span);
  alignas(64) float g[kMaxProduct], u[kMaxProduct];
  tile_blocks(gate.rows, span, [&](int64_t row, int rows, int64_t panel, int panels) {
    tile_product<U>(gate, row, rows, panel, panels, g);
    tile_product<U>(up, row, rows, panel, panels, u);
    for (int i = 0; i < rows * panels; ++i) {
      float* out = gate.output + (row + i / panels) * gate.stride + (panel + i % panels) * kLanes;
      L::store(out, L::mul(silu<L>(L::load(g + i * kLanes)), L::load(u + i * kLanes)));
    }
  });
}

// The kernels for lanes `L`, with products on tiles.
template <class L, class U>
constexpr Kernels with_tiles(const char* name) {
  Kernels kernels = table<L>(name);
  kernels.linear = tile_linear<L, U>;
  kernels.gated = tile_gated<L, U>;
  kernels.panels = kTilePanels;
  return kernels;
}

}  // namespace
