// SPDX-License-Identifier: Apache-2.0
// Answers that must not be visible yet: they are held until their time; the answer of a drain is
// also held until all earlier answers of its queue have been given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "accel/softdsa/completion_write.hpp"
#include "accel/softdsa/work_queue.hpp"
#include "base/mutex.hpp"

namespace migrate::accel::softdsa {

// The records for one descriptor of a queue; those of a batch's children come first.
struct Answer {
    std::size_t queue = 0;
    std::uint64_t position = 0;
    bool drains = false;       // wait for everything before `position`
    std::uint64_t due_ns = 0;  // 0: immediately
    // Time at which the modelled device begins with it, so that it leaves its queue; 0: it has
    // left.
    std::uint64_t begins_ns = 0;
    std::vector<CompletionWrite> writes;
};

// All engines use it.
class HeldAnswers {
  public:
    void hold(Answer answer);
    // Takes an answer that may be given at `now`, if there is one. `finished(answer)` is true if
    // everything before it in its queue has finished.
    template <typename Finished>
    std::optional<Answer> take(std::uint64_t now, const Finished& finished) {
        const MutexLock lock(mutex_);
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
    // Returns the queue of a descriptor that the modelled device has begun by `now`, once for each.
    std::optional<std::size_t> take_begun(std::uint64_t now);
    // Returns the time of the next event, ignoring drains that are due already; kNever if there is
    // none.
    std::uint64_t next_due(std::uint64_t now) const;

  private:
    mutable Mutex mutex_;
    std::vector<Answer> answers_ GUARDED_BY(mutex_);  // in the order of arrival
};

}  // namespace migrate::accel::softdsa
