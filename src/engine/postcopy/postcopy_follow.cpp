// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/postcopy_follow.hpp"

#include "base/log.hpp"

namespace migrate::engine {
namespace {

void show(SessionCore& core, MigrationStatus status) {
    if (core.status() != status) core.set_status(status);
}

}  // namespace

void warn_of_postcopy() {
    log::warning(
        "post-copy: until every page has moved, neither side has the whole guest. A lost "
        "connection "
        "is made again, but if the source's host or either migrate ends before that, the guest is "
        "lost");
}

PostcopyReport report_of(const PostcopyProgress& progress, const PostcopyPages& pages) {
    const PostcopyProgress::Figures figures = progress.figures();
    PostcopyReport report;
    report.normal = pages.normal.load(std::memory_order_relaxed);
    report.zero = pages.zero.load(std::memory_order_relaxed);
    report.duration = figures.duration;
    report.interruptions = figures.interruptions;
    report.paused = figures.paused;
    return report;
}

bool follow_postcopy(SessionCore& core, PostcopyProgress& progress) {
    PostcopyState seen = PostcopyState::kNone;
    while (seen != PostcopyState::kComplete) {
        const auto next = progress.await_change(seen);
        if (!next) return false;
        seen = *next;
        switch (seen) {
            case PostcopyState::kPaused:
                log::warning(
                    "post-copy is paused, because its connections were lost ({}): the guest waits "
                    "for the pages that it touches. Both sides keep everything and connect again "
                    "for as long as it takes; ending either of them loses the guest",
                    progress.reason());
                show(core, MigrationStatus::kPostcopyPaused);
                break;
            case PostcopyState::kRecover:
                show(core, MigrationStatus::kPostcopyRecover);
                break;
            case PostcopyState::kActive:
                if (core.status() != MigrationStatus::kPostcopyActive) {
                    log::info("post-copy: the pages are sent");
                }
                show(core, MigrationStatus::kPostcopyActive);
                break;
            case PostcopyState::kNone:
            case PostcopyState::kComplete:
                break;
        }
    }
    return true;
}

}  // namespace migrate::engine
