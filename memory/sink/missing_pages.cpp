// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/missing_pages.hpp"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "memory/userfaultfd.hpp"

namespace migrate::memory {
namespace {

// EAGAIN without progress means that another thread changes the process's mappings. This lasts
// microseconds; after this many attempts the kernel is at fault.
constexpr unsigned kMaxAttempts = 100'000;
// Pages that mincore() is asked for at a time.
constexpr std::uint64_t kLookPages = 32 * 1024;

Result<UniqueFd> open_faults() {
    MIGRATE_ASSIGN(UniqueFd faults, open_userfaultfd());
    // With blocking reads, poll() reports an error.
    if (::fcntl(faults.get(), F_SETFL, O_NONBLOCK) != 0) {
        return Error::system("use userfaultfd for post-copy", errno);
    }
    const int code = enable_userfaultfd(faults, UFFD_FEATURE_MISSING_SHMEM);
    if (code != 0) return Error::system("use userfaultfd for post-copy", code);
    return faults;
}

bool is_private(BackingKind kind) {
    return kind == BackingKind::kPrivate || kind == BackingKind::kPrivateHuge;
}
bool is_shared(BackingKind kind) {
    return kind == BackingKind::kShared || kind == BackingKind::kSharedHuge;
}

std::span<std::byte> part_of(std::span<std::byte> memory, PageRange pages) {
    return memory.subspan(pages.offset_bytes(), pages.size_bytes());
}

std::uint64_t address_of(std::span<std::byte> bytes) {
    return reinterpret_cast<std::uintptr_t>(bytes.data());
}

// Looks which pages of memory exist, many at a time.
class PresentPages {
  public:
    explicit PresentPages(std::span<std::byte> memory)
        : memory_(memory), present_(std::min(memory.size() / kPageSize, kLookPages)) {}

    // `pages` are after those of the last call.
    Result<bool> any_of(PageRange pages) {
        for (std::uint64_t page = pages.first; page < pages.end();) {
            if (page >= seen_.end()) MIGRATE_TRY(look(page));
            const std::uint64_t end = std::min(seen_.end(), pages.end());
            for (; page < end; ++page) {
                if ((present_[page - seen_.first] & 1U) != 0) return true;
            }
        }
        return false;
    }

  private:
    Status look(std::uint64_t page) {
        seen_ = {page, std::min<std::uint64_t>(present_.size(), memory_.size() / kPageSize - page)};
        const auto part = part_of(memory_, seen_);
        if (::mincore(part.data(), part.size(), present_.data()) == 0) return {};
        return Error::system("look for removed pages (mincore)", errno);
    }

    std::span<std::byte> memory_;
    std::vector<unsigned char> present_;
    PageRange seen_;
};

}  // namespace

Status MissingPages::check_host() {
    MIGRATE_ASSIGN(const UniqueFd faults, open_faults());
    return {};
}

Result<std::unique_ptr<MissingPages>> MissingPages::create(std::vector<Memory> memory) {
    MIGRATE_ASSIGN(UniqueFd faults, open_faults());
    std::vector<Region> regions;
    for (Memory& one : memory) {
        if (!is_private(one.kind) && !is_shared(one.kind)) {
            return make_error(ErrorKind::kRefused,
                              "region '{}': post-copy needs private memory or a memfd",
                              one.info.name);
        }
        // A kernel without transparent huge pages refuses it, and makes none.
        static_cast<void>(::madvise(one.bytes.data(), one.bytes.size(), MADV_NOHUGEPAGE));
        MIGRATE_ASSIGN(PageBitmap awaited, PageBitmap::create(one.info.pages()));
        MIGRATE_ASSIGN(PageBitmap taken, PageBitmap::create(one.info.pages()));
        regions.push_back({std::move(one), std::move(awaited), std::move(taken)});
    }
    return std::unique_ptr<MissingPages>(new MissingPages(std::move(faults), std::move(regions)));
}

Status MissingPages::remove(RegionId id, std::span<const PageRange> runs) {
    Region& region = regions_[index_of(id)];
    const int advice = is_private(region.memory.kind) ? MADV_DONTNEED : MADV_REMOVE;
    for (const PageRange& run : runs) {
        const auto bytes = part_of(region.memory.bytes, run);
        if (::madvise(bytes.data(), bytes.size(), advice) != 0) {
            return Error::system("remove pages for post-copy", errno);
        }
    }
    PresentPages present(region.memory.bytes);
    for (const PageRange& run : runs) {
        MIGRATE_ASSIGN(const bool left, present.any_of(run));
        if (left) {
            return make_error(
                "the kernel kept a page of {} … {} of the region '{}' that was to be removed: it "
                "is part of a huge page that cannot be divided",
                run.first, run.end() - 1, region.memory.info.name);
        }
        const std::uint64_t before = region.awaited.set(run);
        awaited_.fetch_add(run.count - before, std::memory_order_release);
    }
    return {};
}

Status MissingPages::arm() {
    for (const Region& region : regions_) {
        const int code = register_missing(faults_, region.memory.bytes);
        if (code == 0) continue;
        return Error::system(
            fmt::format("register the region '{}' with userfaultfd", region.memory.info.name),
            code);
    }
    return {};
}

std::optional<MissingPages::Fault> MissingPages::locate(std::uint64_t address) const {
    for (std::size_t i = 0; i < regions_.size(); ++i) {
        const auto bytes = regions_[i].memory.bytes;
        const std::uint64_t first = address_of(bytes);
        if (address < first || address - first >= bytes.size()) continue;
        return Fault{RegionId{static_cast<std::uint16_t>(i)}, (address - first) / kPageSize};
    }
    return std::nullopt;
}

Result<std::optional<MissingPages::Fault>> MissingPages::next_fault(const Wakeup& wakeup,
                                                                    WaitClock::time_point until) {
    while (true) {
        uffd_msg message{};
        const ssize_t size = ::read(faults_.get(), &message, sizeof message);
        if (size == static_cast<ssize_t>(sizeof message)) {
            if (message.event != UFFD_EVENT_PAGEFAULT) continue;
            if (const auto fault = locate(message.arg.pagefault.address)) return fault;
            continue;
        }
        if (size < 0 && errno != EAGAIN && errno != EINTR) {
            return Error::system("read page faults (userfaultfd)", errno);
        }
        std::array<pollfd, 2> polled{pollfd{faults_.get(), POLLIN, 0},
                                     pollfd{wakeup.fd(), POLLIN, 0}};
        const int ready = wait_for_any(polled, until);
        if (ready < 0) return Error::system("wait for page faults (userfaultfd)", errno);
        if (ready == 0) return std::optional<Fault>();
        if (polled[1].revents != 0) {
            static_cast<void>(wakeup.clear());
            return std::optional<Fault>();
        }
    }
}

Status MissingPages::resolve_locally(const Fault& fault) const {
    return zero(at(fault.region), fault.page);
}

// Maps zeros, unless the page exists, and wakes the threads that wait for it.
Status MissingPages::zero(const Region& region, std::uint64_t page) const {
    const PageRange pages{page, 1};
    for (unsigned attempt = 0; attempt < kMaxAttempts; ++attempt) {
        uffdio_zeropage request{};
        request.range.start = address_of(part_of(region.memory.bytes, pages));
        request.range.len = kPageSize;
        if (::ioctl(faults_.get(), UFFDIO_ZEROPAGE, &request) == 0) return {};
        if (errno == EEXIST) {
            wake(region, pages);
            return {};
        }
        if (errno != EAGAIN) break;
        ::sched_yield();
    }
    return Error::system("map a page of zeros (userfaultfd)", errno);
}

void MissingPages::wake(const Region& region, PageRange pages) const {
    uffdio_range range{};
    range.start = address_of(part_of(region.memory.bytes, pages));
    range.len = pages.size_bytes();
    static_cast<void>(::ioctl(faults_.get(), UFFDIO_WAKE, &range));
}

// Does not write to pages that exist.
Status MissingPages::copy(const Region& region, PageRange pages,
                          std::span<const std::byte> content) const {
    std::uint64_t to = address_of(part_of(region.memory.bytes, pages));
    unsigned waited = 0;
    while (!content.empty()) {
        uffdio_copy request{};
        request.dst = to;
        request.src = reinterpret_cast<std::uintptr_t>(content.data());
        request.len = content.size();
        if (::ioctl(faults_.get(), UFFDIO_COPY, &request) == 0) return {};
        const int code = errno;
        std::size_t done = request.copy > 0 ? static_cast<std::size_t>(request.copy) : 0;
        if (code == EEXIST && done == 0) done = kPageSize;
        if (code != EAGAIN && code != EEXIST)
            return Error::system("place pages (userfaultfd)", code);
        waited = done == 0 ? waited + 1 : 0;
        if (waited == kMaxAttempts) return Error::system("place pages (userfaultfd)", code);
        if (done == 0) ::sched_yield();
        to += done;
        content = content.subspan(done);
    }
    // The last pages existed: nothing has woken the threads.
    wake(region, pages);
    return {};
}

PageRange MissingPages::take_next(Region& region, std::uint64_t page, PageRange pages) {
    PageRange run{page, 0};
    for (; page < pages.end(); ++page) {
        const bool mine = region.awaited.test(page) && region.taken.set({page, 1}) == 0;
        if (mine && run.count++ == 0) run.first = page;
        if (!mine && run.count != 0) break;
    }
    return run;
}

// Nothing uses the userfaultfd for these pages any more: with the last ones, disarm() may follow.
void MissingPages::note_placed(std::uint64_t pages) {
    awaited_.fetch_sub(pages, std::memory_order_acq_rel);
}

Result<MissingPages::Placed> MissingPages::place(RegionId id, PageRange pages,
                                                 std::span<const std::byte> content) {
    Region& region = regions_[index_of(id)];
    Placed result;
    for (std::uint64_t page = pages.first; page < pages.end();) {
        const PageRange run = take_next(region, page, pages);
        if (run.count == 0) break;
        const Status copied = copy(
            region, run, content.subspan((run.first - pages.first) * kPageSize, run.size_bytes()));
        if (!copied) {
            // A part of the run may be there. The sender sends all of it again, and what is there
            // stays.
            region.taken.clear(run);
            return copied.error();
        }
        note_placed(region.awaited.clear(run));
        result.placed += run.count;
        page = run.end();
    }
    result.dropped = pages.count - result.placed;
    return result;
}

Result<MissingPages::Placed> MissingPages::place_zeros(RegionId id, PageRange pages) {
    Region& region = regions_[index_of(id)];
    Placed result;
    std::uint64_t page = region.awaited.find(pages.first, pages.end(), true);
    while (page < pages.end()) {
        const std::uint64_t end = region.awaited.find(page, pages.end(), false);
        const PageRange run = take_next(region, page, {page, end - page});
        page = run.count == 0 ? end : run.end();
        if (run.count == 1) {
            if (Status mapped = zero(region, run.first); !mapped) {
                region.taken.clear(run);
                return std::move(mapped).error();
            }
        }
        const std::uint64_t placed = region.awaited.clear(run);
        // A thread that waits tries again, and its fault is resolved locally.
        if (run.count > 1) wake(region, run);
        note_placed(placed);
        result.placed += run.count;
        page = region.awaited.find(page, pages.end(), true);
    }
    result.dropped = pages.count - result.placed;
    return result;
}

void MissingPages::disarm() {
    // Closing it ends the registration and wakes every thread.
    faults_.reset();
    for (const Region& region : regions_) {
        if (region.memory.kind != BackingKind::kPrivateHuge) continue;
        static_cast<void>(
            ::madvise(region.memory.bytes.data(), region.memory.bytes.size(), MADV_HUGEPAGE));
    }
}

}  // namespace migrate::memory
