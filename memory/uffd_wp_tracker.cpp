#include "memory/uffd_wp_tracker.hpp"

#include <sys/mman.h>

#include <string>

#include "base/fd.hpp"
#include "memory/write_protection.hpp"

namespace migrate::memory {
namespace {

class UffdWpTracker final : public DirtyTracker {
  public:
    UffdWpTracker(const PageSource& source, WriteProtection protection)
        : source_(source), protection_(std::move(protection)) {}
    ~UffdWpTracker() override { stop(); }

    std::string_view name() const override { return "uffd-wp"; }

    // Before start(): whether it is possible at all.
    Status watch() {
        for (; watched_ < source_.regions().size(); ++watched_) {
            Status status = protection_.watch(memory(watched_));
            if (status) continue;
            const std::string& name = source_.regions()[watched_].name;
            return std::move(status).error().with_context("region " + name);
        }
        return {};
    }

    Status start() override {
        for (std::size_t i = 0; i < watched_; ++i) MIGRATE_TRY(protection_.protect(memory(i)));
        return {};
    }

    Status collect(std::span<PageBitmap> dirty) override {
        for (std::size_t i = 0; i < watched_; ++i) {
            MIGRATE_TRY(protection_.take_written(memory(i), dirty[i]));
        }
        return {};
    }

    void stop() override {
        while (watched_ > 0) protection_.release(memory(--watched_));
    }

  private:
    std::span<const std::byte> memory(std::size_t region) const {
        return source_.memory(static_cast<RegionId>(region));
    }

    const PageSource& source_;
    WriteProtection protection_;
    std::size_t watched_ = 0;  // regions, from the first
};

// A page written before, one written after, and one not at all.
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
    MIGRATE_ASSIGN(WriteProtection protection, WriteProtection::create());
    auto tracker = std::make_unique<UffdWpTracker>(source, std::move(protection));
    MIGRATE_TRY(tracker->watch());
    return std::unique_ptr<DirtyTracker>(std::move(tracker));
}

DirtyTrackerSupport probe_uffd_wp() {
    Result<WriteProtection> protection = WriteProtection::create();
    const Status status = protection ? try_protection(*protection) : std::move(protection).error();
    return {.name = "uffd-wp",
            .usable = static_cast<bool>(status),
            .detail = status ? "the kernel marks what is written, page by page; private, shared "
                               "and hugetlbfs memory"
                             : status.error().message()};
}

}  // namespace migrate::memory
