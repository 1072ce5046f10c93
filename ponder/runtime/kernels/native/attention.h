// Softmax attention of a batch of rows over one segment of positions, 64 positions at a time, and
// the merge of a row's segments in order (dossier R 0.3; FlashAttention's running maximum, arXiv
// 2205.14135). What rows share is loaded once; the sums of each row are the same either way.
#pragma once

namespace {

typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));

// Moves places of one page to the same places of another: lanes of the keys, steps of the values.
template <class T>
void move_places(const char* keys, const char* values, int first, int last, int width, char* to_keys,
                 char* to_values) {
  constexpr int per = 4 / sizeof(T);
  // A blend of whole vectors: moves of a length known only now are slow.
  Words taken, from, to;
  for (int j = 0; j < kLanes; ++j) taken[j] = j >= first && j < last ? ~0u : 0u;
  for (int64_t at = 0; at < (int64_t)(width / per) * kVectorBytes; at += kVectorBytes) {
    std::memcpy(&from, keys + at, sizeof from);
    std::memcpy(&to, to_keys + at, sizeof to);
    to = (from & taken) | (to & ~taken);
    std::memcpy(to_keys + at, &to, sizeof to);
  }
  for (int64_t panel = 0; panel < (int64_t)width * kPage * (int64_t)sizeof(T); panel += kPage / per * kVectorBytes)
    for (int j = first; j < last; ++j) {
      const int64_t at = panel + j / per * kVectorBytes;
      const T* v = reinterpret_cast<const T*>(values + at) + j % per;
      T* out = reinterpret_cast<T*>(to_values + at) + j % per;
      if (j % per == 0 && j + per <= last) {
        std::memcpy(out, v, kVectorBytes);
        j += per - 1;
        continue;
      }
      for (int d = 0; d < kLanes; ++d) out[d * per] = v[d * per];
    }
}

// Moves one place to another.
template <class T>
void move_place(const char* keys, const char* values, int from, int to, int width, char* to_keys,
                char* to_values) {
  constexpr int per = 4 / sizeof(T);
  for (int s = 0; s < width / per; ++s)
    std::memcpy(to_keys + s * kVectorBytes + to * 4, keys + s * kVectorBytes + from * 4, 4);
  const T* v = reinterpret_cast<const T*>(values) + from / per * (kLanes * per) + from % per;
  T* out = reinterpret_cast<T*>(to_values) + to / per * (kLanes * per) + to % per;
  for (int d = 0; d < width; ++d) {
    const int at = d / kLanes * (kPage * kLanes) + d % kLanes * per;
    out[at] = v[at];
  }
}

// Zeroes one place of the values.
template <class T>
void clear_place(int place, int width, char* values) {
  constexpr int per = 4 / sizeof(T);
  T* out = reinterpret_cast<T*>(values) + place / per * (kLanes * per) + place % per;
  for (int d = 0; d < width; ++d) out[d / kLanes * (kPage * kLanes) + d % kLanes * per] = 0;
}

// Copies places that do not lie in one page in order. What lies in holes and beyond the end may be
// anything in the keys, whose scores are masked; holes are zero in the values.
template <class T>
void gather(const Attention& job, int64_t kv_head, const int64_t* slots, int places, char* keys,
            char* values) {
  const int width = job.shape->head_dim;
  for (int j = 0; j < places;) {
    if (slots[j] < 0) {
      clear_place<T>(j++, width, values);
      continue;
    }
    const int64_t page = job.cache.at(kv_head, slots[j] / kPage);
    const char *k = job.cache.keys + page, *v = job.cache.values + page;
    int last = j;
    while (last < places && slots[last] == slots[j] - j + last && slots[last] % kPage == last) ++last;
    if (j == 0 && last > 0) {
      std::memcpy(keys, k, job.cache.page_bytes);
      std::memcpy(values, v, job.cache.page_bytes);
      j = last;
    } else if (last > j) {
      move_places<T>(k, v, j, last, width, keys, values);
      j = last;
    } else {
      move_place<T>(k, v, (int)(slots[j] % kPage), j, width, keys, values);
      ++j;
    }
  }
}

// A thread's room for one batch, carved from `scratch`.
struct Room {
  char *queries, *keys, *values;
  float *scores, *weights, *sums, *most, *total;

  Room(const Shape& shape, char* scratch) {
    const int64_t rows = kBatchRows * shape.group(), width = shape.head_dim;
    float* at = reinterpret_cast<float*>(scratch);
    queries = take(at, rows * width);
    keys = take(at, kPagesPerBlock * kPage * width);
    values = take(at, kPagesPerBlock * kPage * width);
    scores = at, at += kMaxRows * kBlock;
    weights = at, at += kMaxRows * kBlock;
    sums = at, at += rows * width;
    most = at, at += padded(rows);
    total = at, at += padded(rows);
  }
  static char* take(float*& at, int64_t floats) {
    char* start = reinterpret_cast<char*>(at);
    at += floats;
    return start;
  }
};

template <class L, class D, class T>
class Attending {
 public:
  Attending(const Attention& job, const Batch& batch, int64_t kv_head, char* scratch)
      : job_(job), batch_(batch), head_(kv_head), width_(job.shape->head_dim),
        group_(job.shape->group()), room_(*job.shape, scratch) {}

  void all() {
    begin();
    for (int i = 0; i < batch_.run_count; ++i) {
      if (i + 1 < batch_.run_count) fetch(batch_.runs[i + 1]);
      run(batch_.runs[i]);
    }
    end();
  }

 private:
  static constexpr int kPer = 4 / sizeof(T);

  void begin() {
    for (int i = 0; i < batch_.count; ++i) brought_[i] = -1;
    const int64_t count = batch_.count * group_;
    std::memset(room_.sums, 0, count * width_ * sizeof(float));
    for (int64_t q = 0; q < count; ++q) room_.most[q] = -INFINITY, room_.total[q] = 0;
  }

  void end() {
    const int64_t stride = width_ + kLanes;
    for (int64_t q = 0; q < batch_.count * group_; ++q) {
      const int64_t head = head_ * group_ + q % group_;
      float* out = job_.partials + (batch_.entries[q / group_].partial * job_.shape->heads + head) * stride;
      std::memcpy(out, room_.sums + q * width_, width_ * sizeof(float));
      out[width_] = room_.most[q];
      out[width_ + 1] = room_.total[q];
    }
  }

  // Asks for a run's pages ahead of time: each lies somewhere else, so the processor cannot guess.
  void fetch(const Run& run) const {
    for (int i = 0; i * kPage < run.places; ++i) {
      const int last = run.places < (i + 1) * kPage ? run.places - 1 : (i + 1) * kPage - 1;
      if (run.page[i] < 0) fetch(run.slots[i * kPage]);
      fetch(run.slots[last]);
    }
  }

  // Asks for the page of a place.
  void fetch(int64_t slot) const {
    if (slot < 0) return;
    const int64_t page = job_.cache.at(head_, slot / kPage);
    for (int64_t at = 0; at < job_.cache.page_bytes; at += kVectorBytes) {
      __builtin_prefetch(job_.cache.keys + page + at, 0, 2);
      __builtin_prefetch(job_.cache.values + page + at, 0, 2);
    }
  }

  // The queries of the run's rows, rotated as the run's places want them.
  void bring_queries(const Run& run) {
    const int64_t bytes = group_ * width_ * sizeof(T), query = job_.shape->heads * width_ * sizeof(T);
    for (int i = run.first; i < run.first + run.count; ++i) {
      const int32_t wanted = batch_.entries[i].queries[run.block % kBlocksPerSegment];
      if (wanted == brought_[i]) continue;
      std::memcpy(room_.queries + i * bytes, job_.queries + wanted * query + head_ * bytes, bytes);
      brought_[i] = wanted;
    }
  }

  void find_pages(const Run& run) {
    pages_ = (run.places + kPage - 1) / kPage;
    for (int i = 0; i < pages_; ++i) {
      const int64_t at = job_.cache.at(head_, run.page[i]);
      keys_[i] = job_.cache.keys + at;
      values_[i] = job_.cache.values + at;
      const int places = run.places - i * kPage < kPage ? run.places - i * kPage : kPage;
      char* k = room_.keys + i * job_.cache.page_bytes;
      char* v = room_.values + i * job_.cache.page_bytes;
      if (run.page[i] < 0) {
        gather<T>(job_, head_, run.slots + i * kPage, places, k, v);
        keys_[i] = k;
        values_[i] = v;
      } else if (places % kPer) {
        std::memcpy(v, values_[i], job_.cache.page_bytes);
        values_[i] = v;
      }
      // A pair of places is read whole: its second half must not be what another branch left.
      if (places % kPer) clear_place<T>(places, width_, v);
    }
  }

  void run(const Run& run) {
    bring_queries(run);
    find_pages(run);
    const int64_t last = (int64_t)(run.first + run.count) * group_;
    for (int64_t q = (int64_t)run.first * group_; q < last; q += L::kQueries) {
      const int count = (int)(last - q < L::kQueries ? last - q : L::kQueries);
      score(q, count);
      if (run.holes) hide(run.holes, count);
      for (int i = 0; i < count; ++i) soften(run, q + i, i);
      gather_values(q, count, (run.places + kPer - 1) / kPer);
    }
  }

  void score(int64_t query, int count) {
    for (int first = 0; first < pages_; first += L::kQueryPanels) {
      const int panels = pages_ - first < L::kQueryPanels ? pages_ - first : L::kQueryPanels;
      const int64_t steps = width_ / kPer, stride = width_ * sizeof(T);
      const Tile<float> t{keys_ + first, room_.queries + query * stride, stride, steps, steps,
                          room_.scores + first * kPage, kBlock, false};
      any_tile<D, L::kQueries, L::kQueryPanels>(count, panels, t);
    }
  }

  void hide(uint64_t holes, int count) {
    for (int j = 0; j < kBlock; ++j)
      for (int i = 0; i < count && holes >> j & 1; ++i) room_.scores[i * kBlock + j] = -INFINITY;
  }

  // Scores of one query to weights, with the running maximum and total.
  void soften(const Run& run, int64_t query, int at) {
    const int limit = batch_.entries[query / group_].last + 1 - run.block * kBlock;
    typename L::F s[kPagesPerBlock];
    // Pages that no row of the run sees hold old scores; they lie behind every limit.
#pragma GCC unroll 4
    for (int i = 0; i < kPagesPerBlock; ++i)
      s[i] = L::head(L::load(room_.scores + at * kBlock + i * kPage), limit - i * kPage, -INFINITY);
    const float old = room_.most[query];
    const float best = L::largest(L::max(L::max(s[0], s[1]), L::max(s[2], s[3])));
    const float most = best > old ? best : old;
    // Where nothing is visible yet, -inf - -inf would be NaN.
    const auto base = L::set1(most == -INFINITY ? 0.0f : most);
#pragma GCC unroll 4
    for (int i = 0; i < kPagesPerBlock; ++i) {
      s[i] = exp2<L>(L::sub(s[i], base));
      put<L>(reinterpret_cast<T*>(room_.weights) + at * kBlock + i * kPage, s[i]);
    }
    const float sum = L::sum(L::add(L::add(s[0], s[1]), L::add(s[2], s[3])));
    room_.most[query] = most;
    if (most == old) {
      room_.total[query] += sum;
      return;
    }
    const auto shrink = exp2<L>(L::sub(L::set1(old), base));
    float factor[kLanes];
    L::store(factor, shrink);
    room_.total[query] = room_.total[query] * factor[0] + sum;
    float* sums = room_.sums + query * width_;
    for (int64_t d = 0; d < width_; d += kLanes) L::store(sums + d, L::mul(L::load(sums + d), shrink));
  }

  void gather_values(int64_t query, int count, int64_t steps) {
    const int64_t all = width_ / kLanes, per_page = kPage / kPer;
    for (int64_t first = 0; first < all; first += L::kQueryPanels) {
      const int panels = (int)(all - first < L::kQueryPanels ? all - first : L::kQueryPanels);
      const char* sources[kPagesPerBlock * L::kQueryPanels];
      for (int i = 0; i < pages_; ++i)
        for (int p = 0; p < panels; ++p)
          sources[i * panels + p] = values_[i] + (first + p) * per_page * kVectorBytes;
      const Tile<float> t{sources, reinterpret_cast<const char*>(room_.weights), kBlock * (int64_t)sizeof(T), steps, per_page,
                          room_.sums + query * width_ + first * kLanes, width_, true};
      any_tile<D, L::kQueries, L::kQueryPanels>(count, panels, t);
    }
  }

  const Attention& job_;
  const Batch& batch_;
  const int64_t head_, width_, group_;
  Room room_;
  int32_t brought_[kBatchRows];
  int pages_ = 0;
  const char* keys_[kPagesPerBlock];
  const char* values_[kPagesPerBlock];
};

template <class L>
void attend(const Attention& job, const Batch& batch, int64_t kv_head, char* scratch) {
  if (job.format == kFloat32) Attending<L, DotFloat<L>, float>(job, batch, kv_head, scratch).all();
  else Attending<L, DotPairs<L>, uint16_t>(job, batch, kv_head, scratch).all();
}

// A row's `count` partial results from `first` on, merged in order of position: [heads * head_dim].
template <class L>
void finish(const Attention& job, int64_t first, int64_t count, float* out) {
  const int64_t width = job.shape->head_dim, stride = width + kLanes, heads = job.shape->heads;
  for (int64_t h = 0; h < heads; ++h, out += width) {
    const float* part = job.partials + (first * heads + h) * stride;
    const int64_t next = heads * stride;
    float most = -INFINITY, total = 0;
    for (int64_t i = 0; i < count; ++i) most = part[i * next + width] > most ? part[i * next + width] : most;
    const float base = most == -INFINITY ? 0.0f : most;
    for (int64_t d = 0; d < width; d += kLanes) L::store(out + d, L::zero());
    for (int64_t i = 0; i < count; ++i) {
      const float* p = part + i * next;
      const float weight = exp2_one<L>(p[width] - base);
      const auto w = L::set1(weight);
      total += weight * p[width + 1];
      for (int64_t d = 0; d < width; d += kLanes)
        L::store(out + d, L::add(L::load(out + d), L::mul(w, L::load(p + d))));
    }
    const auto whole = L::set1(total == 0 ? 1.0f : total);
    for (int64_t d = 0; d < width; d += kLanes) L::store(out + d, L::div(L::load(out + d), whole));
  }
}

}  // namespace
