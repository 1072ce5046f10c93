// Which rows read which places together: batches of rows over segments of positions.
#pragma once

#include <vector>

#include "abi.h"

namespace ponder {

struct Work {
  const int64_t* slots;  // of all its tokens
  int64_t length;
  int64_t count;  // of them are new: this step's rows
};

struct Plan {
  std::vector<int64_t> positions, slots;       // a row
  std::vector<int64_t> partials;               // a row: where its first result lies, and one more
  std::vector<Entry> entries;
  std::vector<Run> runs;
  std::vector<Batch> batches;
};

Plan make_plan(const Work* works, int64_t count);

}  // namespace ponder
