// SPDX-License-Identifier: Apache-2.0
#include "memory/dirty/dirty_tracker.hpp"

#include <array>

#include "base/join_words.hpp"
#include "base/log.hpp"
#include "memory/dirty/hash_tracker.hpp"
#include "memory/dirty/soft_dirty.hpp"
#include "memory/dirty/uffd_wp_tracker.hpp"

namespace migrate::memory {
namespace {

using Made = Result<std::unique_ptr<DirtyTracker>>;

Made make_no_soft_dirty(const PageSource&) { return Error(probe_soft_dirty().detail); }

// Tracks memory that nobody writes.
class NoTracker final : public DirtyTracker {
  public:
    std::string_view name() const override { return "none"; }
    Status start() override { return {}; }
    Status collect(std::span<PageBitmap>, const std::stop_token&) override { return {}; }
    void stop() override {}
};

struct TrackerKind {
    std::string_view name;
    DirtyTrackerSupport (*probe)();
    Made (*make)(const PageSource& source);
};

// "auto" prefers them in this order; the last one works everywhere.
constexpr std::array kKinds{
    TrackerKind{name_of(TrackerName::kUffdWp), probe_uffd_wp, make_uffd_wp_tracker},
    TrackerKind{name_of(TrackerName::kSoftDirty), probe_soft_dirty, make_no_soft_dirty},
    TrackerKind{name_of(TrackerName::kHash), probe_hash, make_hash_tracker},
};

// Checks the host first, because that error says what would make the tracker usable.
Made make_checked(const TrackerKind& kind, const PageSource& source) {
    const DirtyTrackerSupport support = kind.probe();
    if (!support.usable) return Error(support.detail);
    return kind.make(source);
}

Made choose(const PageSource& source) {
    std::string refused;
    for (const TrackerKind& kind : kKinds) {
        Made tracker = make_checked(kind, source);
        if (tracker) {
            log::info("dirty pages are tracked by {}{}", kind.name,
                      refused.empty() ? ": " + kind.probe().detail : "; not by" + refused);
            return tracker;
        }
        refused += fmt::format("{} {}: {}", refused.empty() ? "" : ";", kind.name,
                               tracker.error().message());
    }
    return make_error("no dirty tracker can be used:{}", refused);
}

}  // namespace

std::vector<DirtyTrackerSupport> probe_dirty_trackers() {
    std::vector<DirtyTrackerSupport> support;
    support.reserve(kKinds.size());
    for (const TrackerKind& kind : kKinds) support.push_back(kind.probe());
    return support;
}

Result<std::unique_ptr<DirtyTracker>> make_dirty_tracker(std::string_view name,
                                                         const PageSource& source) {
    if (source.is_constant()) {
        return std::unique_ptr<DirtyTracker>(std::make_unique<NoTracker>());
    }
    if (std::unique_ptr<DirtyTracker> own = source.make_own_tracker()) {
        if (name == name_of(TrackerName::kAuto)) return own;
        return make_error(ErrorKind::kUsage,
                          "the dirty tracker '{}' cannot be used here: {} reports the pages that "
                          "it writes itself; leave dirty-tracker at auto",
                          name, source.description());
    }
    if (name == name_of(TrackerName::kAuto)) return choose(source);
    for (const TrackerKind& kind : kKinds) {
        if (kind.name != name) continue;
        Made tracker = make_checked(kind, source);
        if (tracker) return tracker;
        return make_error(ErrorKind::kUsage, "the dirty tracker '{}' cannot be used here: {}", name,
                          tracker.error().message());
    }
    return make_error(ErrorKind::kUsage, "there is no dirty tracker '{}'; there are {}", name,
                      join_words(kNames<TrackerName>, "and"));
}

}  // namespace migrate::memory
