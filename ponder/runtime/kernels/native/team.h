// A few threads that run one function together: asleep between steps, at barriers within one.
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
  // Runs work(0) here and work(1..) on the others; returns when all are done.
  void run(const std::function<void(int)>& work);
  // Within `run`: returns when all have arrived.
  void barrier();

 private:
  void serve(int index);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* work_ = nullptr;
  int64_t turn_ = 0;
  int running_ = 0;
  bool stopping_ = false;
  std::atomic<int> arrived_{0};
  std::atomic<int> phase_{0};
};

}  // namespace ponder
