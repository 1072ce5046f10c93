// The tile instructions in plain C++, as Intel's manual states them, so that what is built on them
// runs and is tested on every machine. Where the machine would fault, the emulation aborts.
#pragma once

namespace {

struct EmulatedTiles {
  struct Tile {
    int rows = 0, bytes = 0;
    alignas(64) char data[kTileRows][kVectorBytes] = {};
  };
  static Tile* all() {
    static thread_local Tile tiles[8];
    return tiles;
  }
  static Tile& tile(int index) {
    Tile& found = all()[index];
    if (!found.rows) std::abort();
    return found;
  }

  static void configure(const TileConfig& config) {
    if (config.palette != 1) std::abort();
    for (int i = 0; i < 8; ++i) {
      all()[i] = Tile();
      all()[i].rows = config.rows[i];
      all()[i].bytes = config.bytes[i];
    }
  }
  static void release() {
    for (int i = 0; i < 8; ++i) all()[i] = Tile();
  }

  template <int T>
  static void load(const char* from, int64_t stride) {
    Tile& t = tile(T);
    for (int r = 0; r < t.rows; ++r) std::memcpy(t.data[r], from + r * stride, t.bytes);
  }
  template <int T>
  static void store(char* to, int64_t stride) {
    const Tile& t = tile(T);
    for (int r = 0; r < t.rows; ++r) std::memcpy(to + r * stride, t.data[r], t.bytes);
  }

  // TDPBF16PS: the products of first halves and those of second halves are two chains from zero,
  // which are added to each other and then to the sum. Denormals count as zero.
  template <int Sum, int X, int W>
  static void pairs() {
    Tile &sum = tile(Sum), &x = tile(X), &w = tile(W);
    if (!match(sum, x, w)) std::abort();
    for (int r = 0; r < sum.rows; ++r)
      for (int n = 0; n < kLanes; ++n) {
        float chain[2] = {};
        for (int k = 0; k < w.rows; ++k)
          for (int half = 0; half < 2; ++half)
            chain[half] = flushed(std::fma(number(x, r, 2 * k + half), number(w, k, 2 * n + half), chain[half]));
        float total;
        std::memcpy(&total, sum.data[r] + 4 * n, 4);
        total = flushed(flushed(total) + flushed(chain[0] + chain[1]));
        std::memcpy(sum.data[r] + 4 * n, &total, 4);
      }
  }

 private:
  static bool match(const Tile& sum, const Tile& x, const Tile& w) {
    return sum.rows == x.rows && x.bytes == 4 * w.rows && sum.bytes == w.bytes;
  }
  static float flushed(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.0f, x) : x; }
  static float number(const Tile& tile, int row, int index) {
    uint16_t half;
    std::memcpy(&half, tile.data[row] + 2 * index, 2);
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return flushed(x);
  }
};

}  // namespace
