// SPDX-License-Identifier: Apache-2.0
#include "perf/dirty_loop.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "bench/host.hpp"
#include "bench/loops/loop_memory.hpp"
#include "memory/dirty/dirty_tracker.hpp"

namespace migrate::perf {
namespace {

constexpr std::array<std::pair<std::string_view, GuestRam>, 3> kRams{{
    {"small", GuestRam::kSmall},
    {"huge", GuestRam::kHuge},
    {"memfd", GuestRam::kMemfd},
}};
constexpr std::chrono::milliseconds kCollectEvery{100};
constexpr int kCollectsWhileWriting = 10;

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// One region whose pages were all written.
class Ram final : public memory::PageSource {
  public:
    static Result<std::unique_ptr<Ram>> create(const DirtyLoop& loop) {
        MIGRATE_TRY(bench::warm_memory(loop.bytes));
        auto ram = std::make_unique<Ram>();
        ram->region_ = {"ram", loop.bytes};
        if (loop.ram == GuestRam::kMemfd) {
            ram->file_.reset(::memfd_create("dirty_cost", MFD_CLOEXEC));
            if (!ram->file_ || ::ftruncate(ram->file_.get(), static_cast<off_t>(loop.bytes)) != 0) {
                return Error::system("make a memfd", errno);
            }
            MIGRATE_ASSIGN(ram->mapping_, Mapping::create({.size = loop.bytes,
                                                           .protection = PROT_READ | PROT_WRITE,
                                                           .flags = MAP_SHARED,
                                                           .fd = ram->file_.get(),
                                                           .what = "a memfd"}));
        } else {
            const bool huge = loop.ram == GuestRam::kHuge;
            MIGRATE_ASSIGN(ram->mapping_,
                           bench::private_memory(loop.bytes, huge ? bench::PageSizing::kHuge
                                                                  : bench::PageSizing::kSmall));
            MIGRATE_ASSIGN(ram->pagemap_, memory::PagemapPopulation::create());
        }
        MIGRATE_TRY(bench::fill_random(ram->mapping_));
        return ram;
    }

    std::string_view description() const override { return "ram"; }
    std::span<const RegionInfo> regions() const override { return {&region_, 1}; }
    std::span<const std::byte> memory(RegionId) const override { return mapping_.bytes(); }
    Status population(RegionId, PageRange range,
                      std::vector<memory::PopulationExtent>& extents) const override {
        if (pagemap_) return pagemap_->query(mapping_.bytes(), range, extents);
        return memory::FilePopulation(file_.get(), region_.size_bytes).query(range, extents);
    }
    bool populated_is_present() const override { return true; }
    Status prefault(RegionId, PageRange) const override { return {}; }

    void write_a_word(std::uint64_t random) const {
        void* at = mapping_.data() + random % region_.pages() * kPageSize;
        std::atomic_ref(*static_cast<std::uint64_t*>(at)).store(random, std::memory_order_relaxed);
    }
    std::uint64_t pages() const { return region_.pages(); }
    std::span<const std::byte> page(std::uint64_t page) const {
        return mapping_.bytes().subspan(page * kPageSize, kPageSize);
    }

  private:
    RegionInfo region_;
    UniqueFd file_;
    Mapping mapping_;
    std::optional<memory::PagemapPopulation> pagemap_;
};

// Tells the tracker what was sent, as the sender does; some trackers need it.
void tell_sent(const Ram& ram, memory::DirtyTracker& tracker, const memory::PageBitmap& pages) {
    if (!tracker.needs_sent()) return;
    for (std::uint64_t page = 0; (page = pages.find(page, ram.pages(), true)) < ram.pages();
         ++page) {
        tracker.sent(RegionId{0}, {page, 1}, ram.page(page));
    }
}

// The time to look at all memory once, as the sender looks at it before it sends pages.
Result<double> peek_ms(const Ram& ram, const memory::DirtyTracker& tracker,
                       memory::PageBitmap& written) {
    const Clock::time_point start = Clock::now();
    for (std::uint64_t page = 0; page < ram.pages(); page += kPagesPerHugePage) {
        const PageRange part{page, std::min(kPagesPerHugePage, ram.pages() - page)};
        MIGRATE_TRY(tracker.peek(RegionId{0}, part, written));
    }
    return ms_since(start);
}

double writes_per_second(const Ram& ram, memory::DirtyTracker* tracker,
                         std::span<memory::PageBitmap> dirty) {
    std::atomic<std::uint64_t> writes{0};
    std::jthread writer([&](const std::stop_token& stop) {
        std::mt19937_64 random(1);
        for (; !stop.stop_requested(); writes.fetch_add(64, std::memory_order_relaxed)) {
            for (int i = 0; i < 64; ++i) ram.write_a_word(random());
        }
    });
    // The second half is measured: by then every page is in the state it will be in.
    Clock::time_point half;
    std::uint64_t before = 0;
    for (int i = 0; i < kCollectsWhileWriting; ++i) {
        if (i == kCollectsWhileWriting / 2) {
            half = Clock::now();
            before = writes.load();
        }
        std::this_thread::sleep_for(kCollectEvery);
        // The timed collections report errors.
        if (tracker != nullptr) static_cast<void>(static_cast<bool>(tracker->collect(dirty, {})));
    }
    return static_cast<double>(writes.load() - before) / ms_since(half) * 1e3;
}

}  // namespace

std::optional<GuestRam> guest_ram_named(std::string_view name) {
    for (const auto& [known, ram] : kRams) {
        if (known == name) return ram;
    }
    return std::nullopt;
}

Result<DirtyFigures> run_dirty_loop(const DirtyLoop& loop) {
    MIGRATE_ASSIGN(const auto ram, Ram::create(loop));
    MIGRATE_ASSIGN(const auto tracker, memory::make_dirty_tracker(loop.tracker, *ram));
    std::vector<memory::PageBitmap> dirty;
    MIGRATE_ASSIGN(memory::PageBitmap bitmap, memory::PageBitmap::create(ram->pages()));
    dirty.push_back(std::move(bitmap));
    DirtyFigures figures;
    figures.writes_per_s_plain = writes_per_second(*ram, nullptr, dirty);

    Clock::time_point start = Clock::now();
    MIGRATE_TRY(tracker->start());
    figures.start_ms = ms_since(start);
    dirty[0].set({0, ram->pages()});
    tell_sent(*ram, *tracker, dirty[0]);

    std::mt19937_64 random(2);
    const auto writes =
        static_cast<std::uint64_t>(static_cast<double>(ram->pages()) * loop.percent / 100);
    std::vector<double> times;
    std::vector<double> peeks;
    for (unsigned round = 0; round < loop.rounds; ++round) {
        for (std::uint64_t i = 0; i < writes; ++i) ram->write_a_word(random());
        dirty[0].reset();
        if (tracker->can_peek()) {
            MIGRATE_ASSIGN(const double time, peek_ms(*ram, *tracker, dirty[0]));
            peeks.push_back(time);
            dirty[0].reset();
        }
        start = Clock::now();
        MIGRATE_TRY(tracker->collect(dirty, {}));
        times.push_back(ms_since(start));
        tell_sent(*ram, *tracker, dirty[0]);
    }
    figures.dirty_pages = dirty[0].count({0, ram->pages()});
    std::sort(times.begin(), times.end());
    std::sort(peeks.begin(), peeks.end());
    if (!peeks.empty()) figures.peek_median_ms = peeks[peeks.size() / 2];
    figures.collect_median_ms = times[times.size() / 2];
    figures.collect_worst_ms = times.back();
    figures.writes_per_s_tracked = writes_per_second(*ram, tracker.get(), dirty);
    start = Clock::now();
    tracker->stop();
    figures.stop_ms = ms_since(start);
    return figures;
}

}  // namespace migrate::perf
