// SPDX-License-Identifier: Apache-2.0
#include "transport/page_digests.hpp"

#include <algorithm>

#include "base/little_endian.hpp"
#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kDigestBytes = 16;

std::span<const std::byte> bytes_of_text(std::string_view text) {
    return std::as_bytes(std::span(text));
}

std::uint64_t count_of(std::span<const PageRange> pages) {
    std::uint64_t count = 0;
    for (const PageRange& range : pages) count += range.count;
    return count;
}

}  // namespace

bool PageDigestsBuilder::add(RegionId region, std::uint64_t page, const PageDigest& digest) {
    if (digests_.empty()) {
        region_ = region;
        runs_.restart(page);
        pages_.clear();
    }
    if (region != region_ || digests_.size() == kMostDigests) return false;
    if (!runs_.append({{page, 1}, PageKind::kNormal})) return false;
    if (!pages_.empty() && pages_.back().end() == page) {
        ++pages_.back().count;
    } else {
        pages_.push_back({page, 1});
    }
    digests_.push_back(digest);
    return true;
}

std::string PageDigestsBuilder::take() {
    const std::span<const std::byte> runs = runs_.finish();
    std::string body(kHeaderBytes + runs.size() + digests_.size() * kDigestBytes, '\0');
    const std::span<std::byte> bytes = std::as_writable_bytes(std::span(body));
    store_le(&bytes[0], index_of(region_));
    store_le(&bytes[2], static_cast<std::uint16_t>(runs.size()));
    store_le(&bytes[4], static_cast<std::uint32_t>(digests_.size()));
    store_le(&bytes[8], runs_.first_page());
    std::copy(runs.begin(), runs.end(), bytes.begin() + kHeaderBytes);
    std::byte* to = bytes.data() + kHeaderBytes + runs.size();
    for (const PageDigest& digest : digests_) {
        store_le(to, digest.low);
        store_le(to + 8, digest.high);
        to += kDigestBytes;
    }
    digests_.clear();
    return body;
}

Result<PageDigests> decode_page_digests(std::string_view body,
                                        std::span<const RegionInfo> regions) {
    const std::span<const std::byte> bytes = bytes_of_text(body);
    if (bytes.size() < kHeaderBytes) return protocol_error("PAGE_DIGESTS is cut off");
    PageDigests message;
    message.region = RegionId{load_le<std::uint16_t>(&bytes[0])};
    const std::size_t run_bytes = load_le<std::uint16_t>(&bytes[2]);
    const std::size_t count = load_le<std::uint32_t>(&bytes[4]);
    if (index_of(message.region) >= regions.size()) {
        return protocol_error(
            fmt::format("PAGE_DIGESTS is for region {}; the handshake agreed on {} region(s)",
                        index_of(message.region), regions.size()));
    }
    if (count == 0 || count > kMostDigests || run_bytes > kMaxRunBytes ||
        bytes.size() != kHeaderBytes + run_bytes + count * kDigestBytes) {
        return protocol_error(fmt::format(
            "PAGE_DIGESTS has {} bytes, which do not fit {} digests and a run list of {} bytes",
            bytes.size(), count, run_bytes));
    }
    std::vector<PageRun> runs;
    MIGRATE_TRY(decode_run_list(load_le<std::uint64_t>(&bytes[8]),
                                bytes.subspan(kHeaderBytes, run_bytes),
                                regions[index_of(message.region)], runs));
    for (const PageRun& run : runs) {
        if (run.kind != PageKind::kNormal) {
            return protocol_error("PAGE_DIGESTS has pages without content");
        }
        if (!message.pages.empty() && message.pages.back().end() == run.pages.first) {
            message.pages.back().count += run.pages.count;
        } else {
            message.pages.push_back(run.pages);
        }
    }
    // The sum of the counts fits: the pages lie within one region, in ascending order.
    if (const std::uint64_t pages = count_of(message.pages); pages != count) {
        return protocol_error(
            fmt::format("PAGE_DIGESTS names {} pages and has {} digests", pages, count));
    }
    const std::byte* from = bytes.data() + kHeaderBytes + run_bytes;
    message.digests.reserve(count);
    for (std::size_t i = 0; i < count; ++i, from += kDigestBytes) {
        message.digests.push_back({load_le<std::uint64_t>(from), load_le<std::uint64_t>(from + 8)});
    }
    return message;
}

std::string encode_pages_reused(const std::vector<bool>& reused) {
    std::string body((reused.size() + 7) / 8, '\0');
    for (std::size_t i = 0; i < reused.size(); ++i) {
        if (reused[i]) body[i / 8] = static_cast<char>(body[i / 8] | 1 << i % 8);
    }
    return body;
}

Result<std::vector<bool>> decode_pages_reused(std::string_view body, std::size_t asked) {
    const std::size_t expected = (asked + 7) / 8;
    if (body.size() != expected) {
        return protocol_error(fmt::format("PAGES_REUSED has {} bytes; {} pages need {}",
                                          body.size(), asked, expected));
    }
    const auto bit = [body](std::size_t i) {
        return (static_cast<unsigned char>(body[i / 8]) >> i % 8 & 1U) != 0;
    };
    for (std::size_t i = asked; i < 8 * expected; ++i) {
        if (bit(i)) return protocol_error("PAGES_REUSED names pages that nobody asked for");
    }
    std::vector<bool> reused(asked);
    for (std::size_t i = 0; i < asked; ++i) reused[i] = bit(i);
    return reused;
}

}  // namespace migrate::transport
