// SPDX-License-Identifier: Apache-2.0
// Placement while the kernel, the file or the peer fails: the memory is right, or the failure is
// clear. Each run follows from its seed.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <set>

#include "base/fault_guard.hpp"
#include "base/splitmix64.hpp"
#include "catch.hpp"
#include "memory/sink/page_placer.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

constexpr std::uint64_t kPages = 256;
constexpr std::uint64_t kPacketPages = 32;
constexpr unsigned kRounds = 3;

enum class Fault {
    kNone,
    kAgain,        // the kernel copies a part, or nothing, and asks for another try
    kNoMemory,     // ENOMEM, after a part of the request
    kOtherWriter,  // pages exist that this program did not make
    kShrinks,      // the file becomes shorter
    kFull,         // the file system has no room for all pages
    kRepeated,     // the peer sends a page twice in one round
};
constexpr std::size_t kFaults = 7;

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(splitmix64(seed)) {}
    std::uint64_t below(std::uint64_t limit) { return splitmix64(state_++) % limit; }
    bool one_in(std::uint64_t count) { return below(count) == 0; }

  private:
    std::uint64_t state_;
};

// The descriptors of files of the region's size that this process has open.
std::set<int> open_files() {
    std::set<int> files;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        const int fd = std::atoi(entry.path().filename().c_str());
        struct stat status {};
        if (::fstat(fd, &status) == 0 && status.st_size == off_t{kPages * kPageSize})
            files.insert(fd);
    }
    return files;
}

struct Packet {
    std::vector<PageRun> runs;
    char value = 0;
};

// One receiver with one fault, from its first packet to its end.
class FaultyRun {
  public:
    FaultyRun(const std::string& uri, Fault fault, std::uint64_t seed)
        : random_(seed), fault_(fault), strikes_at_(random_.below(20)), buffer_(kPacketBytes) {
        const std::set<int> before = open_files();
        sink_ = must(open_page_sink(uri));
        must(sink_->prepare(regions_));
        for (const int fd : open_files())
            if (before.count(fd) == 0) file_ = fd;
        PlacementPlan plan = must(plan_placement(*sink_, 1, Placement::kAuto));
        if (plan.filler) {
            plan.filler->replace_copy([this](const PageFiller::Copy& kernel) {
                return [this, kernel](uffdio_copy& request) { return copy(kernel, request); };
            });
        }
        copies_ = plan.filler != nullptr;
        const unsigned helpers = random_.one_in(4) ? 2 : 0;
        placer_ = must(PagePlacer::create(*sink_, regions_, helpers, {}, std::move(plan)));
    }

    // The whole migration of this region; what the receiver would report.
    Status run() {
        for (unsigned round = 0; round < kRounds; ++round) {
            std::uint64_t came = 0;
            for (std::uint64_t page = 0; page < kPages;) {
                const Packet packet = next_packet(page, came, round == 0);
                if (packet.runs.empty()) continue;
                MIGRATE_TRY(receive(packet));
            }
            MIGRATE_TRY(placer_->finish_round(came));
        }
        placer_->end_rounds();
        return sink_->commit();
    }

    // Returns true if every page that arrived is right, except those of a packet that failed.
    bool memory_is_right() {
        placer_->end_rounds();
        if (shrunk_) return true;
        std::vector<std::byte> found(kPageSize);
        std::vector<std::byte> wanted(kPageSize);
        for (std::uint64_t page = 0; page < kPages; ++page) {
            if (unsure_.count(page) != 0) continue;
            std::memset(wanted.data(), expected_[page], kPageSize);
            if (read_page(page, found) && found == wanted) continue;
            UNSCOPED_INFO("page " << page);
            return false;
        }
        return true;
    }
    bool struck() const { return struck_; }
    bool copies() const { return copies_; }

  private:
    static constexpr std::uint64_t kPacketBytes = kPacketPages * kPageSize;

    // A hole of a full file system cannot be read through the mapping.
    bool read_page(std::uint64_t page, std::vector<std::byte>& to) const {
        const auto offset = static_cast<off_t>(page * kPageSize);
        if (file_ >= 0) return ::pread(file_, to.data(), kPageSize, offset) == ssize_t{kPageSize};
        std::memcpy(to.data(), sink_->memory(kRam).data() + offset, kPageSize);
        return true;
    }

    Packet next_packet(std::uint64_t& page, std::uint64_t& came, bool all) {
        Packet packet;
        packet.value = static_cast<char>(1 + packets_++ % 250);
        const std::uint64_t end = std::min(kPages, page + 1 + random_.below(kPacketPages));
        while (page < end) {
            const std::uint64_t count = std::min(end - page, 1 + random_.below(6));
            const auto kind = static_cast<PageKind>(random_.below(3));
            if (all || random_.one_in(2)) {
                packet.runs.push_back({{page, count}, kind});
                came += count;
            }
            page += count;
        }
        return packet;
    }

    Status receive(const Packet& packet) {
        const bool now = ++received_ > strikes_at_ && !struck_;
        if (now && fault_ == Fault::kOtherWriter) write_as_another(packet);
        if (now && fault_ == Fault::kShrinks && random_.one_in(2)) shrink();
        unsure_.clear();
        for (const PageRun& run : packet.runs)
            for (std::uint64_t i = 0; i < run.pages.count; ++i) unsure_.insert(run.pages.first + i);
        MIGRATE_TRY(place(packet, now));
        unsure_.clear();
        for (const PageRun& run : packet.runs) {
            const char value = run.kind == PageKind::kNormal ? packet.value : '\0';
            std::fill_n(expected_.begin() + static_cast<std::ptrdiff_t>(run.pages.first),
                        run.pages.count, value);
        }
        if (!now || fault_ != Fault::kRepeated) return {};
        struck_ = true;
        Destinations to;
        return placer_->accept(kRam, std::span(packet.runs).last(1), WrittenBy::kSystemCall,
                               buffer_, to);
    }

    Status place(const Packet& packet, bool now) {
        Destinations to;
        MIGRATE_TRY(placer_->accept(kRam, packet.runs, WrittenBy::kSystemCall, buffer_, to));
        if (now && fault_ == Fault::kShrinks && !shrunk_) shrink();
        for (const iovec& part : to.parts) {
            Status written = guard_writes("the memory", [&part, &packet] {
                std::memset(part.iov_base, packet.value, part.iov_len);
            });
            if (!written) return placer_->explain(kRam, packet.runs, std::move(written).error());
        }
        return placer_->fill(kRam, to);
    }

    // Called by several threads if there are helpers.
    int copy(const PageFiller::Copy& kernel, uffdio_copy& request) {
        const unsigned call = calls_++;
        const std::uint64_t pages = request.len / kPageSize;
        const bool here = call >= strikes_at_;
        if (fault_ == Fault::kAgain && here && call % 3 != 0) {
            struck_ = true;
            return copy_part(kernel, request, call % pages, EAGAIN);
        }
        if (fault_ == Fault::kNoMemory && here) {
            struck_ = true;
            // The kernel reports a part as EAGAIN, and the failure for the rest.
            const std::uint64_t part = call == strikes_at_ ? call % pages : 0;
            return copy_part(kernel, request, part, part == 0 ? ENOMEM : EAGAIN);
        }
        return kernel(request);
    }
    static int copy_part(const PageFiller::Copy& kernel, uffdio_copy& request, std::uint64_t pages,
                         int code) {
        if (pages == 0) {
            request.copy = -code;
            return code;
        }
        uffdio_copy part = request;
        part.len = pages * kPageSize;
        const int failed = kernel(part);
        request.copy = part.copy;
        return failed == 0 ? code : failed;
    }

    void write_as_another(const Packet& packet) {
        for (const PageRun& run : packet.runs) {
            if (run.kind != PageKind::kNormal || file_ < 0) continue;
            const auto page = run.pages.first + random_.below(run.pages.count);
            struck_ = ::pwrite(file_, "old", 3, static_cast<off_t>(page * kPageSize + 7)) == 3;
        }
    }
    void shrink() {
        struck_ = shrunk_ = true;
        const auto size = random_.below(kPages * kPageSize / 2);
        REQUIRE(::ftruncate(file_, static_cast<off_t>(size)) == 0);
    }

    Random random_;
    Fault fault_;
    std::uint64_t strikes_at_;  // the packet, or the call, from which on the fault is there
    std::vector<std::byte> buffer_;
    std::vector<RegionInfo> regions_{{"ram", kPages* kPageSize}};
    std::vector<char> expected_ = std::vector<char>(kPages);
    std::set<std::uint64_t> unsure_;  // pages of the packet that is being placed
    std::unique_ptr<PageSink> sink_;
    int file_ = -1;  // of the sink, for memory in a file
    std::unique_ptr<PagePlacer> placer_;
    std::atomic<unsigned> calls_{0};
    std::atomic<bool> struck_{false};
    bool shrunk_ = false;
    bool copies_ = false;
    unsigned packets_ = 0;
    std::uint64_t received_ = 0;
};

// Returns what the message must contain if the fault ends the run; null: it must not end it.
const char* reason_of(Fault fault) {
    switch (fault) {
        case Fault::kNone:
        case Fault::kAgain:
        case Fault::kOtherWriter:
            return nullptr;
        case Fault::kNoMemory:
            return "Cannot allocate memory";
        case Fault::kShrinks:
            return "truncated";
        case Fault::kFull:
            return "No space left on device";
        case Fault::kRepeated:
            return "came twice in one round";
    }
    return nullptr;
}

TEST_CASE("a thousand runs of placement under faults end with right memory or a clear failure") {
    const TemporaryFolder folder("/dev/shm");
    const TemporaryMount small("tmpfs", "size=128k");
    std::array<unsigned, kFaults> struck{};
    std::array<unsigned, kFaults> failed{};
    for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
        auto fault = static_cast<Fault>(seed % kFaults);
        if (fault == Fault::kFull && !small) fault = Fault::kNone;
        const std::array<std::string, 3> kinds{"anon:huge=off", "memfd:huge=off", folder / "image"};
        // Private memory does not shrink, and has no other writer.
        const bool file = fault == Fault::kShrinks || fault == Fault::kOtherWriter;
        const std::size_t kind = file ? 1 + seed / kFaults % 2 : seed / kFaults % 3;
        const std::string uri = fault == Fault::kFull ? small.folder() / "image" : kinds.at(kind);
        CAPTURE(seed, uri, static_cast<int>(fault));
        FaultyRun run(uri, fault, seed);
        const Status status = run.run();
        const auto index = static_cast<std::size_t>(fault);
        if (run.struck()) ++struck.at(index);
        if (!status) {
            ++failed.at(index);
            const char* const reason = reason_of(fault);
            REQUIRE(reason != nullptr);
            REQUIRE_THAT(message_of(status), Catch::Contains(reason));
        } else {
            // These faults never pass unnoticed.
            REQUIRE_FALSE((run.struck() && reason_of(fault) != nullptr));
        }
        REQUIRE(run.memory_is_right());
    }
    for (std::size_t i = 0; i < kFaults; ++i) {
        const auto fault = static_cast<Fault>(i);
        CAPTURE(i, struck.at(i), failed.at(i));
        if (fault == Fault::kFull && small) CHECK(failed.at(i) > 50);
        if (fault == Fault::kNone || fault == Fault::kFull) continue;
        const bool by_copy = fault == Fault::kAgain || fault == Fault::kNoMemory;
        if (by_copy && !PageFiller::create()) continue;
        CHECK(struck.at(i) > 50);
    }
}

TEST_CASE("a kernel that asks for another try without end fails the page") {
    const auto sink = must(open_page_sink("anon:huge=off"));
    const std::vector<RegionInfo> regions{{"ram", kPages * kPageSize}};
    must(sink->prepare(regions));
    PlacementPlan plan = must(plan_placement(*sink, 1, Placement::kAuto));
    if (!plan.filler) {
        WARN("skipped: this host has no userfaultfd");
        return;
    }
    plan.filler->replace_copy([](const PageFiller::Copy&) {
        return [](uffdio_copy& request) {
            request.copy = -EAGAIN;
            return EAGAIN;
        };
    });
    const auto placer = must(PagePlacer::create(*sink, regions, 0, {}, std::move(plan)));
    std::vector<std::byte> buffer(kPageSize);
    Destinations to;
    const std::vector<PageRun> runs{{{5, 1}, PageKind::kNormal}};
    must(placer->accept(kRam, runs, WrittenBy::kSystemCall, buffer, to));
    const Status filled = placer->fill(kRam, to);
    CHECK_THAT(message_of(filled), Catch::Contains("make room in anon:huge=off at offset 20480"));
    CHECK_THAT(message_of(filled), Catch::Contains("Resource temporarily unavailable"));
}

}  // namespace
}  // namespace migrate::memory
