// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/placement.hpp"

#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/fault_guard.hpp"
#include "memory/sink/anon_sink.hpp"
#include "memory/userfaultfd.hpp"

namespace migrate::memory {
namespace {

// EAGAIN without progress means that another thread changes the process's mappings. This lasts
// microseconds; after this many attempts the kernel is at fault.
constexpr unsigned kMaxAttempts = 100'000;

// Overwrites a page that exists.
bool overwrite(std::span<std::byte> to, const std::byte* from) {
    return static_cast<bool>(
        guard_writes("the page", [=] { std::memcpy(to.data(), from, to.size()); }));
}

Error refuse(const PageSink& sink, std::string_view why) {
    return make_error(ErrorKind::kRefused,
                      "{} cannot be filled with --placement=uffd-copy: {}; leave --placement at "
                      "auto",
                      sink.description(), why);
}

constexpr std::string_view kForced = "--placement forces it";

struct Rule {
    BackingKind kind;
    Placement best;
    bool can_copy;  // uffd-copy is possible
    std::string_view reason;
};

constexpr std::array<Rule, 6> kRules{{
    {BackingKind::kPrivate, Placement::kUffdCopy, true,
     "4 KiB pages are allocated and filled in one step"},
    {BackingKind::kPrivateHuge, Placement::kInPlace, true,
     "one page fault makes a whole huge page, and the network fills it"},
    {BackingKind::kShared, Placement::kUffdCopy, true,
     "4 KiB pages are allocated and filled in one step"},
    {BackingKind::kSharedHuge, Placement::kInPlace, true,
     "one page fault makes a whole huge page, and the network fills it"},
    {BackingKind::kHugetlb, Placement::kInPlace, false,
     "the kernel fills pages of hugetlbfs only as a whole"},
    {BackingKind::kDisk, Placement::kInPlace, false,
     "userfaultfd does not support this file system"},
}};

const Rule& rule_of(BackingKind kind) {
    return *std::find_if(kRules.begin(), kRules.end(),
                         [kind](const Rule& rule) { return rule.kind == kind; });
}

// Makes the filler when the first region needs one.
Status add_to_filler(PlacementPlan& plan, std::span<std::byte> memory) {
    if (!plan.filler) {
        MIGRATE_ASSIGN(PageFiller filler, PageFiller::create());
        plan.filler = std::make_unique<PageFiller>(std::move(filler));
    }
    return plan.filler->add(memory);
}

Result<PlacementChoice> choose(const PageSink& sink, RegionId region, Placement wanted,
                               PlacementPlan& plan) {
    if (wanted == Placement::kInPlace) {
        return PlacementChoice{Placement::kInPlace, kForced};
    }
    const Rule& rule = rule_of(sink.kind(region));
    const bool forced = wanted == Placement::kUffdCopy;
    if (forced && !rule.can_copy) return refuse(sink, rule.reason);
    if (!forced && rule.best == Placement::kInPlace) {
        return PlacementChoice{Placement::kInPlace, rule.reason};
    }
    Status added = add_to_filler(plan, sink.memory(region));
    if (!added && forced) return refuse(sink, added.error().message());
    if (!added) return PlacementChoice{Placement::kInPlace, added.error().message()};
    return PlacementChoice{Placement::kUffdCopy, forced ? kForced : rule.reason};
}

}  // namespace

PageFiller::PageFiller(UniqueFd faults)
    : faults_(std::move(faults)), copy_([fd = faults_.get()](uffdio_copy& request) {
          return ::ioctl(fd, UFFDIO_COPY, &request) == 0 ? 0 : errno;
      }) {}

Result<PageFiller> PageFiller::create() {
    MIGRATE_ASSIGN(UniqueFd faults, open_userfaultfd());
    const int code = enable_userfaultfd(faults, UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM);
    if (code != 0) return Error::system("use userfaultfd to fill memory", code);
    return PageFiller(std::move(faults));
}

Status PageFiller::add(std::span<std::byte> memory) const {
    const int code = register_missing(faults_, memory);
    if (code == 0) return {};
    if (code == EINVAL) return Error("the kernel has no userfaultfd for this kind of memory");
    return Error::system("register the memory with userfaultfd", code);
}

int PageFiller::fill(std::span<std::byte> to, std::span<const std::byte> from) const {
    unsigned waited = 0;
    while (!from.empty()) {
        uffdio_copy copy{};
        copy.dst = reinterpret_cast<std::uintptr_t>(to.data());
        copy.src = reinterpret_cast<std::uintptr_t>(from.data());
        copy.len = from.size();
        copy.mode = UFFDIO_COPY_MODE_DONTWAKE;  // no thread waits for a page
        const int code = copy_(copy);
        if (code == 0) return 0;
        // The number of bytes that were copied before the failure, or the failure as a negative
        // number.
        std::size_t done = copy.copy > 0 ? static_cast<std::size_t>(copy.copy) : 0;
        if (code == EEXIST && done == 0) {
            if (!overwrite(to.first(kPageSize), from.data())) return EFAULT;
            done = kPageSize;
        } else if (code != EAGAIN && code != EEXIST) {
            return code;
        }
        waited = done == 0 ? waited + 1 : 0;
        if (waited == kMaxAttempts) return code;
        if (done == 0) ::sched_yield();
        to = to.subspan(done);
        from = from.subspan(done);
    }
    return 0;
}

Result<PlacementPlan> plan_placement(const PageSink& sink, std::size_t regions, Placement wanted) {
    PlacementPlan plan;
    for (std::size_t i = 0; i < regions; ++i) {
        if (sink.discards()) {
            plan.regions.emplace_back(Placement::kInPlace, "its pages are discarded");
            continue;
        }
        if (!sink.is_mapped(static_cast<RegionId>(i))) {
            constexpr std::string_view kWhy =
                "its pages are written by system calls: it is not mapped here";
            if (wanted == Placement::kUffdCopy) return refuse(sink, kWhy);
            plan.regions.emplace_back(Placement::kInPlace, kWhy);
            plan.writes = true;
            continue;
        }
        MIGRATE_ASSIGN(PlacementChoice choice,
                       choose(sink, static_cast<RegionId>(i), wanted, plan));
        plan.regions.push_back(std::move(choice));
    }
    return plan;
}

std::vector<PlacementSupport> probe_placements() {
    struct Sample {
        std::string_view memory;
        std::unique_ptr<PageSink> sink;
    };
    std::vector<Sample> samples;
    samples.push_back({"private", make_anon_sink("anon:huge=off", HugePages::kOff)});
    samples.push_back({"private-huge", make_anon_sink("anon:", HugePages::kOn)});
    samples.push_back({"shared", make_memfd_sink("memfd:huge=off", HugePages::kOff)});
    samples.push_back({"shared-huge", make_memfd_sink("memfd:", HugePages::kOn)});
    std::vector<PlacementSupport> supports;
    const std::array<RegionInfo, 1> region{{{"sample", kHugePageSize}}};
    for (const Sample& sample : samples) {
        Status prepared = sample.sink->prepare(region);
        if (!prepared) {
            supports.push_back({sample.memory, {Placement::kInPlace, prepared.error().message()}});
        } else if (Result<PlacementPlan> plan =
                       plan_placement(*sample.sink, region.size(), Placement::kAuto)) {
            supports.push_back({sample.memory, plan->regions.front()});
        }
    }
    return supports;
}

}  // namespace migrate::memory
