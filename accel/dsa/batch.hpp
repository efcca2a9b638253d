// The pages of one packet as descriptors, and the device's answers about them.
// Invariant: memory that a device may still write is never used again nor given back: it is kept
// until the process ends.
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

// Used by one thread.
class Batch {
  public:
    // For up to `max_pages` pages; of all pages that pass through it, every `verify_every`-th is
    // copied, and the copy is what the device checks (0: none).
    static Result<std::unique_ptr<Batch>> create(std::size_t max_pages, std::size_t verify_every);

    // The pages to check; nothing of what was before is outstanding. A queue that serves no more is
    // not asked, and has the CPU's pages counted.
    void fill(std::span<const PageExtent> extents, WorkQueue& queue);
    // Gives the queue what it has not taken yet, in one attempt. True once all is taken.
    bool submit(Completion& completion, std::chrono::nanoseconds timeout);
    // What the queue has not taken is left to the CPU.
    void give_up_submitting();
    // Takes the answers that are there, without waiting. True if there were any.
    bool advance(Completion& completion);
    // Waits for the answers to what was taken. Then, or before it is destroyed: renew() or
    // abandon() if lost().
    void await(Completion& completion);
    // Whether the device may still write an answer, now that nobody waits for it any more.
    bool lost() const { return lost_; }
    // Leaves the memory to the device, and goes on in other memory.
    Status renew();
    void abandon();

    std::uint64_t pages() const { return pages_.size(); }
    WorkQueue& queue() const { return *queue_; }
    // Whether a descriptor was taken and its answer not awaited yet.
    bool outstanding() const { return awaited_ < taken_; }
    // After await(): sets the bit of every zero page, as PageScanner::collect() has it. Pages
    // without an answer are read here. The first page whose answer is wrong, or pages().
    std::uint64_t collect(bool (*is_zero)(const std::byte* page),
                          std::span<std::uint64_t> zero_map);
    // After await(): an Error if the device answered for a page that was to be verified and could
    // not be copied, so that nobody has checked the answer.
    Status check_verified() const;

  private:
    enum class Answer : std::uint8_t { kNone, kZero, kNotZero };
    // Pages that one descriptor of the queue is about.
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
    Mapping mapping_;  // holds what the four spans are, and the copies
    std::span<Descriptor> children_;
    std::span<Descriptor> submitted_;  // one a unit: a BATCH, or a child itself
    std::span<CompletionRecord> records_;
    std::span<CompletionRecord> batch_records_;

    WorkQueue* queue_ = nullptr;
    std::vector<const std::byte*> pages_;
    std::vector<Answer> answers_;
    std::vector<Unit> units_;
    std::unique_ptr<Watch[]> watches_;  // NOLINT(*-avoid-c-arrays): a Watch does not move
    std::size_t taken_ = 0;             // units, from the first on
    std::size_t awaited_ = 0;           // of those
    bool lost_ = false;

    std::size_t verify_every_;
    std::size_t until_copy_ = 0;
    struct Copy {
        std::uint32_t page = 0;
        std::byte* data = nullptr;
    };
    std::vector<Copy> copies_;
    std::vector<std::uint32_t> uncopied_;  // pages that were to be copied, and could not be
    int copy_error_ = 0;                   // why the last of them could not: an errno
    std::uint64_t copies_at_ = 0;          // in the mapping
};

}  // namespace migrate::accel::dsa
