// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/held_answers.hpp"

#include <algorithm>
#include <utility>

#include "accel/softdsa/doorbell.hpp"

namespace migrate::accel::softdsa {

void HeldAnswers::hold(Answer answer) {
    const MutexLock lock(mutex_);
    answers_.push_back(std::move(answer));
}

std::optional<std::size_t> HeldAnswers::take_begun(std::uint64_t now) {
    const MutexLock lock(mutex_);
    for (Answer& answer : answers_) {
        if (answer.begins_ns == 0 || answer.begins_ns > now) continue;
        answer.begins_ns = 0;
        return answer.queue;
    }
    return std::nullopt;
}

std::uint64_t HeldAnswers::next_due(std::uint64_t now) const {
    const MutexLock lock(mutex_);
    std::uint64_t next = kNever;
    for (const Answer& answer : answers_) {
        if (answer.begins_ns != 0) next = std::min(next, answer.begins_ns);
        // A drain that is due waits for another engine, which calls this when it has finished.
        if (answer.due_ns > now || !answer.drains) next = std::min(next, answer.due_ns);
    }
    return next;
}

}  // namespace migrate::accel::softdsa
