// SPDX-License-Identifier: Apache-2.0
// The pages of one packet, and the answers about them: from a first look, from a device, or from
// the CPU. Invariant: after collect() every page has an answer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accel/dsa/submission.hpp"
#include "accel/page_scanner.hpp"
#include "base/fd.hpp"

namespace migrate::accel::dsa {

// One thread uses it.
class Batch {
  public:
    // For up to `max_pages` pages. Every `verify_every`-th page that a device checks is copied, and
    // the device checks the copy (0: none).
    static Result<std::unique_ptr<Batch>> create(std::size_t max_pages, std::size_t verify_every);

    // Sets the pages to check. Bit i % 64 of not_zero[i / 64] is set if page i is known not to be
    // zero; `not_zero` may be empty. The counters of `queue` count the pages that the CPU checks.
    void fill(std::span<const PageExtent> extents, WorkQueue& queue,
              std::span<const std::uint64_t> not_zero);
    // Number of pages without an answer.
    std::uint32_t unanswered() const { return unanswered_; }
    // Makes descriptors for the first `count` pages without an answer. At most once after fill(),
    // and only if nothing is outstanding. The CPU checks the other pages in collect().
    void assign(std::uint32_t count);
    // Notes that the CPU checks the pages that the device has not answered for.
    void overtake();
    // The descriptors; those of earlier pages if the CPU has overtaken them.
    Submission& submission() { return *submission_; }
    const Submission& submission() const { return *submission_; }
    // True between assign() and the answers or overtake().
    bool awaits_device() const { return awaits_device_; }
    // Copies the device's answers. Called when all have come, or by overtake().
    void take_answers();

    std::uint64_t pages() const { return pages_.size(); }
    WorkQueue& queue() const { return *queue_; }
    // Sets the bit of every zero page, as PageScanner::collect() does. Reads pages without an
    // answer on the CPU. Returns the first page whose answer is wrong, or pages() if none is.
    std::uint64_t collect(bool (*is_zero)(const std::byte* page),
                          std::span<std::uint64_t> zero_map);
    // An Error if the device answered for a page that had to be verified but could not be copied,
    // so that the answer is unchecked.
    Status check_verified() const;

  private:
    struct Copy {
        std::uint32_t page = 0;
        std::byte* data = nullptr;
    };
    // Pages whose answer is verified.
    struct Verification {
        std::size_t every = 0;
        std::size_t until_copy = 0;
        Mapping memory;
        std::vector<Copy> copies;
        std::vector<std::uint32_t> uncopied;  // pages that had to be copied but could not be
        int error = 0;                        // errno of the last failed copy
    };

    Batch() = default;
    // The address that the device checks: the page, or a copy of it.
    const std::byte* source_of(std::uint32_t page);

    std::unique_ptr<Submission> submission_;
    WorkQueue* queue_ = nullptr;
    std::vector<const std::byte*> pages_;
    std::vector<Answer> answers_;
    std::uint32_t unanswered_ = 0;
    bool awaits_device_ = false;
    std::vector<std::uint32_t> targets_;  // the page of each child
    std::vector<const std::byte*> sources_;
    Verification verification_;
};

}  // namespace migrate::accel::dsa
