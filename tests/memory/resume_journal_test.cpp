// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/resume_journal.hpp"

#include <fcntl.h>

#include <random>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/seed.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

using Catch::Matchers::Contains;
using Kind = JournalRecord::Kind;

constexpr std::uint64_t kPages = 1000;
const JournalHeader kHeader{.size_bytes = kPages * kPageSize, .id = 42, .source = "host a"};

std::vector<Digest> digests_from(std::uint64_t page, std::uint64_t count) {
    std::vector<Digest> digests;
    for (std::uint64_t i = page; i < page + count; ++i) digests.push_back({i + 1, ~i});
    return digests;
}

JournalRecord placed(PageRange pages) {
    return {Kind::kPlaced, pages, digests_from(pages.first, pages.count)};
}

UniqueFd open(const std::string& path) {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(file);
    return file;
}

// The pages of the records that a journal of this content has.
std::vector<PageRange> records_in(const std::string& path) {
    std::vector<PageRange> pages;
    must(ResumeJournal::open(open(path), path, kHeader,
                             [&](const JournalRecord& record) { pages.push_back(record.pages); }));
    return pages;
}

// A journal with three records; returns the offsets of their ends.
std::vector<std::size_t> write_journal(const std::string& path) {
    ResumeJournal journal = must(ResumeJournal::start(open(path), path, kHeader));
    std::vector<std::size_t> ends;
    const auto append = [&](const JournalRecord& record) {
        must(journal.append(record));
        ends.push_back(read_file(path).size());
    };
    append(placed({10, 3}));
    append({Kind::kGivenUp, {11, 1}});
    append(placed({500, 20}));
    must(journal.sync());
    return ends;
}

TEST_CASE("a header says which image the journal belongs to, and every wrong byte is noticed") {
    const JournalHeaderBytes bytes = encode_journal_header(kHeader);
    const JournalHeader header = must(decode_journal_header(bytes));
    CHECK(header.size_bytes == kHeader.size_bytes);
    CHECK(header.id == 42);
    CHECK(header.source == "host a");
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        JournalHeaderBytes damaged = bytes;
        damaged[i] ^= std::byte{0x40};
        CHECK_FALSE(decode_journal_header(damaged));
        CHECK_FALSE(decode_journal_header(std::span(bytes).first(i)));
    }
    JournalHeaderBytes newer = bytes;
    newer[8] = std::byte{2};
    CHECK_THAT(message_of(decode_journal_header(newer)), Contains("version 2 of the format"));
    CHECK(must(decode_journal_header(encode_journal_header(
                   {.size_bytes = kPageSize, .source = std::string(1000, 's')})))
              .source.size() == kMostSourceBytes);
}

TEST_CASE("a journal is read as it was written, and goes on from there") {
    const TemporaryFolder folder;
    const std::string path = folder / "journal";
    write_journal(path);
    std::vector<JournalRecord> records;
    ResumeJournal journal =
        must(ResumeJournal::open(open(path), path, kHeader,
                                 [&](const JournalRecord& record) { records.push_back(record); }));
    REQUIRE(records.size() == 3);
    CHECK(records[0].digests == digests_from(10, 3));
    CHECK(records[1].kind == Kind::kGivenUp);
    CHECK(records[1].pages == PageRange{11, 1});
    must(journal.append(placed({0, 1})));
    CHECK(records_in(path) == std::vector<PageRange>{{10, 3}, {11, 1}, {500, 20}, {0, 1}});
}

TEST_CASE("a journal that is cut off at any byte has its whole records, and loses the rest") {
    const TemporaryFolder folder;
    const std::string path = folder / "journal";
    const std::vector<std::size_t> ends = write_journal(path);
    const std::string whole = read_file(path);
    const std::vector<PageRange> all{{10, 3}, {11, 1}, {500, 20}};
    for (std::size_t length = kJournalHeaderBytes; length <= whole.size(); ++length) {
        write_file(path, whole.substr(0, length));
        const auto count = std::count_if(ends.begin(), ends.end(),
                                         [length](std::size_t end) { return end <= length; });
        CHECK(records_in(path) == std::vector<PageRange>(all.begin(), all.begin() + count));
        // The part of a record is removed, so that the next record does not follow it.
        CHECK(read_file(path).size() ==
              (count == 0 ? kJournalHeaderBytes : ends[static_cast<std::size_t>(count) - 1]));
    }
}

TEST_CASE("a damaged record and all behind it do not count, wherever the damage is") {
    const TemporaryFolder folder;
    const std::string path = folder / "journal";
    const std::vector<std::size_t> ends = write_journal(path);
    const std::string whole = read_file(path);
    for (std::size_t at = kJournalHeaderBytes; at < whole.size(); ++at) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
        write_file(path, damaged);
        const auto before =
            std::count_if(ends.begin(), ends.end(), [at](std::size_t end) { return end <= at; });
        CHECK(records_in(path).size() == static_cast<std::size_t>(before));
    }
}

TEST_CASE("a record counts only at its place, and only in its journal") {
    const std::vector<std::byte> bytes = encode_journal_record(placed({1, 2}), 42, 512);
    CHECK(decode_journal_record(bytes, 42, 512, kPages));
    CHECK_FALSE(decode_journal_record(bytes, 42, 513, kPages));
    CHECK_FALSE(decode_journal_record(bytes, 43, 512, kPages));
    CHECK_FALSE(decode_journal_record(bytes, 42, 512, 2));
    // A record of far more pages than there are, whose number overflows.
    const std::vector<std::byte> huge =
        encode_journal_record({Kind::kGivenUp, {5, UINT64_MAX - 2}}, 42, 512);
    CHECK_FALSE(decode_journal_record(huge, 42, 512, kPages));
}

TEST_CASE("a journal of many records is read whole") {
    const TemporaryFolder folder;
    const std::string path = folder / "journal";
    std::mt19937 random(test_seed());
    std::vector<PageRange> written;
    {
        const JournalHeader header{.size_bytes = 200'000 * kPageSize, .id = 7};
        ResumeJournal journal = must(ResumeJournal::start(open(path), path, header));
        for (int i = 0; i < 300; ++i) {
            const std::uint64_t count = 1 + random() % (i % 50 == 0 ? kMostRecordPages : 40);
            const PageRange pages{random() % 100'000, count};
            must(journal.append(placed(pages)));
            written.push_back(pages);
        }
        std::vector<PageRange> read;
        must(ResumeJournal::open(open(path), path, header, [&](const JournalRecord& record) {
            CHECK(record.digests == digests_from(record.pages.first, record.pages.count));
            read.push_back(record.pages);
        }));
        CHECK(read == written);
    }
}

}  // namespace
}  // namespace migrate::memory
