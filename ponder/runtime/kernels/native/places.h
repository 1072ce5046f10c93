// The pages of a block as tiles read them. Places that do not lie in one page in order are copied
// into one that is made up: lanes of the keys, halves of steps of the values.
#pragma once

namespace {

typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));

template <class T>
struct KeyPlaces {
  static constexpr int kPer = 4 / sizeof(T);

  // Places of one page to the same places of another.
  static void blend(const char* from, int first, int last, int width, char* to) {
    // Of whole vectors: moves of a length known only now are slow.
    Words taken, a, b;
    for (int j = 0; j < kLanes; ++j) taken[j] = j >= first && j < last ? ~0u : 0u;
    for (int64_t at = 0; at < (int64_t)(width / kPer) * kVectorBytes; at += kVectorBytes) {
      std::memcpy(&a, from + at, sizeof a);
      std::memcpy(&b, to + at, sizeof b);
      b = (a & taken) | (b & ~taken);
      std::memcpy(to + at, &b, sizeof b);
    }
  }

  // One place to another.
  static void move(const char* page, int from, int to, int width, char* out) {
    for (int s = 0; s < width / kPer; ++s)
      std::memcpy(out + s * kVectorBytes + to * 4, page + s * kVectorBytes + from * 4, 4);
  }

  // What lies in holes may be anything: its scores are hidden.
  static void clear(int, int, char*) {}
};

template <class T>
struct ValuePlaces {
  static constexpr int kPer = 4 / sizeof(T);
  static constexpr int64_t kPanel = kPage * kLanes;  // values

  static int64_t at(int place) { return place / kPer * (kLanes * kPer) + place % kPer; }

  static void blend(const char* from, int first, int last, int width, char* to) {
    for (int j = first; j < last; ++j) {
      if (j % kPer || j + kPer > last) {
        move(from, j, j, width, to);
        continue;
      }
      const int64_t step = j / kPer * kVectorBytes;
      for (int64_t panel = step; panel < width * kPage * (int64_t)sizeof(T); panel += kPanel * sizeof(T))
        std::memcpy(to + panel, from + panel, kVectorBytes);
      j += kPer - 1;
    }
  }

  static void move(const char* page, int from, int to, int width, char* out) {
    const T* v = reinterpret_cast<const T*>(page) + at(from);
    T* w = reinterpret_cast<T*>(out) + at(to);
    for (int d = 0; d < width; ++d) w[d / kLanes * kPanel + d % kLanes * kPer] = v[d / kLanes * kPanel + d % kLanes * kPer];
  }

  static void clear(int place, int width, char* out) {
    T* w = reinterpret_cast<T*>(out) + at(place);
    for (int d = 0; d < width; ++d) w[d / kLanes * kPanel + d % kLanes * kPer] = 0;
  }

  // A page's step of which only the first place counts, [panels] vectors: steps are read whole, and
  // its second half may be what another branch left.
  static void halve(const char* page, int place, int width, char* out) {
    static_assert(kPer <= 2);
    for (int panel = 0; panel < width / kLanes; ++panel, out += kVectorBytes) {
      Words step;
      std::memcpy(&step, page + panel * kPanel * sizeof(T) + place / kPer * kVectorBytes, sizeof step);
      step &= 0xffff;
      std::memcpy(out, &step, sizeof step);
    }
  }
};

// The pages that a run of rows reads of one head, of the keys or the values.
template <class Kind>
class Pages {
 public:
  // `memory`: a layer's. `room`: for a block.
  Pages(const Cache& cache, const char* memory, int64_t head, int width, char* room)
      : cache_(cache), memory_(memory), head_(head), width_(width), room_(room) {}

  int count = 0;
  const char* at[kPagesPerBlock];

  void find(const Run& run) {
    count = (run.places + kPage - 1) / kPage;
    for (int i = 0; i < count; ++i) {
      at[i] = run.page[i] < 0 ? gather(run, i) : memory_ + cache_.at(head_, run.page[i]);
    }
  }

 private:
  const char* gather(const Run& run, int index) {
    const int64_t* slots = run.slots + index * kPage;
    const int places = run.places - index * kPage < kPage ? run.places - index * kPage : kPage;
    char* to = room_ + index * cache_.page_bytes;
    for (int j = 0; j < places;) {
      if (slots[j] < 0) {
        Kind::clear(j++, width_, to);
        continue;
      }
      const char* page = memory_ + cache_.at(head_, slots[j] / kPage);
      int last = j;
      while (last < places && slots[last] == slots[j] - j + last && slots[last] % kPage == last) ++last;
      if (last == j) Kind::move(page, (int)(slots[j] % kPage), j, width_, to), ++last;
      else if (j == 0) std::memcpy(to, page, cache_.page_bytes);
      else Kind::blend(page, j, last, width_, to);
      j = last;
    }
    return to;
  }

  const Cache& cache_;
  const char* memory_;
  const int64_t head_;
  const int width_;
  char* room_;
};

// Asks for the pages of a batch ahead of time, a few lines at each turn of a tile: each page lies
// somewhere else, so the processor cannot guess, and what branches do not share is more than the nearest
// caches hold. First all keys, then all values, as they are read.
class PagesAhead {
 public:
  PagesAhead(const Cache& cache, const Batch& batch, int64_t head) : cache_(cache), batch_(batch), head_(head) {}

  void turn() {
    if (lines_ == 0 && !next()) return;
    const int64_t count = lines_ < kStepsPerTurn ? lines_ : kStepsPerTurn;
    ask(at_, count * kVectorBytes);
    at_ += count * kVectorBytes;
    lines_ -= count;
  }

  // Everything before a run, counted from the first of the keys.
  void reach(int run) {
    while (run_ < run && (lines_ > 0 || next())) turn();
  }

 private:
  // To the next page; false behind the last.
  bool next() {
    if (run_ == 2 * batch_.run_count) return false;
    const bool keys = run_ < batch_.run_count;
    const Run& run = batch_.runs[keys ? run_ : run_ - batch_.run_count];
    const int64_t slot = slot_of(run);
    if (slot >= 0) {
      at_ = (keys ? cache_.keys : cache_.values) + cache_.at(head_, slot / kPage);
      lines_ = cache_.page_bytes / kVectorBytes;
    }
    step(run);
    return true;
  }

  // Of what is put together, the page of the first place and that of the last: more are rare.
  int64_t slot_of(const Run& run) const {
    const int first = page_ * kPage, last = first + kPage < run.places ? first + kPage - 1 : run.places - 1;
    return run.slots[second_ ? last : first];
  }

  void step(const Run& run) {
    second_ = run.page[page_] < 0 && !second_;
    if (second_ || ++page_ * kPage < run.places) return;
    page_ = 0;
    ++run_;
  }

  const Cache& cache_;
  const Batch& batch_;
  const int64_t head_;
  const char* at_ = nullptr;
  int64_t lines_ = 0;
  int run_ = 0, page_ = 0;
  bool second_ = false;
};

}  // namespace
