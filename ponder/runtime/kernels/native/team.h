// A few threads that run one function together and sleep between calls.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ponder {

class Team {
 public:
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return (int)workers_.size() + 1; }
  // Runs work(0) here, and work(1..) on each other thread that wakes before work(0) is over: on a
  // busy machine, a thread that gets no core must not hold up the rest. So the work must be whole
  // with any number of hands.
  void run(const std::function<void(int)>& work);
  // Shares out parts 0..count: see `Parts::share`.
  void each(int64_t count, const std::function<void(int64_t, int64_t)>& what);

 private:
  void serve(int index);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* work_ = nullptr;
  int64_t turn_ = 0;
  int running_ = 0;
  bool stopping_ = false;
};

// A piece of work in parts. Each thread has a stretch of them, which it does in order, and then takes
// from the others': parts that follow one another mostly meet the same thread. It is over when all parts
// are done, not when all threads have come by; a late one passes through at once.
class Parts {
 public:
  explicit Parts(int threads) : stretches_(threads) {}

  // Does parts of 0..count, `grain` at a time, and returns when the last is done. what(i, next) is told which
  // part this thread does after `i`, if nobody is faster; -1: not known, or none.
  template <class Do>
  void share(int thread, int64_t count, int64_t grain, Do what) {
    const int64_t threads = (int64_t)stretches_.size();
    for (int64_t i = 0; i < threads; ++i) {
      const int64_t at = (thread + i) % threads;
      stretch(stretches_[at], first(at, threads, count), first(at + 1, threads, count), grain, what);
    }
    wait(count);
  }
  // Where a thread's stretch begins.
  static int64_t first(int64_t thread, int64_t threads, int64_t count) { return count * thread / threads; }

 private:
  // Apart, so that taking and finishing parts do not fight for a cache line.
  struct alignas(64) Counter {
    std::atomic<int64_t> value{0};
  };

  template <class Do>
  void stretch(Counter& taken, int64_t first, int64_t last, int64_t grain, Do what) {
    for (int64_t low; (low = first + taken.value.fetch_add(grain, std::memory_order_relaxed)) < last;) {
      const int64_t high = low + grain < last ? low + grain : last;
      for (int64_t i = low; i < high; ++i) what(i, i + 1 < last ? i + 1 : -1);
      done_.value.fetch_add(high - low, std::memory_order_release);
    }
  }

  void wait(int64_t count) const;

  std::vector<Counter> stretches_;
  Counter done_;
};

}  // namespace ponder
