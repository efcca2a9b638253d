// SPDX-License-Identifier: Apache-2.0
// Drives what reads a stranger's first bytes: the hello, control frames and every message in them.
// The input's first byte chooses which; frames are fed in pieces of a size it chooses too.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "transport/arrived_pages.hpp"
#include "transport/control_frame.hpp"
#include "transport/handshake.hpp"
#include "transport/wire.hpp"

namespace {

using namespace migrate;
using namespace migrate::transport;

// Far below what would overflow where times are added up.
constexpr std::uint64_t kLongestUs = std::uint64_t{1} << 42U;

void require(bool condition) {
    if (!condition) std::abort();
}

void check_offer(const Offer& offer) {
    require(!offer.regions.empty() && offer.regions.size() <= kMaxRegions);
    for (const RegionInfo& region : offer.regions) {
        require(!region.name.empty() && region.name.size() <= 255);
        require(region.size_bytes != 0 && region.size_bytes % kPageSize == 0);
    }
    require(offer.settings.channels() >= 1 && offer.settings.channels() <= kMaxChannels);
    require(offer.settings.packet_bytes() >= kMinPacketBytes &&
            offer.settings.packet_bytes() <= kMaxPacketBytes);
    require(offer.settings.packet_bytes() % kPageSize == 0);
    require(static_cast<bool>(decode_offer(encode(offer))));
}

void decode_all(std::string_view body) {
    if (const auto offer = decode_offer(body)) check_offer(*offer);
    if (const auto accept = decode_accept(body))
        require(decode_accept(encode(*accept))->session == accept->session);
    if (const auto mark = decode_round_mark(body)) {
        require(mark->round >= 1);
        const auto again = decode_round_mark(encode(*mark));
        require(again && again->round == mark->round && again->pages == mark->pages);
    }
    if (const auto time = decode_load_time(body)) {
        require(time->microseconds <= kLongestUs);
        require(decode_load_time(encode(*time))->microseconds == time->microseconds);
    }
    if (const auto pause = decode_pause_time(body)) {
        require(pause->microseconds.value_or(0) <= kLongestUs);
        require(decode_pause_time(encode(*pause))->microseconds == pause->microseconds);
    }
    if (const auto ready = decode_ready(body)) {
        require(ready->prepared_us <= kLongestUs);
        require(decode_ready(encode(*ready))->prepared_us == ready->prepared_us);
    }
    if (const auto done = decode_done(body)) {
        require(done->resume_us <= kLongestUs && done->downtime_us <= kLongestUs);
        const auto again = decode_done(encode(*done));
        require(again && again->pages == done->pages && again->downtime_us == done->downtime_us);
    }
    if (const auto count = decode_channel_count(body)) {
        require(count->channels >= 1 && count->channels <= kMaxChannelIds);
        require(decode_channel_count(encode(*count))->lost == count->lost);
    }
    if (const auto broken = decode_round_break(body)) {
        require(!broken->lost.empty() && broken->lost.size() <= kMaxChannelIds);
        for (const LostChannel& lost : broken->lost) require(lost.channel < kMaxChannelIds);
        require(decode_round_break(encode(*broken))->lost.size() == broken->lost.size());
    }
    if (const auto resume = decode_resume(body)) {
        require(decode_resume(encode(*resume))->sizes == resume->sizes);
    }
    if (const auto resumed = decode_resumed(body)) {
        require(resumed->channels >= 1 && resumed->channels <= kMaxChannelIds);
        require(resumed->complete || resumed->round != 0);
        require(decode_resumed(encode(*resumed))->channels == resumed->channels);
    }
    const std::vector<RegionInfo> regions{{"ram", 4096 * kPageSize}, {"video", kPageSize}};
    if (const auto arrived = decode_arrived(body, regions)) {
        for (const PageRange& pages : arrived->pages) {
            require(pages.count != 0 && pages.end() <= regions[index_of(arrived->region)].pages());
        }
    }
    if (const auto completion = decode_completion(body))
        require(completion->digests.size() <= kMaxRegions);
    const Failure failure = decode_failure(body);
    require(!failure.reason.empty() && failure.reason.size() <= 1024);
    for (const char c : failure.reason) require(c >= 0x20 && c < 0x7F);
    const Failure again = decode_failure(encode(failure));
    require(again.reason == failure.reason && again.cancelled == failure.cancelled);
    require(again.guest_runs == failure.guest_runs);
}

void feed_frames(std::span<const std::byte> stream, std::size_t piece) {
    FrameParser parser;
    while (!stream.empty()) {
        const std::size_t size = std::min(piece, stream.size());
        parser.feed(stream.first(size));
        stream = stream.subspan(size);
        while (true) {
            const auto frame = parser.next();
            if (!frame) return;
            if (!*frame) break;
            require((*frame)->body.size() <= kMaxFrameBody);
            require(name_of((*frame)->type) != "?");
            decode_all((*frame)->body);
        }
    }
}

void read_hello(std::span<const std::byte> bytes) {
    if (bytes.size() < kHelloSize) return;
    const auto hello = decode_hello(bytes.first<kHelloSize>());
    if (!hello || hello->version != kProtocolVersion) return;
    require(hello->role <= ConnectionRole::kResume);
    const auto again = decode_hello(encode_hello(*hello));
    require(again && again->session == hello->session && again->channel == hello->channel);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto input = std::as_bytes(std::span(data, size));
    const auto rest = input.subspan(1);
    switch (data[0] % 3) {
        case 0:
            decode_all({reinterpret_cast<const char*>(rest.data()), rest.size()});
            break;
        case 1:
            feed_frames(rest, 1 + data[0]);
            break;
        default:
            read_hello(rest);
            break;
    }
    return 0;
}
