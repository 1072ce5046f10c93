// Softmax attention of a batch of rows over one segment of positions: all scores, then their maximum
// and weights, then the weighted sums (the parts merge by their maxima: dossier R 0.3, arXiv
// 2205.14135). What rows share is loaded once; the sums of each row are the same either way.
#pragma once

namespace {

// A thread's room for one batch, carved from `scratch`; `attention_room` says how much.
struct Room {
  char *queries, *pages, *tail;
  float *scores, *sums, *most, *total;

  Room(const Shape& shape, char* scratch) {
    const int64_t rows = batch_queries(shape), width = shape.head_dim;
    float* at = reinterpret_cast<float*>(scratch);
    scores = take(at, rows * kSegment);
    queries = reinterpret_cast<char*>(take(at, rows * width));
    pages = reinterpret_cast<char*>(take(at, kBlock * width));
    tail = reinterpret_cast<char*>(take(at, width));
    sums = take(at, rows * width);
    most = take(at, padded(rows));
    total = take(at, padded(rows));
  }
  static float* take(float*& at, int64_t floats) {
    float* start = at;
    at += floats;
    return start;
  }
};

template <class L, class D, class T>
class Attending {
 public:
  Attending(const Attention& job, const Batch& batch, int64_t kv_head, char* scratch)
      : job_(job), batch_(batch), head_(kv_head), width_(job.shape->head_dim),
        group_(job.shape->group()), room_(*job.shape, scratch), ahead_(job.cache, batch, kv_head),
        keys_(job.cache, job.cache.keys, kv_head, (int)width_, room_.pages),
        values_(job.cache, job.cache.values, kv_head, (int)width_, room_.pages) {}

  void all() {
    for (int i = 0; i < batch_.count; ++i) brought_[i] = -1;
    for (int i = 0; i < batch_.run_count; ++i) {
      ahead_.reach(i + 2);
      score(batch_.runs[i]);
    }
    for (int64_t q = 0; q < batch_.count * group_; ++q) soften(q);
    std::memset(room_.sums, 0, batch_.count * group_ * width_ * sizeof(float));
    for (int i = 0; i < batch_.run_count; ++i) {
      ahead_.reach(batch_.run_count + i + 2);
      add_values(batch_.runs[i]);
    }
    end();
  }

 private:
  static constexpr int kPer = 4 / sizeof(T);

  // Calls what(query, queries) for each tile's worth of a run's.
  template <class Do>
  void each(const Run& run, Do what) {
    const int64_t last = (int64_t)(run.first + run.count) * group_;
    for (int64_t q = (int64_t)run.first * group_; q < last; q += L::kQueries) {
      what(q, (int)(last - q < L::kQueries ? last - q : L::kQueries));
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

  // Where a run's places begin in the segment.
  static int64_t start(const Run& run) { return run.block % kBlocksPerSegment * kBlock; }

  void score(const Run& run) {
    bring_queries(run);
    keys_.find(run);
    const int64_t steps = width_ / kPer, stride = width_ * sizeof(T);
    for (int first = 0; first < keys_.count; first += L::kQueryPanels) {
      const int panels = keys_.count - first < L::kQueryPanels ? keys_.count - first : L::kQueryPanels;
      each(run, [&](int64_t q, int count) {
        const Tile<float> t{keys_.at + first, room_.queries + q * stride, stride, steps, steps,
                            room_.scores + q * kSegment + start(run) + first * kPage, kSegment, false};
        any_tile<D, L::kQueries, L::kQueryPanels>(count, panels, t, ahead_);
      });
    }
    if (run.holes) hide(run);
  }

  void hide(const Run& run) {
    for (int64_t q = run.first * group_; q < (run.first + run.count) * group_; ++q)
      for (int j = 0; j < run.places; ++j)
        if (run.holes >> j & 1) room_.scores[q * kSegment + start(run) + j] = -INFINITY;
  }

  // One query's scores to weights, in their place.
  void soften(int64_t query) {
    ahead_.turn();
    const Entry& entry = batch_.entries[query / group_];
    const int left = entry.last + 1 - batch_.segment * kSegment, limit = left < kSegment ? left : kSegment;
    const int end = (limit + kBlock - 1) / kBlock * kBlock;
    float* scores = room_.scores + query * kSegment;
    for (int i = limit / kPage * kPage; i < end; i += kLanes)
      L::store(scores + i, L::head(L::load(scores + i), limit - i, -INFINITY));
    const float most = largest_of(scores, end);
    room_.most[query] = most;
    // Where nothing is visible, -inf - -inf would be NaN.
    const auto base = L::set1(most == -INFINITY ? 0.0f : most);
    typename L::F sums[kPagesPerBlock] = {L::zero(), L::zero(), L::zero(), L::zero()};
    for (int i = 0; i < end; i += kBlock)
#pragma GCC unroll 4
      for (int j = 0; j < kPagesPerBlock; ++j) {
        const auto weight = exp2<L>(L::sub(L::load(scores + i + j * kLanes), base));
        sums[j] = L::add(sums[j], weight);
        put<L>(reinterpret_cast<T*>(scores) + i + j * kLanes, weight);
      }
    room_.total[query] = L::sum(L::add(L::add(sums[0], sums[1]), L::add(sums[2], sums[3])));
  }

  static float largest_of(const float* scores, int end) {
    typename L::F most[kPagesPerBlock];
#pragma GCC unroll 4
    for (int j = 0; j < kPagesPerBlock; ++j) most[j] = L::load(scores + j * kLanes);
    for (int i = kBlock; i < end; i += kBlock)
#pragma GCC unroll 4
      for (int j = 0; j < kPagesPerBlock; ++j) most[j] = L::max(most[j], L::load(scores + i + j * kLanes));
    return L::largest(L::max(L::max(most[0], most[1]), L::max(most[2], most[3])));
  }

  void add_values(const Run& run) {
    values_.find(run);
    const int whole = run.places / kPer * kPer;
    add_values(run, values_.at, kPage * kLanes * sizeof(T), start(run), whole / kPer);
    if (whole == run.places) return;
    ValuePlaces<T>::halve(values_.at[whole / kPage], whole % kPage, (int)width_, room_.tail);
    add_values(run, &room_.tail, kVectorBytes, start(run) + whole, 1);
  }

  // `steps` of places from `place` on; `panel`: bytes from one panel of a page to the next.
  void add_values(const Run& run, const char* const* pages, int64_t panel, int64_t place, int64_t steps) {
    const int64_t all = width_ / kLanes, per_page = kPage / kPer, stride = kSegment * sizeof(float);
    for (int64_t first = 0; first < all && steps; first += L::kQueryPanels) {
      const int panels = (int)(all - first < L::kQueryPanels ? all - first : L::kQueryPanels);
      const char* sources[kPagesPerBlock * L::kQueryPanels];
      for (int i = 0; i * per_page < steps; ++i)
        for (int p = 0; p < panels; ++p) sources[i * panels + p] = pages[i] + (first + p) * panel;
      each(run, [&](int64_t q, int count) {
        const char* weights = reinterpret_cast<const char*>(room_.scores) + q * stride + place * sizeof(T);
        const Tile<float> t{sources, weights, stride, steps, per_page,
                            room_.sums + q * width_ + first * kLanes, width_, true};
        any_tile<D, L::kQueries, L::kQueryPanels>(count, panels, t, ahead_);
      });
    }
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

  const Attention& job_;
  const Batch& batch_;
  const int64_t head_, width_, group_;
  Room room_;
  PagesAhead ahead_;
  Pages<KeyPlaces<T>> keys_;
  Pages<ValuePlaces<T>> values_;
  int32_t brought_[kBatchQueries];
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
