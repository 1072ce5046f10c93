// Groups rows by what they read. Grouping only saves loads: a row's results are the same in any
// batch, so a heuristic order is enough, and equality is checked place by place. (Reading a shared
// prefix once: Hydragen, arXiv 2402.05099; DeFT, arXiv 2404.00242.)
#include "plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace ponder {
namespace {

struct Member {
  const Work* work;
  int32_t row, position;
};

// Works whose blocks begin at the same places come to stand side by side.
bool before(const Work& a, const Work& b) {
  for (int64_t i = 0; i < std::min(a.length, b.length); i += kBlock)
    if (a.slots[i] != b.slots[i]) return a.slots[i] < b.slots[i];
  return a.length > b.length;
}

std::vector<Member> in_order(const Work* works, int64_t count) {
  std::vector<int64_t> order(count), first(count);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 1; i < count; ++i) first[i] = first[i - 1] + works[i - 1].count;
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return before(works[a], works[b]); });
  std::vector<Member> members;
  for (int64_t w : order)
    for (int64_t i = 0; i < works[w].count; ++i)
      members.push_back({&works[w], (int32_t)(first[w] + i), (int32_t)(works[w].length - works[w].count + i)});
  return members;
}

int places_seen(const Member& member, int block) {
  return std::min(kBlock, member.position + 1 - block * kBlock);
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
  Run run{first, count, block, 0, {-1, -1, -1, -1}, nullptr};
  for (int i = first; i < first + count; ++i) run.places = std::max(run.places, places_seen(members[i], block));
  run.slots = members[first].work->slots + (int64_t)block * kBlock;
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

void add_batch(Plan& plan, const std::vector<Member>& members, int segment) {
  const int blocks = kSegment / kBlock;
  Batch batch{nullptr, nullptr, (int32_t)members.size(), 0};
  for (const Member& member : members)
    plan.entries.push_back({member.row, member.position, plan.partials[member.row] + segment});
  const size_t before = plan.runs.size();
  for (int block = segment * blocks; block < (segment + 1) * blocks; ++block)
    add_runs(plan, members, batch.count, block);
  batch.run_count = (int32_t)(plan.runs.size() - before);
  plan.batches.push_back(batch);
}

void place_rows(Plan& plan, const Work* works, int64_t count) {
  plan.partials.push_back(0);
  for (int64_t w = 0; w < count; ++w)
    for (int64_t p = works[w].length - works[w].count; p < works[w].length; ++p) {
      plan.positions.push_back(p);
      plan.slots.push_back(works[w].slots[p]);
      plan.partials.push_back(plan.partials.back() + p / kSegment + 1);
    }
}

// The vectors have stopped moving: let the batches point into them.
void link(Plan& plan) {
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

Plan make_plan(const Work* works, int64_t count) {
  Plan plan;
  place_rows(plan, works, count);
  const std::vector<Member> members = in_order(works, count);
  int32_t last = 0;
  for (const Member& member : members) last = std::max(last, member.position);
  for (int segment = 0; segment <= last / kSegment; ++segment) {
    std::vector<Member> batch;
    for (const Member& member : members) {
      if (member.position < segment * kSegment) continue;
      batch.push_back(member);
      if ((int)batch.size() == kBatchRows) {
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
