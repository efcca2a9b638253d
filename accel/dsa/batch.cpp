// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/batch.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/raw_syscall.hpp"
#include "base/units.hpp"

namespace migrate::accel::dsa {

namespace {

void count_pages(QueueCounters::Count& counter, std::uint64_t pages) {
    if (pages != 0) counter.fetch_add(pages, std::memory_order_relaxed);
}

// Returns 0 or an errno. The kernel reads, so a page that cannot be read raises no signal here.
int copy_page(const std::byte* from, std::byte* to) {
    const iovec target{to, kPageSize};
    const iovec source{const_cast<std::byte*>(from), kPageSize};
    const long copied = raw_syscall(SYS_process_vm_readv, ::getpid(), &target, 1, &source, 1, 0);
    if (copied == static_cast<long>(kPageSize)) return 0;
    return copied < 0 ? errno : EFAULT;
}

}  // namespace

Result<std::unique_ptr<Batch>> Batch::create(std::size_t max_pages, std::size_t verify_every) {
    std::unique_ptr<Batch> batch(new Batch);
    MIGRATE_ASSIGN(batch->submission_, Submission::create(max_pages));
    batch->pages_.reserve(max_pages);
    batch->answers_.reserve(max_pages);
    batch->targets_.reserve(max_pages);
    batch->sources_.reserve(max_pages);
    Verification& verification = batch->verification_;
    verification.every = verify_every;
    verification.until_copy = verify_every;
    if (verify_every != 0) {
        MIGRATE_ASSIGN(verification.memory,
                       Mapping::create({.size = (max_pages / verify_every + 1) * kPageSize,
                                        .protection = PROT_READ | PROT_WRITE,
                                        .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                                        .what = "memory for copies of pages (accel-verify)"}));
    }
    return batch;
}

void Batch::fill(std::span<const PageExtent> extents, WorkQueue& queue,
                 std::span<const std::uint64_t> not_zero) {
    queue_ = &queue;
    pages_.clear();
    for (const PageExtent& extent : extents) {
        for (std::uint32_t i = 0; i < extent.pages; ++i)
            pages_.push_back(extent.data + i * kPageSize);
    }
    answers_.assign(pages_.size(), Answer::kNone);
    std::uint32_t known = 0;
    if (!not_zero.empty()) {
        for (std::size_t i = 0; i < pages_.size(); ++i) {
            if ((not_zero[i / 64] >> (i % 64) & 1) == 0) continue;
            answers_[i] = Answer::kNotZero;
            ++known;
        }
    }
    unanswered_ = static_cast<std::uint32_t>(pages_.size()) - known;
    if (!not_zero.empty()) count_pages(queue.counters().looked_at, pages_.size());
    count_pages(queue.counters().prefiltered, known);
    count_pages(queue.counters().cpu_pages, known);
    awaits_device_ = false;
    targets_.clear();
    verification_.copies.clear();
    verification_.uncopied.clear();
}

const std::byte* Batch::source_of(std::uint32_t page) {
    Verification& own = verification_;
    if (own.every == 0 || --own.until_copy != 0) return pages_[page];
    own.until_copy = own.every;
    std::byte* to = own.memory.data() + own.copies.size() * kPageSize;
    if (const int error = copy_page(pages_[page], to); error != 0) {
        own.uncopied.push_back(page);
        own.error = error;
        return pages_[page];
    }
    own.copies.push_back({page, to});
    return to;
}

void Batch::assign(std::uint32_t count) {
    sources_.clear();
    for (std::uint32_t page = 0; targets_.size() < count && page < pages_.size(); ++page) {
        if (answers_[page] != Answer::kNone) continue;
        targets_.push_back(page);
        sources_.push_back(source_of(page));
    }
    submission_->assign(sources_, *queue_);
    awaits_device_ = true;
}

void Batch::take_answers() {
    const std::span<const Answer> answers = submission_->answers();
    for (std::size_t i = 0; i < targets_.size(); ++i) answers_[targets_[i]] = answers[i];
    awaits_device_ = false;
}

void Batch::overtake() {
    count_pages(queue_->counters().late_pages, submission_->outstanding_pages());
    take_answers();
}

std::uint64_t Batch::collect(bool (*is_zero)(const std::byte* page),
                             std::span<std::uint64_t> zero_map) {
    std::uint32_t on_cpu = 0;
    std::ranges::fill(zero_map.first((pages_.size() + 63) / 64), 0);
    for (std::size_t i = 0; i < pages_.size(); ++i) {
        bool zero = answers_[i] == Answer::kZero;
        if (answers_[i] == Answer::kNone) {
            zero = is_zero(pages_[i]);
            ++on_cpu;
        }
        if (zero) zero_map[i / 64] |= std::uint64_t{1} << (i % 64);
    }
    unanswered_ = on_cpu;
    count_pages(queue_->counters().cpu_pages, on_cpu);
    for (const Copy& copy : verification_.copies) {
        const Answer answer = answers_[copy.page];
        if (answer == Answer::kNone) continue;
        count_pages(queue_->counters().verified, 1);
        if (is_zero(copy.data) != (answer == Answer::kZero)) return copy.page;
    }
    return pages_.size();
}

Status Batch::check_verified() const {
    const auto unchecked = [this](std::uint32_t page) { return answers_[page] != Answer::kNone; };
    if (std::ranges::none_of(verification_.uncopied, unchecked)) return {};
    return Error::system("copy a page to verify a device's answer (accel-verify)",
                         verification_.error);
}

}  // namespace migrate::accel::dsa
