// SPDX-License-Identifier: Apache-2.0
// Asks the receiver before the first round which pages it has already, by their digests, and leaves
// them out of that round. Invariant: a page is left out only if the receiver has put the content
// that it had here at that time into its sink. A guest's writes since then are in the dirty pages,
// because its tracker was started before.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "engine/peer_link.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/send/sent_pages.hpp"
#include "memory/digest_key.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/source/page_source.hpp"
#include "transport/pacer.hpp"
#include "transport/page_digests.hpp"

namespace migrate::engine {

// Used by the session's thread.
class ReuseQuery {
  public:
    // All outlive this object.
    struct Needs {
        const memory::PageSource& source;
        SentPages* sent = nullptr;  // null: an image
        PeerLink& link;
        transport::Pacer& pacer;
        PublishedSend& published;
        std::stop_token stop;
    };
    // Without a key the receiver has nothing.
    ReuseQuery(Needs needs, std::optional<memory::DigestKey> key)
        : needs_(std::move(needs)), key_(std::move(key)) {}

    // Reads all memory that has content once. Called before the first round; the tracker of a guest
    // runs by then.
    Status ask();
    // The plan of the first round, without the pages that the receiver has.
    RoundPlan without_reused(RoundPlan all) const {
        return reused_.empty() ? std::move(all) : all.without(reused_);
    }

  private:
    Status ask_about(RegionId region, PageRange pages);
    Status digest(RegionId region, std::span<const PageRange> steps,
                  std::vector<std::optional<transport::PageDigest>>& digests) const;
    Status send();
    Status take_answer();

    const Needs needs_;
    const std::optional<memory::DigestKey> key_;
    std::vector<memory::PageBitmap> reused_;  // one for each region; empty before ask()
    transport::PageDigestsBuilder frame_;
    RegionId region_{};  // of frame_
    struct Question {
        RegionId region{};
        std::vector<PageRange> pages;
    };
    std::deque<Question> open_;  // not answered yet
    ReuseReport figures_;
};

}  // namespace migrate::engine
