// SPDX-License-Identifier: Apache-2.0
// The journal of a partial image: which of its pages are on the disk, and their digests. It is a
// header, then records that are only appended; docs/resume.md has the format. Invariant: what a
// journal says is bound to it and to its place in it, so a record that was written in part, or that
// is left from an earlier journal, ends it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/digest.hpp"

namespace migrate::memory {

// The image that a journal belongs to.
struct JournalHeader {
    std::uint64_t size_bytes = 0;
    std::uint64_t id = 0;  // at random
    std::string source{};  // for people; at most kMostSourceBytes
};
inline constexpr std::size_t kMostSourceBytes = 255;
inline constexpr std::size_t kJournalHeaderBytes = 512;
using JournalHeaderBytes = std::array<std::byte, kJournalHeaderBytes>;

JournalHeaderBytes encode_journal_header(const JournalHeader& header);
// An Error says why this is no header of a journal that this program reads.
Result<JournalHeader> decode_journal_header(std::span<const std::byte> bytes);

struct JournalRecord {
    enum class Kind : std::uint32_t {
        kPlaced = 1,   // the pages are on the disk with these digests (digest_content() of each)
        kGivenUp = 2,  // earlier records do not hold for these pages any more
    };
    Kind kind = Kind::kPlaced;
    PageRange pages;
    std::vector<Digest> digests{};  // of kPlaced: one for each page
};
// The most pages of a record with digests.
inline constexpr std::uint64_t kMostRecordPages = 16384;

// `offset` is the record's place in the file.
std::vector<std::byte> encode_journal_record(const JournalRecord& record, std::uint64_t id,
                                             std::uint64_t offset);
struct DecodedRecord {
    JournalRecord record;
    std::size_t bytes = 0;  // its length
};
// Reads the record at the beginning of `bytes`, which may hold more. Nothing if there is no whole
// record, or if it names pages beyond `pages`.
std::optional<DecodedRecord> decode_journal_record(std::span<const std::byte> bytes,
                                                   std::uint64_t id, std::uint64_t offset,
                                                   std::uint64_t pages);

// The file. Used by one thread at a time.
class ResumeJournal {
  public:
    // Begins a new journal in `file`, whatever that holds, and waits until it is on the disk.
    static Result<ResumeJournal> start(UniqueFd file, std::string what,
                                       const JournalHeader& header);
    // Continues the journal in `file`, and passes its records to `visit`. A part at the end that is
    // no record is dropped.
    static Result<ResumeJournal> open(UniqueFd file, std::string what, const JournalHeader& header,
                                      const std::function<void(const JournalRecord&)>& visit);

    Status append(const JournalRecord& record);
    // Waits until all records are on the disk.
    Status sync() const;

  private:
    ResumeJournal(UniqueFd file, std::string what, std::uint64_t id, std::uint64_t end)
        : file_(std::move(file)), what_(std::move(what)), id_(id), end_(end) {}

    UniqueFd file_;
    std::string what_;  // for messages
    std::uint64_t id_ = 0;
    std::uint64_t end_ = 0;  // where the next record goes
};

}  // namespace migrate::memory
