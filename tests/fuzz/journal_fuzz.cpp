// SPDX-License-Identifier: Apache-2.0
// Drives what reads the journal of a partial image, and the digests that ask for pages: once as
// they are, and the journal's record once more with the checksum that belongs to its content, so
// that the checks behind it are reached.
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "memory/sink/resume_journal.hpp"
#include "transport/page_digests.hpp"

namespace {

using namespace migrate;

constexpr std::uint64_t kPages = 1000;

void require(bool condition) {
    if (!condition) std::abort();
}

void check_record(std::span<const std::byte> bytes) {
    const auto decoded = memory::decode_journal_record(bytes, 1, 2, kPages);
    if (!decoded) return;
    require(decoded->bytes <= bytes.size());
    const memory::JournalRecord& record = decoded->record;
    require(record.pages.first <= kPages && record.pages.count <= kPages - record.pages.first);
    const bool placed = record.kind == memory::JournalRecord::Kind::kPlaced;
    require(record.digests.size() == (placed ? record.pages.count : 0));
    const auto again = memory::encode_journal_record(record, 1, 2);
    require(again.size() == decoded->bytes);
}

// Makes a record of the input's bytes, with a right checksum.
void check_made_record(std::span<const std::byte> bytes) {
    if (bytes.size() < 24) return;
    memory::JournalRecord record;
    std::memcpy(&record.pages.first, bytes.data(), 8);
    std::memcpy(&record.pages.count, bytes.data() + 8, 8);
    if ((bytes[16] & std::byte{1}) != std::byte{}) {
        record.kind = memory::JournalRecord::Kind::kGivenUp;
    } else {
        record.pages.count = bytes.size() / 16;
        record.digests.resize(record.pages.count);
    }
    check_record(memory::encode_journal_record(record, 1, 2));
}

void check_header(std::span<const std::byte> bytes) {
    const auto header = memory::decode_journal_header(bytes);
    if (!header) return;
    require(header->size_bytes != 0 && header->size_bytes % kPageSize == 0);
    require(header->source.size() <= memory::kMostSourceBytes);
    require(
        static_cast<bool>(memory::decode_journal_header(memory::encode_journal_header(*header))));
}

void check_digests(std::string_view body) {
    const std::vector<RegionInfo> regions{{"ram", kPages * kPageSize}, {"vga", 8 * kPageSize}};
    if (const auto message = transport::decode_page_digests(body, regions)) {
        std::uint64_t pages = 0;
        std::uint64_t next = 0;
        for (const PageRange& range : message->pages) {
            require(range.first >= next && range.count != 0);
            next = range.end();
            pages += range.count;
        }
        require(next <= regions[index_of(message->region)].pages());
        require(pages == message->digests.size() && pages <= transport::kMostDigests);
    }
    const std::size_t asked = body.empty() ? 1 : static_cast<unsigned char>(body[0]);
    if (const auto reused = transport::decode_pages_reused(body, asked)) {
        require(reused->size() == asked && transport::encode_pages_reused(*reused) == body);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    check_header(bytes);
    check_record(bytes);
    check_made_record(bytes);
    check_digests({reinterpret_cast<const char*>(data), size});
    return 0;
}
