// Groups rows by what they read. Grouping only saves loads: a row's results are the same in any
// batch, so a heuristic order is enough, and equality is checked place by place. (Reading a shared
// prefix once: Hydragen, arXiv 2402.05099; DeFT, arXiv 2404.00242.)
#include "plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace ponder {
namespace {

// The distinct shifts of a work's blocks: its rows have a query each.
struct Shifts {
  std::vector<int64_t> distinct;
  std::vector<int32_t> of_block;  // which of them; empty: all the first
};

struct Member {
  const Work* work;
  const Shifts* shifts;
  int32_t row, last;
};

Shifts shifts_of(const Work& work) {
  Shifts shifts;
  if (!work.shifts) return {{0}, {}};
  for (int64_t block = 0; block < work.blocks(); ++block) {
    const auto begin = shifts.distinct.begin(), end = shifts.distinct.end();
    const auto found = std::find(begin, end, work.shifts[block]);
    shifts.of_block.push_back((int32_t)(found - begin));
    if (found == end) shifts.distinct.push_back(work.shifts[block]);
  }
  return shifts;
}

// Works whose blocks begin at the same places come to stand side by side.
bool before(const Work& a, const Work& b) {
  for (int64_t i = 0; i < std::min(a.length, b.length); i += kBlock)
    if (a.slots[i] != b.slots[i]) return a.slots[i] < b.slots[i];
  return a.length > b.length;
}

std::vector<Member> in_order(const Work* works, int64_t count, const std::vector<Shifts>& shifts) {
  std::vector<int64_t> order(count), first(count);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 1; i < count; ++i) first[i] = first[i - 1] + works[i - 1].count;
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return before(works[a], works[b]); });
  std::vector<Member> members;
  for (int64_t w : order)
    for (int64_t i = 0; i < works[w].count; ++i)
      members.push_back({&works[w], &shifts[w], (int32_t)(first[w] + i), (int32_t)(works[w].past() + i)});
  return members;
}

int places_seen(const Member& member, int block) {
  return std::min(kBlock, member.last + 1 - block * kBlock);
}

bool same_places(const Member& a, const Member& b, int block) {
  if (a.work == b.work) return true;
  const int places = std::min(places_seen(a, block), places_seen(b, block));
  // Rows that see less than all would need the longer one's places to be their own.
  if (places < kBlock) return false;
  const int64_t at = (int64_t)block * kBlock;
  return std::memcmp(a.work->slots + at, b.work->slots + at, kBlock * sizeof(int64_t)) == 0;
}

int64_t page_of(const int64_t* slots, int places) {
  if (slots[0] % kPage) return -1;
  for (int i = 1; i < places; ++i)
    if (slots[i] != slots[0] + i) return -1;
  return slots[0] / kPage;
}

Run make_run(const std::vector<Member>& members, int first, int count, int block) {
  Run run{first, count, block, 0, 0, {-1, -1, -1, -1}, nullptr};
  for (int i = first; i < first + count; ++i) run.places = std::max(run.places, places_seen(members[i], block));
  run.slots = members[first].work->slots + (int64_t)block * kBlock;
  for (int i = 0; i < run.places; ++i) run.holes |= (uint64_t)(run.slots[i] < 0) << i;
  for (int p = 0; p * kPage < run.places; ++p)
    run.page[p] = page_of(run.slots + p * kPage, std::min(kPage, run.places - p * kPage));
  return run;
}

void add_runs(Plan& plan, const std::vector<Member>& members, int count, int block) {
  int first = 0;
  while (first < count) {
    if (places_seen(members[first], block) <= 0) {
      ++first;
      continue;
    }
    int last = first + 1;
    while (last < count && places_seen(members[last], block) > 0 &&
           same_places(members[first], members[last], block))
      ++last;
    plan.runs.push_back(make_run(members, first, last - first, block));
    first = last;
  }
}

Entry make_entry(const Plan& plan, const Member& member, int segment) {
  Entry entry{member.last, {}, plan.partials[member.row] + segment};
  const std::vector<int32_t>& of_block = member.shifts->of_block;
  for (int i = 0; i < kBlocksPerSegment; ++i) {
    const size_t block = (size_t)segment * kBlocksPerSegment + i;
    entry.queries[i] = (int32_t)plan.rows[member.row].query + (block < of_block.size() ? of_block[block] : 0);
  }
  return entry;
}

void add_batch(Plan& plan, const std::vector<Member>& members, int segment) {
  const int blocks = kBlocksPerSegment;
  Batch batch{nullptr, nullptr, (int32_t)members.size(), 0, segment};
  for (const Member& member : members) plan.entries.push_back(make_entry(plan, member, segment));
  const size_t before = plan.runs.size();
  for (int block = segment * blocks; block < (segment + 1) * blocks; ++block)
    add_runs(plan, members, batch.count, block);
  batch.run_count = (int32_t)(plan.runs.size() - before);
  plan.batches.push_back(batch);
}

void place_row(Plan& plan, const Work& work, int64_t row, const std::vector<int64_t>& shifts) {
  const int64_t at = work.past() + row, queries = (int64_t)plan.angles.size();
  for (int64_t shift : shifts) plan.angles.push_back(plan.distances.at(work.position(row) - shift));
  plan.rows.push_back({(int64_t)plan.rows.size(), work.slots[at], plan.distances.at(work.home(row)), nullptr,
                       queries, (int64_t)shifts.size()});
  plan.partials.push_back(plan.partials.back() + at / kSegment + 1);
}

// The vectors have stopped moving: let the batches point into them.
void link(Plan& plan) {
  for (Turning& row : plan.rows) row.angles = plan.angles.data() + row.query;
  const Entry* entries = plan.entries.data();
  const Run* runs = plan.runs.data();
  for (Batch& batch : plan.batches) {
    batch.entries = entries;
    batch.runs = runs;
    entries += batch.count;
    runs += batch.run_count;
  }
}

}  // namespace

Plan make_plan(const Work* works, int64_t count, const Rotary& rotary, int rows) {
  Plan plan{{}, {0}, {}, {}, {}, {}, Angles(rotary)};
  std::vector<Shifts> shifts;
  for (int64_t w = 0; w < count; ++w) {
    shifts.push_back(shifts_of(works[w]));
    for (int64_t row = 0; row < works[w].count; ++row) place_row(plan, works[w], row, shifts[w].distinct);
  }
  const std::vector<Member> members = in_order(works, count, shifts);
  int32_t last = 0;
  for (const Member& member : members) last = std::max(last, member.last);
  for (int segment = 0; segment <= last / kSegment; ++segment) {
    std::vector<Member> batch;
    for (const Member& member : members) {
      if (member.last < segment * kSegment) continue;
      batch.push_back(member);
      if ((int)batch.size() == rows) {
        add_batch(plan, batch, segment);
        batch.clear();
      }
    }
    if (!batch.empty()) add_batch(plan, batch, segment);
  }
  link(plan);
  return plan;
}

}  // namespace ponder
