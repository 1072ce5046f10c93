// See team.h.
#include "team.h"

namespace ponder {
namespace {

// Longer than a phase's imbalance on an idle machine; then the core is another program's.
constexpr int kSpins = 4000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Team::Team(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { serve(i); });
}

Team::~Team() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Team::run(const std::function<void(int)>& work) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    work_ = &work;
    ++turn_;
  }
  wake_.notify_all();
  work(0);
  std::unique_lock<std::mutex> lock(mutex_);
  work_ = nullptr;
  done_.wait(lock, [this] { return running_ == 0; });
}

void Team::each(int64_t count, const std::function<void(int64_t, int64_t)>& what) {
  Parts parts(size());
  const std::function<void(int)> work = [&](int thread) { parts.share(thread, count, 1, what); };
  // Waking a thread for one part costs more than the part.
  if (count == 1) work(0);
  else run(work);
}

void Team::serve(int index) {
  int64_t seen = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || (turn_ != seen && work_); });
    if (stopping_) return;
    seen = turn_;
    ++running_;
    const std::function<void(int)>& work = *work_;
    lock.unlock();
    work(index);
    lock.lock();
    if (--running_ == 0) done_.notify_one();
  }
}

void Parts::wait(int64_t count) const {
  for (int spins = 0; done_.value.load(std::memory_order_acquire) < count; ++spins) {
    if (spins < kSpins) relax();
    else std::this_thread::yield();
  }
}

}  // namespace ponder
