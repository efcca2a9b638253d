// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/send_postcopy.hpp"

#include <vector>

#include "base/log.hpp"
#include "engine/postcopy/postcopy_follow.hpp"
#include "guest/workload.hpp"

namespace migrate::engine {
namespace {

// So many pages may be removed while the guest is paused.
constexpr std::uint64_t kFewPages = 64;

}  // namespace

Status SendPostcopy::check(const guest::Guest* guest) const {
    if (!is_allowed()) return {};
    if (guest == nullptr) {
        return make_error(ErrorKind::kUsage,
                          "option postcopy: {} has no guest that could run while its memory moves",
                          source_.description());
    }
    if (guest->kind() != guest::kWorkloadKind) {
        return make_error(
            ErrorKind::kRefused,
            "option postcopy: post-copy is for the built-in guest (workload:) only; a "
            "guest of kind '{}' is moved without it",
            guest->kind());
    }
    return {};
}

Status SendPostcopy::begin(PeerLink& link, LiveSource& live, bool all) {
    warn_of_postcopy();
    MIGRATE_ASSIGN(const transport::Endpoint peer, link.peer());
    MIGRATE_ASSIGN(postcopy_,
                   PostcopySource::create({.source = source_,
                                           .session = session_,
                                           .peer = peer,
                                           .security = config_.security,
                                           .io_timeout = config_.io_timeout,
                                           .handshake_timeout = config_.handshake_timeout,
                                           .bytes_per_second = config_.max_postcopy_bandwidth,
                                           .zero_kernel = config_.zero_kernel}));
    published_.lock()->postcopy = postcopy_.get();
    if (!all) return prepare_dirty(link, live);
    std::vector<memory::PageBitmap> every;
    for (const RegionInfo& region : source_.regions()) {
        MIGRATE_ASSIGN(memory::PageBitmap pages, memory::PageBitmap::create(region.pages()));
        pages.set({0, region.pages()});
        every.push_back(std::move(pages));
    }
    return postcopy_->prepare(link, every, core_.token());
}

// Pages that the guest writes while the receiver removes pages are named, too, until they are few
// or do not become fewer.
Status SendPostcopy::prepare_dirty(PeerLink& link, LiveSource& live) {
    std::uint64_t named = 0;
    for (std::uint64_t most = UINT64_MAX; most > kFewPages;) {
        MIGRATE_TRY(postcopy_->prepare(link, live.dirty(), core_.token()));
        const std::uint64_t more = postcopy_->missing() - named;
        if (more > most / 2) break;
        most = more;
        named += more;
        MIGRATE_TRY(live.collect_again());
    }
    return {};
}

bool SendPostcopy::finish(const Status& result, std::optional<bool> runs_there) {
    if (!postcopy_) return false;
    const bool handed_over = published_.lock()->handed_over;
    // A receiver that says both that the guest runs there and that it does not is not believed: the
    // guest must not run twice.
    const bool stays = runs_there == false && postcopy_->progress().state() == PostcopyState::kNone;
    if (!handed_over || stays) {
        postcopy_->stop();
        return false;
    }
    if (!result) {
        log::warning(
            "after the handover: {}; the memory is kept here until the receiver has all of it, "
            "however long that takes. Only if the guest does not run there, end this program",
            result.error().message());
    }
    const bool complete = follow_postcopy(core_, postcopy_->progress());
    postcopy_->stop();
    return complete;
}

std::string SendPostcopy::warning() const {
    if (!postcopy_) return {};
    return "; it needs the rest of its memory from here: a second signal ends this program, and "
           "the guest is lost";
}

}  // namespace migrate::engine
