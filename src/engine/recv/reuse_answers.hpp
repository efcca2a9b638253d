// SPDX-License-Identifier: Apache-2.0
// Answers, before the first round, which pages need not be sent: those whose digest is the same
// here. Invariant: a page counts as arrived only if the digest of the bytes that are put into the
// sink, or that lie there, is the sender's; so it does not matter where they come from.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "engine/recv/recv_figures.hpp"
#include "memory/digest_key.hpp"
#include "memory/sink/known_pages.hpp"
#include "memory/sink/page_placer.hpp"
#include "transport/page_digests.hpp"

namespace migrate::engine {

// Used by the session's thread.
class ReuseAnswers {
  public:
    // All outlive this object.
    struct Needs {
        std::span<const RegionInfo> regions;
        memory::PartialPages* partial = nullptr;  // null: none
        // Others, in the order in which they are tried; each may be null.
        std::array<const memory::KnownPages*, 2> elsewhere{};
        memory::PagePlacer& placer;
        PublishedRecv& published;
    };
    // Without a key the sender may not ask.
    ReuseAnswers(const Needs& needs, std::optional<memory::DigestKey> key)
        : needs_(needs), key_(std::move(key)) {}

    // True if the sender may ask.
    bool expects_questions() const { return key_.has_value(); }
    // Takes the body of PAGE_DIGESTS, puts the pages that are known into the sink, and returns the
    // body of PAGES_REUSED.
    Result<std::string> answer(std::string_view body);
    // Called before the first round: what is in the sink and was not asked for may be overwritten.
    Status finish() const {
        return needs_.partial != nullptr ? needs_.partial->give_up_rest() : Status();
    }

  private:
    enum class Found { kInPlace, kElsewhere };
    // Sets `reused` for the pages that are known there.
    Status look_up(const transport::PageDigests& asked, const memory::KnownPages& known,
                   Found found, std::vector<std::uint8_t>& reused) const;
    Status take(RegionId region, PageRange pages, std::span<const std::byte> content,
                Found found) const;

    const Needs needs_;
    const std::optional<memory::DigestKey> key_;
    ReuseReport figures_;
};

}  // namespace migrate::engine
