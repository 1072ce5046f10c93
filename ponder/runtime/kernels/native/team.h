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

// A piece of work in `count` parts, taken by whoever is free. It is over when all parts are done,
// not when all threads have come by; a late one passes through at once.
class Parts {
 public:
  // Does parts of 0..count, `grain` at a time, and returns when the last is done.
  template <class Do>
  void share(int64_t count, int64_t grain, Do what) {
    for (int64_t low; (low = next_.fetch_add(grain, std::memory_order_relaxed)) < count;) {
      const int64_t high = low + grain < count ? low + grain : count;
      for (int64_t i = low; i < high; ++i) what(i);
      done_.fetch_add(high - low, std::memory_order_release);
    }
    wait(count);
  }

 private:
  void wait(int64_t count) const;

  // Apart, so that taking and finishing parts do not fight for a cache line.
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int64_t> done_{0};
};

}  // namespace ponder
