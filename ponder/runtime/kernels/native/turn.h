// From a row's projection to its queries, and to its key and value in a page: bias, norm of each
// head, rotation, rounding once.
#pragma once

namespace {

inline void rotate(const float* __restrict x, const Angle& angle, int half, float scale, float* __restrict out) {
  const float *__restrict cosines = angle.cosines, *__restrict sines = angle.sines;
  const float sign = angle.sign;
  for (int j = 0; j < half; ++j) {
    const float low = x[j], high = x[j + half], sine = sines[j] * sign;
    out[j] = (low * cosines[j] - high * sine) * scale;
    out[j + half] = (high * cosines[j] + low * sine) * scale;
  }
}

// Steps of the inner dimension lie a vector apart.
template <class L, class T>
void write_key(const float* key, int width, int place, char* page) {
  alignas(64) T whole[kMaxHead];
  put_all<L>(key, width, whole);
  const char* from = reinterpret_cast<const char*>(whole);
  page += place * 4;
  for (int s = 0; s < width * (int)sizeof(T) / 4; ++s) std::memcpy(page + s * kVectorBytes, from + s * 4, 4);
}

template <class L, class T>
void write_value(const float* value, int width, int place, char* page) {
  constexpr int per = 4 / sizeof(T);
  alignas(64) T whole[kMaxHead];
  put_all<L>(value, width, whole);
  T* out = reinterpret_cast<T*>(page) + place / per * (kLanes * per) + place % per;
  for (int panel = 0; panel < width; panel += kLanes, out += kPage * kLanes)
    for (int d = 0; d < kLanes; ++d) out[d * per] = whole[panel + d];
}

template <class L, class T>
class Turner {
 public:
  Turner(const Turn& job, const Turning& row)
      : job_(job), row_(row), shape_(*job.shape), width_(shape_.head_dim),
        x_(job.projected + row.row * shape_.width()) {}

  void all() {
    for (int h = 0; h < shape_.kv_heads; ++h) ask_for(h);
    queries();
    for (int h = 0; h < shape_.kv_heads; ++h) {
      const int64_t page = job_.cache.at(h, row_.slot / kPage);
      const int place = (int)(row_.slot % kPage);
      rotate(head(shape_.heads + h, job_.key_norm), row_.key, width_ / 2, 1.0f, turned_);
      write_key<L, T>(turned_, width_, place, job_.cache.keys + page);
      write_value<L, T>(head(shape_.heads + shape_.kv_heads + h, nullptr), width_, place, job_.cache.values + page);
    }
  }

 private:
  // A place is in as many lines as it has steps: asked for now, they are here when they are written.
  void ask_for(int head) const {
    const int64_t page = job_.cache.at(head, row_.slot / kPage), panel = kPage * kLanes * (int64_t)sizeof(T);
    ask(job_.cache.keys + page, job_.cache.page_bytes);
    ask(job_.cache.values + page + row_.slot % kPage * (int64_t)sizeof(T) / 4 * kVectorBytes, width_ / kLanes * panel, panel);
  }

  void queries() {
    // 1 / ln 2: scores are in base 2.
    const float scale = 1.44269504088896f * shape_.scale;
    T* out = reinterpret_cast<T*>(job_.queries) + row_.query * shape_.heads * width_;
    for (int h = 0; h < shape_.heads; ++h) {
      const float* x = head(h, job_.query_norm);
      for (int64_t i = 0; i < row_.count; ++i) {
        rotate(x, row_.angles[i], width_ / 2, scale, turned_);
        put_all<L>(turned_, width_, out + (i * shape_.heads + h) * width_);
      }
    }
  }

  const float* head(int index, const float* weight) {
    const float* x = x_ + index * width_;
    if (job_.bias) {
      for (int d = 0; d < width_; d += kLanes)
        L::store(head_ + d, L::add(L::load(x + d), L::load(job_.bias + index * width_ + d)));
      x = head_;
    }
    if (!weight) return x;
    norm<L>(x, weight, width_, width_, shape_.epsilon, head_);
    return head_;
  }

  const Turn& job_;
  const Turning& row_;
  const Shape& shape_;
  const int width_;
  const float* x_;
  alignas(64) float head_[kMaxHead];
  alignas(64) float turned_[kMaxHead];
};

template <class L>
void turn(const Turn& job, const Turning& row) {
  if (job.format == kFloat32) Turner<L, float>(job, row).all();
  else Turner<L, uint16_t>(job, row).all();
}

}  // namespace
