// The pages of one packet as descriptors, and the device's answers about them.
// Invariant: memory that a device may still write is neither reused nor freed: it is kept until the
// process ends.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accel/dsa/completion.hpp"
#include "accel/dsa/descriptor.hpp"
#include "accel/dsa/work_queue.hpp"
#include "accel/page_scanner.hpp"
#include "base/fd.hpp"

namespace migrate::accel::dsa {

// One thread uses it.
class Batch {
  public:
    // For up to `max_pages` pages. Every `verify_every`-th page that passes through is copied, and
    // the device checks the copy (0: none).
    static Result<std::unique_ptr<Batch>> create(std::size_t max_pages, std::size_t verify_every);

    // Sets the pages to check; nothing of the previous batch is outstanding. A disabled queue gets
    // no descriptors, and its counters count the pages that the CPU checks.
    void fill(std::span<const PageExtent> extents, WorkQueue& queue);
    // Gives the queue the descriptors that it has not taken yet, in one attempt. Returns true once
    // all are taken.
    bool submit(Completion& completion, std::chrono::nanoseconds timeout);
    // Leaves the pages that the queue has not taken to the CPU.
    void give_up_submitting();
    // Takes the answers that are there, without waiting. Returns true if there were any.
    bool advance(Completion& completion);
    // Waits for the answers to all descriptors taken. If lost() is then true, renew() or abandon()
    // must follow before the next use or the destruction.
    void await(Completion& completion);
    // True if the device may still write an answer that no thread waits for any more.
    bool lost() const { return lost_; }
    // renew() leaves the memory to the device and allocates new memory; abandon() only leaves it.
    Status renew();
    void abandon();

    std::uint64_t pages() const { return pages_.size(); }
    WorkQueue& queue() const { return *queue_; }
    // True if a descriptor was taken and its answer has not been awaited yet.
    bool outstanding() const { return awaited_ < taken_; }
    // After await(): sets the bit of every zero page, as PageScanner::collect() does. Reads pages
    // without an answer on the CPU. Returns the first page whose answer is wrong, or pages() if
    // none is.
    std::uint64_t collect(bool (*is_zero)(const std::byte* page),
                          std::span<std::uint64_t> zero_map);
    // After await(): an Error if the device answered for a page that had to be verified but could
    // not be copied, so that the answer is unchecked.
    Status check_verified() const;

  private:
    enum class Answer : std::uint8_t { kNone, kZero, kNotZero };
    // The pages that one descriptor of the queue covers.
    struct Unit {
        std::uint32_t first = 0;
        std::uint32_t count = 0;
    };

    Batch(std::size_t max_pages, std::size_t verify_every);
    Status make_memory();
    void add_copies();
    void make_units();
    const CompletionRecord& record_of(const Unit& unit, std::size_t index) const;
    void take_answer(std::size_t index, bool answered);
    void harvest(const Unit& unit, std::size_t index);
    void harvest_page(std::uint32_t page);

    std::size_t max_pages_;
    Mapping mapping_;  // holds the memory of the four spans, and the copies
    std::span<Descriptor> children_;
    std::span<Descriptor> submitted_;  // one per unit: a BATCH, or a child itself
    std::span<CompletionRecord> records_;
    std::span<CompletionRecord> batch_records_;

    WorkQueue* queue_ = nullptr;
    std::vector<const std::byte*> pages_;
    std::vector<Answer> answers_;
    std::vector<Unit> units_;
    std::unique_ptr<Watch[]> watches_;  // NOLINT(*-avoid-c-arrays): a Watch does not move
    std::size_t taken_ = 0;             // number of units taken, from the first on
    std::size_t awaited_ = 0;           // number of those whose answer was awaited
    bool lost_ = false;

    std::size_t verify_every_;
    std::size_t until_copy_ = 0;
    struct Copy {
        std::uint32_t page = 0;
        std::byte* data = nullptr;
    };
    std::vector<Copy> copies_;
    std::vector<std::uint32_t> uncopied_;  // pages that had to be copied but could not be
    int copy_error_ = 0;                   // errno of the last failed copy
    std::uint64_t copies_at_ = 0;          // offset of the copies in the mapping
};

}  // namespace migrate::accel::dsa
