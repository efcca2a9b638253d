// SPDX-License-Identifier: Apache-2.0
// Memory of every kind that a guest may have, and a sender that copies it as a migration does.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "memory/anon_mapping.hpp"
#include "memory/dirty/dirty_tracker.hpp"
#include "memory/source/page_source.hpp"
#include "tests/support/must.hpp"

namespace migrate::memory {

enum class GuestMemoryKind { kSmallPages, kHugePages, kMemfd, kHugetlb };

inline const char* name_of(GuestMemoryKind kind) {
    switch (kind) {
        case GuestMemoryKind::kSmallPages:
            return "private memory in 4 KiB pages";
        case GuestMemoryKind::kHugePages:
            return "private memory in transparent huge pages";
        case GuestMemoryKind::kMemfd:
            return "a memfd";
        case GuestMemoryKind::kHugetlb:
            return "hugetlbfs";
    }
    return "";
}

// One region, writable, untouched.
class GuestMemory final : public PageSource {
  public:
    GuestMemory(GuestMemoryKind kind, std::uint64_t pages)
        : kind_(kind), pagemap_(must(PagemapPopulation::create())) {
        region_ = {"ram", pages * kPageSize};
        if (kind == GuestMemoryKind::kSmallPages || kind == GuestMemoryKind::kHugePages) {
            const bool huge = kind == GuestMemoryKind::kHugePages;
            mapping_ = must(map_anonymous(region_.size_bytes,
                                          huge ? HugePages::kOn : HugePages::kOff, "a test"));
            return;
        }
        const unsigned flags =
            kind == GuestMemoryKind::kHugetlb ? MFD_CLOEXEC | MFD_HUGETLB : MFD_CLOEXEC;
        file_.reset(::memfd_create("guest", flags));
        REQUIRE(::ftruncate(file_.get(), static_cast<off_t>(region_.size_bytes)) == 0);
        mapping_ = must(Mapping::create({.size = region_.size_bytes,
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_SHARED | MAP_NORESERVE,
                                         .fd = file_.get(),
                                         .what = "a memfd"}));
    }

    std::string_view description() const override { return name_of(kind_); }
    std::span<const RegionInfo> regions() const override { return {&region_, 1}; }
    std::span<const std::byte> memory(RegionId) const override { return mapping_.bytes(); }
    Status population(RegionId, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        if (kind_ == GuestMemoryKind::kMemfd) {
            return FilePopulation(file_.get(), region_.size_bytes).query(range, extents);
        }
        if (kind_ == GuestMemoryKind::kHugetlb) {
            PopulationBuilder(range, extents).extend_to(range.end(), true);
            return {};
        }
        return pagemap_.query(mapping_.bytes(), range, extents);
    }
    bool populated_is_present() const override { return !file_; }
    Status prefault(RegionId, PageRange) const override { return {}; }

    std::uint64_t pages() const { return region_.pages(); }
    std::byte* page(std::uint64_t page) const { return mapping_.data() + page * kPageSize; }
    std::atomic_ref<std::uint64_t> word(std::uint64_t page, std::uint64_t index) const {
        void* at = this->page(page) + index * sizeof(std::uint64_t);
        return std::atomic_ref(*static_cast<std::uint64_t*>(at));
    }
    void fill(PageRange range, int value = 'a') const {
        std::memset(page(range.first), value, range.size_bytes());
    }
    // A balloon does the same. The pages are zeros afterwards.
    void give_back(PageRange range) const { advise(range, file_ ? MADV_REMOVE : MADV_DONTNEED); }
    // A file's pages keep what they hold, and only their page table entries go; else give_back().
    void unmap(PageRange range) const { advise(range, MADV_DONTNEED); }

  private:
    void advise(PageRange range, int advice) const {
        REQUIRE(::madvise(page(range.first), range.size_bytes(), advice) == 0);
    }

    GuestMemoryKind kind_;
    PagemapPopulation pagemap_;
    RegionInfo region_;
    UniqueFd file_;
    Mapping mapping_;
};

// A tracker, and the destination.
class CopyingSender {
  public:
    CopyingSender(const GuestMemory& memory, std::string_view tracker)
        : memory_(memory),
          tracker_(must(make_dirty_tracker(tracker, memory))),
          copy_(memory.pages() * kPageSize / sizeof(std::uint64_t)) {
        dirty_.push_back(must(PageBitmap::create(memory.pages())));
    }

    DirtyTracker& tracker() { return *tracker_; }

    // Starts tracking, and sends everything that is populated.
    void first_round() {
        must(tracker_->start());
        std::vector<PopulationExtent> extents;
        must(memory_.population(RegionId{0}, {0, memory_.pages()}, extents));
        for (const PopulationExtent& extent : extents) {
            if (!extent.populated) continue;
            for (auto page = extent.pages.first; page < extent.pages.end(); ++page) send(page);
        }
    }
    // The dirty pages, in order.
    std::vector<std::uint64_t> collect() {
        dirty_[0].reset();
        must(tracker_->collect(dirty_, {}));
        std::vector<std::uint64_t> pages;
        const std::uint64_t end = memory_.pages();
        for (std::uint64_t page = 0; (page = dirty_[0].find(page, end, true)) < end; ++page) {
            pages.push_back(page);
        }
        return pages;
    }
    // Collects, sends, and returns what was dirty.
    std::vector<std::uint64_t> round() {
        std::vector<std::uint64_t> pages = collect();
        for (const std::uint64_t page : pages) send(page);
        return pages;
    }
    void send(std::uint64_t page) {
        // Word by word: the guest may write meanwhile.
        std::uint64_t* to = copy_.data() + page * kWords;
        for (std::uint64_t i = 0; i < kWords; ++i) {
            to[i] = memory_.word(page, i).load(std::memory_order_relaxed);
        }
        tracker_->sent(RegionId{0}, {page, 1}, std::as_bytes(std::span(to, kWords)));
    }
    // The first page that the destination has otherwise; memory_.pages() if there is none.
    std::uint64_t first_difference() const {
        for (std::uint64_t page = 0; page < memory_.pages(); ++page) {
            if (std::memcmp(copy_.data() + page * kWords, memory_.page(page), kPageSize) != 0) {
                return page;
            }
        }
        return memory_.pages();
    }

  private:
    static constexpr std::uint64_t kWords = kPageSize / sizeof(std::uint64_t);

    const GuestMemory& memory_;
    std::unique_ptr<DirtyTracker> tracker_;
    std::vector<std::uint64_t> copy_;
    std::vector<PageBitmap> dirty_;
};

}  // namespace migrate::memory
