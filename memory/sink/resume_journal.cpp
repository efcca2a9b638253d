// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/resume_journal.hpp"

#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/file_io.hpp"
#include "base/little_endian.hpp"
#include "memory/file_memory.hpp"

namespace migrate::memory {
namespace {

constexpr std::string_view kMagic = "MGRTJRNL";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kSourceAt = 34;
constexpr std::size_t kHeaderSumAt = kJournalHeaderBytes - 8;
static_assert(kSourceAt + kMostSourceBytes <= kHeaderSumAt);

constexpr std::size_t kRecordHeaderBytes = 24;
constexpr std::size_t kRecordSumAt = 16;
constexpr std::size_t kDigestBytes = 16;
constexpr std::size_t kMostRecordBytes = kRecordHeaderBytes + kMostRecordPages * kDigestBytes;

// Returns the checksum of a record, which covers all of it but the checksum itself.
std::uint64_t record_sum(std::span<const std::byte> record, std::uint64_t id,
                         std::uint64_t offset) {
    const std::uint64_t head = XXH3_64bits_withSeed(record.data(), kRecordSumAt, id ^ offset);
    const auto digests = record.subspan(kRecordHeaderBytes);
    return digests.empty() ? head : XXH3_64bits_withSeed(digests.data(), digests.size(), head);
}

Error cannot_write(const std::string& what) {
    return Error::system(fmt::format("write {}", what), errno);
}

Status cut(const UniqueFd& file, std::uint64_t size, const std::string& what) {
    if (::ftruncate(file.get(), static_cast<off_t>(size)) == 0) return {};
    return Error::system(fmt::format("shorten {}", what), errno);
}

}  // namespace

JournalHeaderBytes encode_journal_header(const JournalHeader& header) {
    JournalHeaderBytes bytes{};
    std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
    store_le(&bytes[8], kVersion);
    store_le(&bytes[12], static_cast<std::uint32_t>(kPageSize));
    store_le(&bytes[16], header.size_bytes);
    store_le(&bytes[24], header.id);
    const std::size_t length = std::min(header.source.size(), kMostSourceBytes);
    store_le(&bytes[32], static_cast<std::uint16_t>(length));
    std::memcpy(&bytes[kSourceAt], header.source.data(), length);
    store_le(&bytes[kHeaderSumAt], std::uint64_t{XXH3_64bits(bytes.data(), kHeaderSumAt)});
    return bytes;
}

Result<JournalHeader> decode_journal_header(std::span<const std::byte> bytes) {
    if (bytes.size() < kJournalHeaderBytes ||
        std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
        return Error("it is no journal of a partial image");
    }
    if (const auto version = load_le<std::uint32_t>(&bytes[8]); version != kVersion) {
        return make_error("it has the version {} of the format, and this program knows {}", version,
                          kVersion);
    }
    if (load_le<std::uint64_t>(&bytes[kHeaderSumAt]) != XXH3_64bits(bytes.data(), kHeaderSumAt)) {
        return Error("its header is damaged: the checksum is wrong");
    }
    JournalHeader header{.size_bytes = load_le<std::uint64_t>(&bytes[16]),
                         .id = load_le<std::uint64_t>(&bytes[24])};
    const std::size_t length = load_le<std::uint16_t>(&bytes[32]);
    if (load_le<std::uint32_t>(&bytes[12]) != kPageSize || header.size_bytes == 0 ||
        header.size_bytes % kPageSize != 0 || length > kMostSourceBytes) {
        return make_error("its header is for other pages than those of {} bytes", kPageSize);
    }
    header.source.assign(reinterpret_cast<const char*>(&bytes[kSourceAt]), length);
    return header;
}

std::vector<std::byte> encode_journal_record(const JournalRecord& record, std::uint64_t id,
                                             std::uint64_t offset) {
    std::vector<std::byte> bytes(kRecordHeaderBytes + record.digests.size() * kDigestBytes);
    store_le(bytes.data(), static_cast<std::uint32_t>(record.kind));
    store_le(&bytes[4], static_cast<std::uint32_t>(record.digests.size()));
    // A record of pages that were given up has its number of pages where the digests would be.
    std::byte* to = bytes.data() + kRecordHeaderBytes;
    if (record.kind == JournalRecord::Kind::kGivenUp) {
        bytes.resize(kRecordHeaderBytes + sizeof(std::uint64_t));
        store_le(&bytes[kRecordHeaderBytes], record.pages.count);
    }
    store_le(&bytes[8], record.pages.first);
    for (const Digest& digest : record.digests) {
        store_le(to, digest.low);
        store_le(to + 8, digest.high);
        to += kDigestBytes;
    }
    store_le(&bytes[kRecordSumAt], record_sum(bytes, id, offset));
    return bytes;
}

std::optional<DecodedRecord> decode_journal_record(std::span<const std::byte> bytes,
                                                   std::uint64_t id, std::uint64_t offset,
                                                   std::uint64_t pages) {
    if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
    DecodedRecord decoded;
    JournalRecord& record = decoded.record;
    const auto kind = load_le<std::uint32_t>(bytes.data());
    const std::size_t digests = load_le<std::uint32_t>(&bytes[4]);
    record.pages.first = load_le<std::uint64_t>(&bytes[8]);
    const bool placed = kind == static_cast<std::uint32_t>(JournalRecord::Kind::kPlaced);
    const bool given_up = kind == static_cast<std::uint32_t>(JournalRecord::Kind::kGivenUp);
    if (!placed && !(given_up && digests == 0)) return std::nullopt;
    if (placed && (digests == 0 || digests > kMostRecordPages)) return std::nullopt;
    decoded.bytes = kRecordHeaderBytes + (placed ? digests * kDigestBytes : sizeof(std::uint64_t));
    if (bytes.size() < decoded.bytes) return std::nullopt;
    bytes = bytes.first(decoded.bytes);
    if (load_le<std::uint64_t>(&bytes[kRecordSumAt]) != record_sum(bytes, id, offset)) {
        return std::nullopt;
    }
    record.kind = static_cast<JournalRecord::Kind>(kind);
    const std::byte* from = bytes.data() + kRecordHeaderBytes;
    record.pages.count = placed ? digests : load_le<std::uint64_t>(from);
    if (record.pages.first > pages || record.pages.count > pages - record.pages.first) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < digests; ++i, from += kDigestBytes) {
        record.digests.push_back({load_le<std::uint64_t>(from), load_le<std::uint64_t>(from + 8)});
    }
    return decoded;
}

Result<ResumeJournal> ResumeJournal::start(UniqueFd file, std::string what,
                                           const JournalHeader& header) {
    MIGRATE_TRY(cut(file, 0, what));
    if (!write_at(file.get(), 0, encode_journal_header(header))) return cannot_write(what);
    ResumeJournal journal(std::move(file), std::move(what), header.id, kJournalHeaderBytes);
    MIGRATE_TRY(journal.sync());
    return journal;
}

Result<ResumeJournal> ResumeJournal::open(UniqueFd file, std::string what,
                                          const JournalHeader& header,
                                          const std::function<void(const JournalRecord&)>& visit) {
    const std::uint64_t pages = header.size_bytes / kPageSize;
    std::vector<std::byte> buffer(2 * kMostRecordBytes);
    std::uint64_t end = kJournalHeaderBytes;
    // The buffer has the file's bytes from `end` on: at least a whole record, if there is one.
    bool ended = false;
    for (std::size_t held = 0, used = 0;;) {
        if (!ended && held - used < kMostRecordBytes) {
            std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(used),
                      buffer.begin() + static_cast<std::ptrdiff_t>(held), buffer.begin());
            held -= used;
            used = 0;
            held += read_at(file.get(), end + held, std::span(buffer).subspan(held));
            ended = held < buffer.size();
            if (ended && errno != 0) return Error::system(fmt::format("read {}", what), errno);
        }
        const auto decoded = decode_journal_record(std::span(buffer).subspan(used, held - used),
                                                   header.id, end, pages);
        if (!decoded) break;
        visit(decoded->record);
        used += decoded->bytes;
        end += decoded->bytes;
    }
    MIGRATE_TRY(cut(file, end, what));
    return ResumeJournal(std::move(file), std::move(what), header.id, end);
}

Status ResumeJournal::append(const JournalRecord& record) {
    const std::vector<std::byte> bytes = encode_journal_record(record, id_, end_);
    if (!write_at(file_.get(), end_, bytes)) return cannot_write(what_);
    end_ += bytes.size();
    return {};
}

Status ResumeJournal::sync() const {
    if (is_in_ram(file_.get()) || ::fdatasync(file_.get()) == 0) return {};
    return Error::system(fmt::format("write {} to its disk", what_), errno);
}

}  // namespace migrate::memory
