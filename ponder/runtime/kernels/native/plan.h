// Which rows read which places together: batches of rows over segments of places.
#pragma once

#include <vector>

#include "abi.h"
#include "angles.h"

namespace ponder {

// See runners/api.py.
struct Work {
  const int64_t* slots;      // [length], of all its tokens; -1 is a hole
  const int64_t* positions;  // [count], or null: indices in `slots`
  const int64_t* homes;      // [count], or null: as positions
  const int64_t* shifts;     // [blocks of `length`], or null: all 0
  int64_t length;
  int64_t count;  // of them are new: this step's rows

  int64_t past() const { return length - count; }
  int64_t blocks() const { return (length + kBlock - 1) / kBlock; }
  int64_t position(int64_t row) const { return positions ? positions[row] : past() + row; }
  int64_t home(int64_t row) const { return homes ? homes[row] : position(row); }
  int64_t shift(int64_t block) const { return shifts ? shifts[block] : 0; }
};

struct Plan {
  std::vector<Turning> rows;
  std::vector<int64_t> partials;  // a row: where its first result lies, and one more
  std::vector<Angle> angles;      // a query
  std::vector<Entry> entries;
  std::vector<Run> runs;
  std::vector<Batch> batches;
  Angles distances;
};

// In batches of at most `rows`.
Plan make_plan(const Work* works, int64_t count, const Rotary& rotary, int rows);

}  // namespace ponder
