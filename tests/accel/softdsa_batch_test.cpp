// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

TEST_CASE("a batch does all its descriptors and reports how many") {
    auto device = started({});
    std::vector<std::byte> pages(32 * kPageSize);
    for (std::size_t i = 0; i < 32; i += 3) pages[i * kPageSize + i] = std::byte{1};
    Batch batch(32);
    for (std::size_t i = 0; i < 32; ++i)
        batch.set(i, make(Opcode::kCompval, address_of(pages.data() + i * kPageSize), 0, 4096));
    CompletionRecord record;
    CHECK(run(*device, batch.descriptor(), record) == 1);
    CHECK(record.bytes_completed == 32);
    CHECK(record.result == 0);
    for (std::size_t i = 0; i < 32; ++i) {
        CHECK(batch.records[i].status == 1);
        CHECK(batch.records[i].result == (i % 3 == 0 ? 1 : 0));
        if (i % 3 == 0) CHECK(batch.records[i].bytes_completed == i);
    }
    CHECK(device->counters(0).work == 32);
    CHECK(device->counters(0).batches == 1);
}

TEST_CASE("a batch with a failed descriptor does the others and has status 5 and result 1") {
    auto device = started({});
    std::vector<std::byte> data(64);
    Batch batch(4);
    for (std::size_t i = 0; i < 4; ++i)
        batch.set(i, make(Opcode::kCompval, address_of(data.data()), 0, i == 1 ? 0 : 64));
    CompletionRecord record;
    CHECK(run(*device, batch.descriptor(), record) == 5);
    CHECK(record.result == 1);
    CHECK(record.bytes_completed == 4);
    CHECK(batch.records[1].status == code(CompletionStatus::kTransferSize));
    for (const std::size_t i : {0U, 2U, 3U}) CHECK(batch.records[i].status == 1);
}

TEST_CASE("a batch within a batch and a drain within one are unknown opcodes") {
    auto device = started({});
    Batch batch(2);
    batch.set(0, make(Opcode::kBatch, address_of(batch.children.data()), 0, 2));
    batch.set(1, make(Opcode::kDrain, 0, 0, 0));
    CompletionRecord record;
    CHECK(run(*device, batch.descriptor(), record) == 5);
    CHECK(batch.records[0].status == code(CompletionStatus::kBadOpcode));
    CHECK(batch.records[1].status == code(CompletionStatus::kBadOpcode));
}

TEST_CASE("a fence behind a failed descriptor ends the batch there") {
    auto device = started({});
    std::vector<std::byte> data(64);
    Batch batch(5);
    const std::uint64_t at = address_of(data.data());
    batch.set(0, make(Opcode::kFill, 7, at, 8));
    batch.set(1, make(Opcode::kFill, 7, at, 0));
    batch.set(2, make(Opcode::kFill, 7, at + 8, 8));
    batch.set(3, make(Opcode::kFill, 7, at + 16, 8, dsa::kFlagFence));
    batch.set(4, make(Opcode::kFill, 7, at + 24, 8));
    CompletionRecord record;
    CHECK(run(*device, batch.descriptor(), record) == 5);
    CHECK(record.bytes_completed == 3);
    CHECK(data[8] == std::byte{7});
    CHECK(data[16] == std::byte{0});
    CHECK(batch.records[3].status == 0);
    CHECK(batch.records[4].status == 0);
}

TEST_CASE("a check result that does not come true ends a batch at the next fence") {
    auto device = started({});
    std::vector<std::byte> data(64);
    Batch batch(2);
    const std::uint64_t at = address_of(data.data());
    Descriptor test = make(Opcode::kCompval, at, 0, 8, dsa::kFlagCheckResult);
    test.specific[0] = 1;
    batch.set(0, test);
    batch.set(1, make(Opcode::kFill, 7, at, 8, dsa::kFlagFence));
    CompletionRecord record;
    CHECK(run(*device, batch.descriptor(), record) == 5);
    CHECK(batch.records[0].status == 2);
    CHECK(data[0] == std::byte{0});
}

TEST_CASE("children in random order keep to the fences") {
    DeviceConfig config = with_faults("seed=3,reorder");
    config.queues[0].max_batch = 64;
    auto device = started(config);
    std::vector<std::uint64_t> words(64);
    bool reordered = false;
    for (int round = 0; round < 50; ++round) {
        // Every second half overwrites what the first wrote; within a half all write to one word.
        Batch batch(64);
        for (std::size_t i = 0; i < 64; ++i) {
            const std::size_t word = i < 32 ? i : 32;
            batch.set(i, make(Opcode::kFill, i, address_of(&words[word]), 8,
                              i == 32 || i == 63 ? dsa::kFlagFence : 0));
        }
        batch.children[32].source = 1000;
        batch.children[32].destination = address_of(words.data());
        CompletionRecord record;
        REQUIRE(run(*device, batch.descriptor(), record) == 1);
        CHECK(words[0] == 1000);
        CHECK(words[32] == 63);
        std::vector<std::uint64_t> order(16);
        Batch racing(17);
        for (std::size_t i = 0; i < 16; ++i)
            racing.set(i, make(Opcode::kFill, i, address_of(&words[5]), 8));
        racing.set(16, make(Opcode::kMemmove, address_of(&words[5]), address_of(&words[6]), 8,
                            dsa::kFlagFence));
        REQUIRE(run(*device, racing.descriptor(), record) == 1);
        reordered = reordered || words[6] != 15;
    }
    CHECK(reordered);
}

TEST_CASE("a list that cannot be read from descriptor i on is status 6, and the rest untouched") {
    auto device = started({});
    Mapping pages = map_pages(2);
    auto* list = reinterpret_cast<Descriptor*>(pages.data() + kPageSize - 3 * sizeof(Descriptor));
    std::vector<CompletionRecord> records(6);
    for (std::size_t i = 0; i < 6; ++i) {
        list[i] = make(Opcode::kNoop, 0, 0, 0);
        list[i].completion_address = address_of(&records[i]);
    }
    REQUIRE(::mprotect(pages.data() + kPageSize, kPageSize, PROT_NONE) == 0);
    CompletionRecord record;
    CHECK(run(*device, make(Opcode::kBatch, address_of(list), 0, 6), record) == 6);
    CHECK(record.bytes_completed == 3);
    CHECK(record.fault_address == address_of(pages.data()) + kPageSize);
    for (std::size_t i = 0; i < 6; ++i) CHECK(records[i].status == (i < 3 ? 1 : 0));
}

TEST_CASE("a list page and a record page that were dropped are brought back") {
    auto device = started({});
    Mapping list = map_pages(1);
    Mapping records = map_pages(1);
    REQUIRE(::madvise(records.data(), kPageSize, MADV_DONTNEED) == 0);
    REQUIRE(::madvise(list.data(), kPageSize, MADV_DONTNEED) == 0);
    // An empty list: two no-ops that ask for no record.
    Descriptor batch = make(Opcode::kBatch, address_of(list.data()), 0, 2);
    batch.completion_address = address_of(records.data());
    REQUIRE(device->enqcmd(0, batch));
    CompletionRecord drained;
    CHECK(run(*device, make(Opcode::kDrain, 0, 0, 0), drained) == 1);
    CHECK(std::to_integer<int>(records.data()[0]) == 1);
}

TEST_CASE("a child's record that cannot be written is missing and fails nothing else") {
    auto device = started({});
    Mapping page = map_pages(1);
    REQUIRE(::mprotect(page.data(), kPageSize, PROT_READ) == 0);
    Batch batch(2);
    batch.set(0, make(Opcode::kNoop, 0, 0, 0));
    batch.set(1, make(Opcode::kNoop, 0, 0, 0));
    batch.children[0].completion_address = address_of(page.data());
    CompletionRecord record;
    CHECK(run(*device, batch.descriptor(), record) == 5);
    CHECK(record.bytes_completed == 2);
    CHECK(batch.records[1].status == 1);
    CHECK(device->counters(0).unwritten == 1);
}

}  // namespace
}  // namespace migrate::accel::softdsa
