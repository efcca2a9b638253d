// SPDX-License-Identifier: Apache-2.0
#include "guest/workload_check.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fault_guard.hpp"
#include "base/fd.hpp"
#include "guest/workload_page.hpp"
#include "guest/write_sequence.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/pieces.hpp"

namespace migrate::guest {
namespace {

constexpr std::uint64_t kPiecePages = 8 * kMiB / kPageSize;

// The number of the last write to every page of the working set; ordered by vCPU, then by slot.
class LastWrites {
  public:
    static Result<LastWrites> create(const WorkloadState& state) {
        const std::uint64_t pages = state.spec.working_set_pages();
        // The table is lazily zero: an entry that is never set costs only address space.
        MIGRATE_ASSIGN(Mapping table,
                       memory::map_anonymous(pages * sizeof(std::uint64_t), memory::HugePages::kOn,
                                             "the table of last writes"));
        LastWrites last(state.spec, std::move(table));
        MIGRATE_TRY(
            memory::for_each_piece("replay", state.spec.threads, 1, [&](PageRange vcpu) -> Status {
                const auto index = static_cast<unsigned>(vcpu.first);
                replay(WriteSequence(state.spec, index), state.vcpus[index].writes,
                       last.slots(index));
                return {};
            }));
        return last;
    }

    // Returns 0 if the page was never written.
    std::uint64_t of(std::uint64_t page) const {
        return words()[first_[page % first_.size()] + page / first_.size()];
    }

  private:
    LastWrites(const WorkloadSpec& spec, Mapping table) : table_(std::move(table)) {
        std::uint64_t first = 0;
        for (unsigned vcpu = 0; vcpu < spec.threads; ++vcpu) {
            first_.push_back(first);
            first += WriteSequence(spec, vcpu).slots();
        }
        pages_ = first;
    }
    std::uint64_t* words() const { return reinterpret_cast<std::uint64_t*>(table_.data()); }
    std::span<std::uint64_t> slots(unsigned vcpu) const {
        const std::uint64_t end = vcpu + 1 < first_.size() ? first_[vcpu + 1] : pages_;
        return {words() + first_[vcpu], end - first_[vcpu]};
    }

    Mapping table_;
    std::vector<std::uint64_t> first_;  // index of each vCPU's first slot in the table
    std::uint64_t pages_ = 0;
};

// A page with wrong content.
struct WrongPage {
    std::uint64_t page = 0;
    std::array<std::byte, kPageSize> content{};
};

class Checker {
  public:
    Checker(const WorkloadSpec& spec, std::span<const std::byte> memory, const LastWrites& last)
        : spec_(spec), memory_(memory), last_(last) {}

    Status check(PageRange range, bool populated) const {
        // Reads are guarded: memory may belong to a file, or to huge pages that cannot be
        // allocated.
        std::optional<WrongPage> wrong;
        MIGRATE_TRY(
            guard_reads("the guest's memory", [&] { find_wrong_page(range, populated, wrong); }));
        if (!wrong) return {};
        return make_error("page {} {}, {}", wrong->page, what_it_holds(*wrong),
                          what_it_must_hold(wrong->page));
    }

  private:
    // Returns the write whose content the page must have; none if it must be zero.
    std::optional<PageWrite> expected(std::uint64_t page) const {
        const std::uint64_t number = page < spec_.working_set_pages() ? last_.of(page) : 0;
        if (number == 0 && page >= spec_.filled_pages()) return std::nullopt;
        return PageWrite{page, number};
    }

    void find_wrong_page(PageRange range, bool populated, std::optional<WrongPage>& wrong) const {
        alignas(64) std::array<std::byte, kPageSize> made;
        for (std::uint64_t page = range.first; page < range.end(); ++page) {
            const std::optional<PageWrite> write = expected(page);
            const std::byte* wanted = kZeroPage.data();
            if (write) {
                write_page(made.data(), *write, spec_.seed);
                wanted = made.data();
            }
            const std::byte* found =
                populated ? memory_.data() + page * kPageSize : kZeroPage.data();
            if (found == wanted || std::memcmp(found, wanted, kPageSize) == 0) continue;
            wrong.emplace().page = page;
            std::memcpy(wrong->content.data(), found, kPageSize);
            return;
        }
    }

    std::string what_it_holds(const WrongPage& wrong) const {
        if (wrong.content == kZeroPage) return "is zero";
        const std::optional<PageWrite> write = read_page(wrong.content, spec_.seed);
        if (!write) {
            return expected(wrong.page) ? "is torn or damaged (its checksum is wrong)"
                                        : "is not zero";
        }
        const std::string content = write->number == 0 ? std::string("its first content")
                                                       : fmt::format("write {}", write->number);
        if (write->page == wrong.page) return fmt::format("holds {}", content);
        return fmt::format("holds page {} ({})", write->page, content);
    }

    std::string what_it_must_hold(std::uint64_t page) const {
        const std::optional<PageWrite> write = expected(page);
        if (!write) return "it was never written";
        if (write->number == 0) return "it must hold its first content: it was never written since";
        return fmt::format("its last write was {}", write->number);
    }

    const WorkloadSpec& spec_;
    std::span<const std::byte> memory_;
    const LastWrites& last_;
};

}  // namespace

Status check_memory(const WorkloadState& state, std::span<const std::byte> memory,
                    const memory::PageSource* source) {
    MIGRATE_ASSIGN(const LastWrites last, LastWrites::create(state));
    const Checker checker(state.spec, memory, last);
    return memory::for_each_piece(
        "check", state.spec.pages(), kPiecePages, [&](PageRange piece) -> Status {
            std::vector<memory::PopulationExtent> extents;
            if (source != nullptr) {
                MIGRATE_TRY(source->population(RegionId{0}, piece, extents));
            } else {
                extents.push_back({piece, true});
            }
            for (const memory::PopulationExtent& extent : extents) {
                MIGRATE_TRY(checker.check(extent.pages, extent.populated));
            }
            return {};
        });
}

}  // namespace migrate::guest
