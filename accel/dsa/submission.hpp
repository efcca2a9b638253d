// SPDX-License-Identifier: Apache-2.0
// Pages as descriptors at a work queue, and the device's answers about them.
// Invariant: memory that a device may still write is neither reused nor freed: it is kept until the
// process ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accel/dsa/completion.hpp"
#include "accel/dsa/descriptor.hpp"
#include "accel/dsa/work_queue.hpp"
#include "base/fd.hpp"

namespace migrate::accel::dsa {

enum class Answer : std::uint8_t { kNone, kZero, kNotZero };

// One thread uses it.
class Submission {
  public:
    // For up to `max_pages` pages.
    static Result<std::unique_ptr<Submission>> create(std::size_t max_pages);

    // Makes descriptors for the pages, which the caller keeps mapped until they are answered or
    // overtaken. Nothing of the previous pages is outstanding.
    void assign(std::span<const std::byte* const> pages, WorkQueue& queue);
    // Sets until when a thread polls for the answers; assign() removes the limit.
    void limit_polling(Time::Point until) { polled_until_ = until; }
    // Gives the queue the descriptors that it has not taken yet, in one attempt. Returns true once
    // all are taken.
    bool submit(Completion& completion, std::chrono::nanoseconds timeout);
    // Drops the descriptors that the queue has not taken. `for_long`: see
    // WorkQueue::stayed_full().
    void give_up_submitting(Time::Point now, bool for_long);
    // Takes the answers that are there, without waiting. Returns true if there were any.
    bool advance(Completion& completion);
    // Waits for the answers to all descriptors taken, at most until `limit`. Returns false if
    // answers are outstanding then. If lost() is true afterwards, renew() or abandon() must follow
    // before the next use or the destruction; likewise after advance().
    bool await(Completion& completion, Time::Point limit);
    // Notes that nobody waits for the outstanding answers any more.
    void set_aside(Completion& completion);
    // True if the device may still write an answer that no thread waits for any more.
    bool lost() const { return lost_; }
    // renew() leaves the memory to the device and allocates new memory; abandon() only leaves it.
    Status renew();
    void abandon();

    // Requires an earlier assign().
    WorkQueue& queue() const { return *queue_; }
    // True if a descriptor was taken and its answer has not come yet.
    bool outstanding() const { return awaited_ < taken_; }
    // Status of the oldest outstanding record. Requires outstanding().
    const std::atomic<std::uint8_t>& oldest_status() const { return *watches_[awaited_].status; }
    // The answer for each page of assign() so far.
    std::span<const Answer> answers() const { return answers_; }

    struct Figures {
        std::uint32_t given = 0;     // pages that the queue took
        std::uint32_t answered = 0;  // pages that it answered for
        Time::Point submitted;       // time of the first submission
        Time::Point seen;            // time at which the last answer was seen
    };
    const Figures& figures() const { return figures_; }
    // Pages whose descriptor is outstanding.
    std::uint32_t outstanding_pages() const;

  private:
    // The children that one descriptor of the queue covers.
    struct Unit {
        std::uint32_t first = 0;
        std::uint32_t count = 0;
    };
    struct Formats {
        std::span<Descriptor> children;
        std::span<Descriptor> submitted;  // one per unit: a BATCH, or a child itself
        std::span<CompletionRecord> records;
        std::span<CompletionRecord> batch_records;
    };

    explicit Submission(std::size_t max_pages);
    Status make_memory();
    void make_units(std::uint32_t total);
    const CompletionRecord& record_of(const Unit& unit, std::size_t index) const;
    void take_answer(std::size_t index);
    void harvest(const Unit& unit, std::size_t index);
    void harvest_page(std::uint32_t child);
    void refused(std::uint8_t status, std::uint32_t pages);

    std::size_t max_pages_;
    Mapping mapping_;  // holds the memory of the formats
    Formats formats_;
    WorkQueue* queue_ = nullptr;
    std::vector<Answer> answers_;
    std::vector<Unit> units_;
    std::unique_ptr<Watch[]> watches_;  // NOLINT(*-avoid-c-arrays): a Watch does not move
    Time::Point polled_until_;
    std::size_t taken_ = 0;    // number of units taken, from the first on
    std::size_t awaited_ = 0;  // number of those whose watch has ended
    bool lost_ = false;
    Figures figures_;
};

}  // namespace migrate::accel::dsa
