// The phases of a step, run by all threads side by side, one phase after the other. Within a phase,
// threads take parts as they get free; no result depends on who took which.
#include "step.h"

#include <chrono>
#include <cstring>
#include <deque>

namespace ponder {
namespace {

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Calls of `each` in a layer, and before and after all layers.
constexpr int kPhasesPerLayer = 10, kPhasesAround = 2;

class Runner {
 public:
  Runner(Model& model, Step& step)
      : model_(model), step_(step), shape_(model.shape), kernels_(model.kernels),
        plan_(make_plan(step.works, step.work_count, rotary(model), batch_rows(shape_))), rows_((int64_t)plan_.rows.size()),
        hidden_(padded(shape_.hidden)), inner_(padded(shape_.intermediate)),
        heads_((int64_t)shape_.heads * shape_.head_dim), phases_(new_phases()) {
    Buffers& b = model.buffers;
    x_ = b.x.floats(rows_ * hidden_);
    normed_ = b.normed.floats(model.team.size() * (hidden_ > heads_ ? hidden_ : heads_));
    projected_ = b.projected.floats(rows_ * shape_.width());
    queries_ = b.queries.room((int64_t)plan_.angles.size() * heads_ * 4);
    partials_ = b.partials.floats(plan_.partials.back() * shape_.heads * (shape_.head_dim + kLanes));
    gated_ = b.hidden.floats(rows_ * inner_);
    const int64_t widest = hidden_ > inner_ ? (hidden_ > heads_ ? hidden_ : heads_) : (inner_ > heads_ ? inner_ : heads_);
    // Rows a power of two apart would share cache sets.
    input_stride_ = row_bytes(model.format, widest) + kVectorBytes;
    input_ = {b.inputs.room(rows_ * input_stride_), input_stride_};
    scratch_ = b.scratch.room(model.team.size() * attention_room(shape_));
  }

  void all() {
    model_.team.run([this](int thread) {
      const int64_t start = now();
      int64_t clock[kPhases] = {};
      Member(*this, thread, clock).forward();
      clock[kOtherTime] = now() - start - clock[kLinearTime] - clock[kAttentionTime];
      for (int i = 0; thread == 0 && i < kPhases; ++i) step_.nanoseconds[i] = clock[i];
    });
  }

 private:
  static const float* floats(const Memory& memory) { return reinterpret_cast<const float*>(memory.data()); }
  static Rotary rotary(const Model& model) {
    return {floats(model.cosines), floats(model.sines), reinterpret_cast<const double*>(model.frequencies.data()),
            model.shape.positions, model.shape.head_dim / 2};
  }

  std::deque<Parts> new_phases() const {
    std::deque<Parts> phases;
    for (int i = 0; i < shape_.layers * kPhasesPerLayer + kPhasesAround; ++i) phases.emplace_back(model_.team.size());
    return phases;
  }

  // One thread's view of the step.
  class Member {
   public:
    Member(Runner& step, int thread, int64_t* clock) : s_(step), thread_(thread), clock_(clock) {}

    void forward() {
      each(s_.rows_, 8, [&](int64_t r) { s_.model_.embed(s_.step_.tokens[r], s_.x_ + r * s_.hidden_); });
      for (int i = 0; i < s_.shape_.layers; ++i) {
        attention(s_.model_.layers[i], cache(i));
        mlp(s_.model_.layers[i], i + 1 < s_.shape_.layers ? &s_.model_.layers[i + 1].projection : nullptr);
      }
      last();
    }

   private:
    void attention(const Layer& layer, const Cache& cache) {
      const Shape& shape = s_.shape_;
      norm(layer.attention_norm);
      linear(layer.projection, s_.projected_, shape.width(), false, &layer.output);
      const int64_t start = now();
      const Format format = attention_format(s_.model_.format);
      const Turn turn{&shape, format, cache, s_.projected_, floats(layer.bias), floats(layer.query_norm), floats(layer.key_norm), s_.queries_};
      each(s_.rows_, 4, [&](int64_t r) { s_.kernels_.turn(turn, s_.plan_.rows[r]); });
      const Attention job{&shape, format, cache, s_.queries_, s_.partials_};
      char* scratch = s_.scratch_ + thread_ * attention_room(shape);
      each((int64_t)s_.plan_.batches.size() * shape.kv_heads, 1, [&](int64_t i) {
        s_.kernels_.attend(job, s_.plan_.batches[i / shape.kv_heads], i % shape.kv_heads, scratch);
      });
      each(s_.rows_, 4, [&](int64_t r) {
        const int64_t* at = &s_.plan_.partials[r];
        s_.kernels_.finish(job, at[0], at[1] - at[0], own());
        s_.kernels_.convert(own(), s_.heads_, s_.model_.format, s_.input_, r);
      });
      clock_[kAttentionTime] += now() - start;
      linear(layer.output, s_.x_, s_.hidden_, true, &layer.gate);
    }

    void mlp(const Layer& layer, const Matrix* then) {
      norm(layer.mlp_norm);
      const int64_t start = now();
      const Linear gate{&layer.gate.packed(), s_.input_, s_.rows_, s_.gated_, s_.inner_, false};
      const Linear up{&layer.up.packed(), s_.input_, s_.rows_, nullptr, 0, false};
      panels(gate.weight, &layer.down, [&](const Span& span) { s_.kernels_.gated(gate, up, span); });
      clock_[kLinearTime] += now() - start;
      each(s_.rows_, 4, [&](int64_t r) { s_.kernels_.convert(s_.gated_ + r * s_.inner_, s_.inner_, s_.model_.format, s_.input_, r); });
      linear(layer.down, s_.x_, s_.hidden_, true, then);
    }

    void last() {
      const Step& step = s_.step_;
      const int64_t width = s_.shape_.hidden;
      each(step.wanted_count, 4, [&](int64_t i) {
        s_.kernels_.norm(s_.x_ + step.wanted[i] * s_.hidden_, floats(s_.model_.norm), s_.hidden_, width, s_.shape_.epsilon, own());
        std::memcpy(step.hidden + i * width, own(), width * sizeof(float));
      });
    }

    void norm(const Memory& weight) {
      each(s_.rows_, 4, [&](int64_t r) {
        s_.kernels_.norm(s_.x_ + r * s_.hidden_, floats(weight), s_.hidden_, s_.shape_.hidden, s_.shape_.epsilon, own());
        s_.kernels_.convert(own(), s_.hidden_, s_.model_.format, s_.input_, r);
      });
    }

    // `then`: the product after this one.
    void linear(const Matrix& weight, float* out, int64_t stride, bool add, const Matrix* then) {
      const int64_t start = now();
      const Linear job{&weight.packed(), s_.input_, s_.rows_, out, stride, add};
      panels(job.weight, then, [&](const Span& span) { s_.kernels_.linear(job, span); });
      clock_[kLinearTime] += now() - start;
    }

    template <class Do>
    void panels(const Packed* weight, const Matrix* then, Do what) {
      const int64_t unit = s_.kernels_.panels, all = weight->panels;
      const Packed* after = then ? &then->packed() : nullptr;
      const int64_t begin = after ? Parts::first(thread_, s_.model_.team.size(), (after->panels + unit - 1) / unit) : 0;
      s_.phases_[phase_++].share(thread_, (all + unit - 1) / unit, 1, [&](int64_t i, int64_t next) {
        const int64_t last = (i + 1) * unit < all ? (i + 1) * unit : all;
        what(next < 0 ? Span{i * unit, last, after, begin * unit} : Span{i * unit, last, weight, next * unit});
      });
    }

    // The threads share out 0..count, `grain` at a time.
    template <class Do>
    void each(int64_t count, int64_t grain, Do what) {
      s_.phases_[phase_++].share(thread_, count, grain, [&](int64_t i, int64_t) { what(i); });
    }

    Cache cache(int layer) const {
      const int64_t page = (int64_t)kPage * s_.shape_.head_dim * bytes_of(attention_format(s_.model_.format));
      const int64_t at = layer * s_.shape_.kv_heads * s_.step_.pages * page;
      return {s_.step_.keys + at, s_.step_.values + at, s_.step_.pages, page};
    }
    float* own() const {
      return s_.normed_ + thread_ * (s_.hidden_ > s_.heads_ ? s_.hidden_ : s_.heads_);
    }

    Runner& s_;
    const int thread_;
    int64_t* clock_;
    int phase_ = 0;
  };

  Model& model_;
  Step& step_;
  const Shape& shape_;
  const Kernels& kernels_;
  const Plan plan_;
  const int64_t rows_, hidden_, inner_, heads_;
  std::deque<Parts> phases_;
  float *x_, *normed_, *projected_, *partials_, *gated_;
  char *queries_, *scratch_;
  int64_t input_stride_;
  Input input_;
};

}  // namespace

void run(Model& model, Step& step) {
  std::lock_guard<std::mutex> lock(model.busy);
  Runner(model, step).all();
}

}  // namespace ponder
