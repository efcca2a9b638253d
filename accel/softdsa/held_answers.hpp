// Answers that are not to be seen yet: held until their time, and a drain's until all before it in
// its queue have been given.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "accel/softdsa/work_queue.hpp"

namespace migrate::accel::softdsa {

struct CompletionWrite {
    std::uint64_t address = 0;
    std::array<std::byte, 32> record{};
};

// What one descriptor of a queue has to say: a batch's children come first.
struct Answer {
    std::size_t queue = 0;
    std::uint64_t position = 0;
    bool drains = false;       // not before everything before `position`
    std::uint64_t due_ns = 0;  // 0: at once
    std::vector<CompletionWrite> writes;
};

// Used by all engines.
class HeldAnswers {
  public:
    void hold(Answer answer);
    // An answer that may be given at `now`, if there is one. `finished(answer)`: everything before
    // it in its queue was.
    template <typename Finished>
    std::optional<Answer> take(std::uint64_t now, const Finished& finished) {
        const std::lock_guard lock(mutex_);
        std::size_t best = answers_.size();
        for (std::size_t i = 0; i < answers_.size(); ++i) {
            const Answer& answer = answers_[i];
            if (answer.due_ns > now || (answer.drains && !finished(answer))) continue;
            if (best == answers_.size() || answer.due_ns < answers_[best].due_ns) best = i;
        }
        if (best == answers_.size()) return std::nullopt;
        std::optional<Answer> taken(std::move(answers_[best]));
        answers_.erase(answers_.begin() + static_cast<std::ptrdiff_t>(best));
        return taken;
    }
    // When the next one is due that waits for its time only after `now`; kNever: none.
    std::uint64_t next_due(std::uint64_t now) const;

  private:
    mutable std::mutex mutex_;
    std::vector<Answer> answers_;  // in the order in which they came; guarded by mutex_
};

}  // namespace migrate::accel::softdsa
