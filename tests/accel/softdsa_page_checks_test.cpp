// SPDX-License-Identifier: Apache-2.0
// The checks that are executed together, against the same descriptors executed one by one.
#include "accel/softdsa/page_checks.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>

#include "accel/softdsa/guarded_memory.hpp"
#include "softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

constexpr std::size_t kPages = 64;

bool same(const Outcome& one, const Outcome& other) {
    return one.status == other.status && one.result == other.result &&
           one.bytes_completed == other.bytes_completed && one.transferred == other.transferred;
}

// Prepares the access to this process's memory, with copies or in place. The test framework
// replaces the handlers of signals before each run of a case.
bool prepare(bool in_place) {
    if (in_place) guarded::install_handlers();
    return user_memory::probe() == 0 && guarded::is_usable() == in_place;
}

TEST_CASE("page checks that are executed together have the outcomes of single ones") {
    constexpr unsigned kSeed = 17;
    const bool in_place = GENERATE(false, true);
    INFO("seed " << kSeed << ", in place: " << in_place);
    REQUIRE(prepare(in_place));
    std::mt19937 numbers(kSeed);
    const auto random = [&] { return static_cast<std::uint32_t>(numbers()); };
    Mapping pages = map_pages(kPages, MAP_POPULATE);
    const std::uint64_t at = address_of(pages.data());
    for (int turn = 0; turn < 300; ++turn) {
        std::vector<Descriptor> list;
        for (std::size_t i = 0; i < 40; ++i) {
            // Neighbours, strangers, pieces of pages; now and then across two pages.
            const std::uint32_t offset = random() % 2 == 0 ? 0 : random() % 4096;
            const std::uint32_t size = offset == 0 ? 4096 : 1 + random() % (4200 - offset);
            const std::uint64_t page = random() % 3 == 0 ? random() % (kPages - 1) : i;
            Descriptor each = make(Opcode::kCompval, at + page * kPageSize + offset, 0, size);
            if (random() % 3 == 0) each.destination = 0x0101'0101'0101'0101 * (random() % 3);
            list.push_back(each);
        }
        std::byte& changed = pages.data()[random() % (kPages * kPageSize)];
        changed = static_cast<std::byte>(random() % 3);
        PageChecks checks;
        Operator one_by_one;
        const std::span<const Outcome> outcomes = checks.execute(list, {});
        for (std::size_t i = 0; i < outcomes.size(); ++i)
            REQUIRE(same(outcomes[i], one_by_one.execute(list[i])));
        if (!in_place && outcomes.size() < user_memory::kMostPieces) {
            // It stopped at a descriptor that is not within one page.
            const Descriptor& next = list[outcomes.size()];
            CHECK(next.source % kPageSize + next.size > kPageSize);
        }
    }
}

TEST_CASE("page checks stop at a page that is absent, and at any other descriptor") {
    const bool in_place = GENERATE(false, true);
    CAPTURE(in_place);
    REQUIRE(prepare(in_place));
    Mapping pages = map_pages(kPages, MAP_POPULATE);
    const std::uint64_t at = address_of(pages.data());
    std::vector<Descriptor> list;
    for (std::size_t i = 0; i < 20; ++i)
        list.push_back(make(Opcode::kCompval, at + i * kPageSize, 0, kPageSize));
    PageChecks checks;
    CHECK(checks.execute(list, {}).size() == 20);
    REQUIRE(::madvise(pages.data() + 7 * kPageSize, kPageSize, MADV_DONTNEED) == 0);
    CHECK(checks.execute(list, {}).size() == 7);
    CHECK(checks.execute(std::span(list).subspan(7), {}).empty());
    REQUIRE(::mprotect(pages.data() + 5 * kPageSize, kPageSize, PROT_NONE) == 0);
    CHECK(checks.execute(list, {}).size() == 5);
    for (const std::uint32_t flag :
         {dsa::kFlagFence, dsa::kFlagBlockOnFault, dsa::kFlagCheckResult, 0x10'0000U}) {
        list[2] = make(Opcode::kCompval, at, 0, kPageSize, flag);
        CHECK(checks.execute(list, {}).size() == 2);
    }
    list[1] = make(Opcode::kCompare, at, at, kPageSize);
    CHECK(checks.execute(list, {}).size() == 1);
}

// Forked, because the test framework ends the process at such a signal.
TEST_CASE("a fault that no guarded read raised still ends the process") {
    for (const int signal : {SIGSEGV, SIGBUS}) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::signal(SIGSEGV, SIG_DFL);
            ::signal(SIGBUS, SIG_DFL);
            guarded::install_handlers();
            ::raise(signal);
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == signal);
    }
}

TEST_CASE("records that lie side by side are written together, up to one that cannot be") {
    REQUIRE(user_memory::probe() == 0);
    Mapping memory = map_pages(2, MAP_POPULATE);
    const auto record_at = [&](std::size_t index) {
        return address_of(memory.data() + kPageSize - 4 * 32 + index * 32);
    };
    std::vector<CompletionWrite> records(10);
    for (std::size_t i = 0; i < records.size(); ++i) {
        records[i].address = record_at(i);
        records[i].record.fill(static_cast<std::byte>(i + 1));
    }
    const auto written = [&](std::size_t index) {
        return memory.data()[kPageSize - 4 * 32 + index * 32] == static_cast<std::byte>(index + 1);
    };
    CHECK(user_memory::write_records(records) == 10);
    for (std::size_t i = 0; i < 10; ++i) CHECK(written(i));
    std::fill_n(memory.data(), 2 * kPageSize, std::byte{0});
    REQUIRE(::mprotect(memory.data() + kPageSize, kPageSize, PROT_READ) == 0);
    // One at a time then: the first four are on the page that can be written.
    std::span<const CompletionWrite> rest = records;
    for (std::size_t i = 0; i < 4; ++i, rest = rest.subspan(1)) {
        CHECK(user_memory::write_records(rest) == 1);
        CHECK(written(i));
    }
    CHECK(user_memory::write_records(rest) == 0);
    // A gap between two records.
    records[1].address = record_at(2);
    CHECK(user_memory::write_records(records) == 1);
}

TEST_CASE("records are written in place, up to one that cannot be") {
    REQUIRE(prepare(true));
    Mapping memory = map_pages(3, MAP_POPULATE);
    REQUIRE(::mprotect(memory.data() + kPageSize, kPageSize, PROT_READ) == 0);
    REQUIRE(::madvise(memory.data(), kPageSize, MADV_DONTNEED) == 0);  // is brought in
    std::vector<CompletionWrite> records(4);
    for (std::size_t i = 0; i < records.size(); ++i) {
        records[i].address = address_of(memory.data() + i * 64);
        records[i].record.fill(static_cast<std::byte>(i + 1));
    }
    records[3].address = address_of(memory.data() + 2 * kPageSize);
    CHECK(user_memory::write_records(records) == 4);
    for (std::size_t i = 0; i < records.size(); ++i) {
        const auto* const at = reinterpret_cast<const std::byte*>(records[i].address);
        CHECK(std::equal(records[i].record.begin(), records[i].record.end(), at));
    }
    records[2].address = address_of(memory.data() + kPageSize);
    CHECK(user_memory::write_records(records) == 2);
    CHECK(user_memory::write_records(std::span(records).subspan(2)) == 0);
    CHECK_FALSE(user_memory::write_record(records[2].address, records[2].record));
    CHECK(memory.data()[kPageSize] == std::byte{0});
}

TEST_CASE("words are read up to a page that cannot be read") {
    const bool in_place = GENERATE(false, true);
    CAPTURE(in_place);
    REQUIRE(prepare(in_place));
    Mapping memory = map_pages(2, MAP_POPULATE);
    fill_random(memory.data(), 2 * kPageSize, 5);
    constexpr std::size_t kBefore = 24;  // words before the second page
    const std::byte* const from = memory.data() + kPageSize - kBefore * 8;
    std::vector<std::uint64_t> words(64);
    CHECK(user_memory::read_words(address_of(from), words.data(), words.size()) == words.size());
    CHECK(std::memcmp(words.data(), from, words.size() * 8) == 0);
    REQUIRE(::mprotect(memory.data() + kPageSize, kPageSize, PROT_NONE) == 0);
    CHECK(user_memory::read_words(address_of(from), words.data(), words.size()) == kBefore);
}

}  // namespace
}  // namespace migrate::accel::softdsa
