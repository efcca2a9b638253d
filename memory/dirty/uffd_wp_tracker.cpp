// SPDX-License-Identifier: Apache-2.0
#include "memory/dirty/uffd_wp_tracker.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/log.hpp"
#include "memory/dirty/write_protection.hpp"
#include "memory/foreign/foreign_userfaultfd.hpp"
#include "memory/foreign/foreign_writers.hpp"
#include "memory/foreign/still_mapped.hpp"

namespace migrate::memory {
namespace {

constexpr std::uint64_t kScanBytes = kGiB;  // takes some milliseconds

// A region's memory, or a part of it, at its owner's addresses.
struct Watched {
    AddressRange addresses;
    std::size_t region = 0;
    std::uint64_t first_page = 0;  // page of the region where the part begins
    WriteProtection::HugeHoles huge_holes = WriteProtection::HugeHoles::kMarked;
};

std::vector<Watched> parts_of(const PageSource& source) {
    std::vector<Watched> parts;
    for (std::size_t i = 0; i < source.regions().size(); ++i) {
        if (source.owner() == nullptr) {
            parts.push_back({source.memory(static_cast<RegionId>(i)), i, 0});
            continue;
        }
        // Untouched pages of another process's private memory are found by its page tables.
        const auto huge_holes = source.owner()->is_private(i) ? WriteProtection::HugeHoles::kNoted
                                                              : WriteProtection::HugeHoles::kMarked;
        for (const ForeignMapping& mapping : source.owner()->regions[i]) {
            parts.push_back(
                {{mapping.address, mapping.size}, i, mapping.file_offset / kPageSize, huge_holes});
        }
    }
    return parts;
}

class UffdWpTracker final : public DirtyTracker {
  public:
    UffdWpTracker(const PageSource& source, WriteProtection protection,
                  std::chrono::microseconds stood_still)
        : source_(source),
          parts_(parts_of(source)),
          protection_(std::move(protection)),
          stood_still_(stood_still) {}
    ~UffdWpTracker() override { stop(); }

    std::string_view name() const override { return name_of(TrackerName::kUffdWp); }

    // Registers the memory before start(); an Error if this memory cannot be tracked.
    Status watch() {
        for (; watched_ < parts_.size(); ++watched_) {
            const Watched& part = parts_[watched_];
            Status status = protection_.watch(part.addresses, part.huge_holes);
            if (status) continue;
            const std::string& name = source_.regions()[parts_[watched_].region].name;
            return std::move(status).error().with_context("region " + name);
        }
        return {};
    }

    Status start() override {
        for (const Watched& part : watched()) MIGRATE_TRY(protection_.protect(part.addresses));
        return {};
    }

    // Step by step: a scan of much memory takes long, and only between two can it be stopped.
    Status collect(std::span<PageBitmap> dirty, const std::stop_token& stop) override {
        for (const Watched& part : watched()) {
            const AddressRange all = part.addresses;
            for (std::uint64_t done = 0; done < all.size; done += kScanBytes) {
                if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
                const AddressRange step{all.start + done, std::min(kScanBytes, all.size - done)};
                MIGRATE_TRY(protection_.take_written(step, dirty[part.region],
                                                     part.first_page + done / kPageSize));
            }
        }
        return {};
    }

    bool can_peek() const override { return true; }

    Status peek(RegionId region, PageRange pages, PageBitmap& written) const override {
        for (const Watched& part : watched()) {
            if (part.region != index_of(region)) continue;
            const std::uint64_t first = std::max(part.first_page, pages.first);
            const std::uint64_t end =
                std::min(part.first_page + part.addresses.size / kPageSize, pages.end());
            if (first >= end) continue;
            const AddressRange memory{part.addresses.start + (first - part.first_page) * kPageSize,
                                      (end - first) * kPageSize};
            MIGRATE_TRY(protection_.find_written(memory, written, first));
        }
        return {};
    }

    bool relies_on_marks() const override { return source_.owner() != nullptr; }

    Status check(Writers writers, const std::optional<std::string>& said) const override {
        const MemoryOwner* owner = source_.owner();
        if (owner == nullptr) return {};
        const std::string unseen = writers == Writers::kAll ? unseen_writes(*owner, said).reason
                                                            : unseen_own_writes(*owner, said);
        if (!unseen.empty()) return Error(unseen);
        return check_still_mapped(*owner, source_.regions());
    }

    void stop() override {
        while (watched_ > 0) protection_.release(parts_[--watched_].addresses);
    }

    std::chrono::microseconds stood_still() const override { return stood_still_; }

  private:
    std::span<const Watched> watched() const { return std::span(parts_).first(watched_); }

    const PageSource& source_;
    std::vector<Watched> parts_;
    WriteProtection protection_;
    std::chrono::microseconds stood_still_;
    std::size_t watched_ = 0;  // number of watched parts, from the first
};

// Tries a page that was written before, pages that are written after protect(), and an untouched
// page.
Status try_protection(WriteProtection& protection) {
    constexpr std::uint64_t kPages = 4;
    MIGRATE_ASSIGN(const Mapping scratch, Mapping::create({.size = kPages * kPageSize,
                                                           .protection = PROT_READ | PROT_WRITE,
                                                           .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                                           .what = "memory to try it on"}));
    MIGRATE_ASSIGN(PageBitmap written, PageBitmap::create(kPages));
    scratch.data()[0] = scratch.data()[kPageSize] = std::byte{1};
    MIGRATE_TRY(protection.watch(scratch.bytes()));
    MIGRATE_TRY(protection.protect(scratch.bytes()));
    scratch.data()[kPageSize] = scratch.data()[2 * kPageSize] = std::byte{2};
    MIGRATE_TRY(protection.take_written(scratch.bytes(), written));
    protection.release(scratch.bytes());
    if (written.count({0, kPages}) == 2 && written.count({1, 2}) == 2) return {};
    return make_error("this kernel's PAGEMAP_SCAN reports other pages than were written");
}

}  // namespace

Result<std::unique_ptr<DirtyTracker>> make_uffd_wp_tracker(const PageSource& source) {
    const MemoryOwner* owner = source.owner();
    std::unique_ptr<UffdWpTracker> tracker;
    if (owner == nullptr) {
        MIGRATE_ASSIGN(WriteProtection protection, WriteProtection::create());
        tracker = std::make_unique<UffdWpTracker>(source, std::move(protection),
                                                  std::chrono::microseconds(0));
    } else {
        const UnseenWrites unseen = unseen_writes(*owner, owner->outside_writer);
        if (!unseen.reason.empty()) return Error(unseen.reason);
        if (!unseen.unknown.empty()) {
            log::warning(
                "some processes could not be checked for writes to the memory of {}, which reports "
                "no other writer: {}; run migrate as root to check all",
                owner->description, unseen.unknown);
        }
        MIGRATE_ASSIGN(ForeignUserfaultfd foreign, open_foreign_userfaultfd(owner->pid));
        MIGRATE_ASSIGN(WriteProtection protection,
                       WriteProtection::create_for(owner->pid, std::move(foreign.faults)));
        log::info("a thread of {} was stopped for {} us while migrate attached to it",
                  owner->description, foreign.stood_still.count());
        tracker =
            std::make_unique<UffdWpTracker>(source, std::move(protection), foreign.stood_still);
    }
    MIGRATE_TRY(tracker->watch());
    return std::unique_ptr<DirtyTracker>(std::move(tracker));
}

DirtyTrackerSupport probe_uffd_wp() {
    Result<WriteProtection> protection = WriteProtection::create();
    const Status status = protection ? try_protection(*protection) : std::move(protection).error();
    return {.name = std::string(name_of(TrackerName::kUffdWp)),
            .usable = static_cast<bool>(status),
            .detail = status ? "the kernel marks what is written, page by page; private, shared "
                               "and hugetlbfs memory"
                             : status.error().message()};
}

}  // namespace migrate::memory
