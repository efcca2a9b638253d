// SPDX-License-Identifier: Apache-2.0
// A work queue that does what a test says, in time that a test makes up.
#pragma once

#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#include "accel/dsa/completion.hpp"
#include "accel/dsa/portal.hpp"
#include "base/units.hpp"

namespace migrate::accel::dsa {

template <typename T>
T* at(std::uint64_t address) {
    return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr): a device's view
}

inline CompletionRecord& record_at(std::uint64_t address) { return *at<CompletionRecord>(address); }

inline void answer(const Descriptor& descriptor, CompletionStatus status, std::uint8_t result = 0,
                   std::uint32_t completed = 0) {
    CompletionRecord& record = record_at(descriptor.completion_address);
    record.result = result;
    record.bytes_completed = completed;
    record.status.store(static_cast<std::uint8_t>(status), std::memory_order_release);
}

inline std::span<const Descriptor> children_of(const Descriptor& batch) {
    return {at<const Descriptor>(batch.source), batch.size};
}

// COMPVAL with pattern 0, as a device answers it.
inline void answer_page(const Descriptor& child) {
    const auto* page = at<const char>(child.source);
    std::uint32_t equal = 0;
    while (equal < child.size && page[equal] == 0) ++equal;
    answer(child, CompletionStatus::kSuccess, equal == child.size ? 0 : 1, equal);
}

inline void answer_rightly(const Descriptor& descriptor) {
    if (descriptor.opcode() != Opcode::kBatch) {
        answer_page(descriptor);
        return;
    }
    for (const Descriptor& child : children_of(descriptor)) answer_page(child);
    answer(descriptor, CompletionStatus::kSuccess, 0, descriptor.size);
}

// Used by one thread. Time stands still but for what is waited and what pass_time() says; a
// descriptor is done `service_time` of it after the one before, or after it was submitted.
class MadeUpDevice final : public Portal, public Time {
  public:
    using Action = std::function<void(const Descriptor&)>;
    using Nanoseconds = std::chrono::nanoseconds;

    explicit MadeUpDevice(QueueLimits limits = {.entries = 128,
                                                .batch = 32,
                                                .transfer_bytes = 1U << 21U})
        : limits_(limits) {}

    const std::string& name() const override { return name_; }
    const QueueLimits& limits() const override { return limits_; }
    int numa_node() const override { return -1; }
    bool is_software() const override { return true; }
    std::string why_closed() const override { return closed; }
    std::size_t submit(std::span<const Descriptor> descriptors) override {
        std::size_t taken = 0;
        for (const Descriptor& descriptor : descriptors) {
            if (refusals != 0) {
                --refusals;
                break;
            }
            if (under_way_.size() == limits_.entries) {
                ++lost;
                if (limits_.mode == QueueMode::kShared) break;
            }
            taken_.push_back(descriptor);
            if (!mute) {
                free_at_ = std::max(free_at_, now_) + service_time(descriptor);
                under_way_.push_back({free_at_, descriptor});
            }
            ++taken;
        }
        return taken;
    }

    Point now() override { return now_; }
    void pass(const std::atomic<std::uint8_t>* status, std::uint32_t) override {
        watched.push_back(status);
        pass_time(under_way_.empty() ? Nanoseconds(100'000)
                                     : Nanoseconds(under_way_.front().done_at - now_));
    }
    void pass_time(Nanoseconds time) {
        now_ += std::max(time, Nanoseconds(0));
        while (!under_way_.empty() && under_way_.front().done_at <= now_) {
            const Descriptor descriptor = under_way_.front().descriptor;
            under_way_.pop_front();
            on_descriptor(descriptor);
        }
    }
    Nanoseconds elapsed() const { return now_ - Point(); }

    // Everything that was taken so far, children of batches not among it.
    const std::vector<Descriptor>& taken() const { return taken_; }

    Action on_descriptor = answer_rightly;
    std::function<Nanoseconds(const Descriptor&)> service_time = [](const Descriptor&) {
        return Nanoseconds(1000);
    };
    std::size_t refusals = 0;                               // submissions that find it full
    std::string closed;                                     // why_closed()
    bool mute = false;                                      // takes descriptors and never answers
    std::size_t lost = 0;                                   // submissions beyond its entries
    std::vector<const std::atomic<std::uint8_t>*> watched;  // the records of each step of a wait

  private:
    struct UnderWay {
        Point done_at;
        Descriptor descriptor;
    };

    std::string name_ = "made-up";
    QueueLimits limits_;
    Point now_{};
    Point free_at_{};
    std::deque<UnderWay> under_way_;
    std::vector<Descriptor> taken_;
};

}  // namespace migrate::accel::dsa
