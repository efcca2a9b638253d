// SPDX-License-Identifier: Apache-2.0
#include "transport/arrived_pages.hpp"

#include <algorithm>

#include "transport/protocol_error.hpp"

namespace migrate::transport {

std::string ArrivedEncoder::add(RegionId region, PageRange pages) {
    std::string full;
    pages_ += pages.count;
    const PageRun run{pages, PageKind::kZero};
    if (!runs_.empty() && (region != region_ || !runs_.append(run))) {
        full = finish();
    } else if (!runs_.empty()) {
        return full;
    }
    region_ = region;
    runs_.restart(pages.first);
    // An empty list has room for a run.
    static_cast<void>(runs_.append(run));
    return full;
}

std::string ArrivedEncoder::finish() {
    if (runs_.empty()) return {};
    const std::uint64_t first = runs_.first_page();
    const std::span<const std::byte> runs = runs_.finish();
    const PacketHeaderBytes header = encode_packet_header({.kind = PacketKind::kPages,
                                                           .region = region_,
                                                           .round = round_,
                                                           .sequence = sequence_++,
                                                           .first_page = first},
                                                          runs);
    std::string body(reinterpret_cast<const char*>(header.data()), header.size());
    body.append(reinterpret_cast<const char*>(runs.data()), runs.size());
    runs_.restart(0);
    return body;
}

Result<ArrivedPages> decode_arrived(std::string_view body, std::span<const RegionInfo> regions) {
    if (body.size() < kPacketHeaderSize) return protocol_error("ROUND_ARRIVED is cut off");
    const auto bytes = std::as_bytes(std::span(body));
    const auto head = bytes.first<kPacketHeaderSize>();
    const PacketLimits limits{.packet_bytes = kMaxPacketBytes, .regions = regions};
    MIGRATE_ASSIGN(const PacketHeader header, decode_packet_header(head, limits));
    const auto following = bytes.subspan(kPacketHeaderSize);
    if (header.kind != PacketKind::kPages || following.size() != header.run_bytes) {
        return protocol_error("ROUND_ARRIVED has no run list of its length");
    }
    std::vector<PageRun> runs;
    MIGRATE_TRY(decode_runs(head, header, following, limits, runs));
    ArrivedPages arrived{.region = header.region, .round = header.round, .pages = {}};
    for (const PageRun& run : runs) {
        if (run.kind != PageKind::kZero) return protocol_error("ROUND_ARRIVED has other runs");
        arrived.pages.push_back(run.pages);
    }
    return arrived;
}

}  // namespace migrate::transport
