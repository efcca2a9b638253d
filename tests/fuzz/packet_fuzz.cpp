// SPDX-License-Identifier: Apache-2.0
// Drives the packet decoder. The input is: 4 bytes that choose limits, regions and whether the
// checksum is put right, then a packet's header, then its run list.
#include <xxhash.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/little_endian.hpp"
#include "transport/wire.hpp"

namespace {

using namespace migrate;
using namespace migrate::transport;

constexpr std::size_t kPrefixSize = 4;
constexpr std::size_t kChecksumAt = 36;

void require(bool condition) {
    if (!condition) std::abort();
}

struct Agreed {
    PacketLimits limits;
    std::vector<RegionInfo> regions;
    bool put_right = false;
};

Agreed agreed_from(std::span<const std::byte> prefix) {
    const auto at = [&](std::size_t i) { return std::to_integer<std::uint64_t>(prefix[i]); };
    Agreed agreed;
    agreed.put_right = (at(0) & 1) != 0;
    agreed.limits.compression = static_cast<Compression>((at(0) >> 1) % 3);
    agreed.limits.packet_bytes = (1 + at(1) * 4) * kPageSize;
    const std::uint64_t pages = (std::uint64_t{1} << at(2) % 40) + at(3);
    for (std::uint64_t i = 0; i < 1 + at(0) / 64; ++i)
        agreed.regions.push_back({"ram", (pages + i) * kPageSize});
    agreed.limits.regions = agreed.regions;
    return agreed;
}

// Checks the promises of decode_packet_header() and decode_runs().
void check_packet(const PacketHeader& header, const std::vector<PageRun>& runs,
                  const Agreed& agreed) {
    std::uint64_t next = header.first_page;
    std::uint64_t normal = 0;
    for (const PageRun& run : runs) {
        require(run.pages.count != 0);
        require(run.pages.first >= next);
        const std::uint64_t pages = agreed.regions.at(index_of(header.region)).pages();
        require(run.pages.first < pages && run.pages.count <= pages - run.pages.first);
        require(run.kind <= PageKind::kUnpopulated);
        if (run.kind == PageKind::kNormal) normal += run.pages.count;
        next = run.pages.end();
    }
    require(normal == header.normal_pages);
    require(normal * kPageSize <= agreed.limits.packet_bytes);
    require(header.payload_bytes <= normal * kPageSize);
    require(header.kind != PacketKind::kSync || runs.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    if (size < kPrefixSize + kPacketHeaderSize) return 0;
    Agreed agreed = agreed_from(input.first(kPrefixSize));
    PacketHeaderBytes bytes{};
    std::memcpy(bytes.data(), input.data() + kPrefixSize, bytes.size());
    const auto rest = input.subspan(kPrefixSize + kPacketHeaderSize);

    auto header = decode_packet_header(bytes, agreed.limits);
    if (!header) return 0;
    require(header->run_bytes <= kMaxRunBytes);
    if (header->run_bytes > rest.size()) return 0;  // the reader waits for more
    // A copy, so that reading beyond the list is noticed.
    const std::vector<std::byte> list(rest.begin(), rest.begin() + header->run_bytes);
    if (agreed.put_right) {
        std::uint32_t sum = XXH32(bytes.data(), kChecksumAt, 0);
        if (!list.empty()) sum = XXH32(list.data(), list.size(), sum);
        store_le(&bytes[kChecksumAt], sum);
    }
    std::vector<PageRun> runs;
    if (decode_runs(bytes, *header, list, agreed.limits, runs)) check_packet(*header, runs, agreed);
    return 0;
}
