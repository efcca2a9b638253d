// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

const std::vector<std::byte>& zeros() {
    static const std::vector<std::byte> page(4096);
    return page;
}

Descriptor check_zeros() { return make(Opcode::kCompval, address_of(zeros().data()), 0, 4096); }

TEST_CASE("a queue is full for n tries, or for ever") {
    auto device = started(with_faults("full=3@2"));
    CompletionRecord record;
    Descriptor descriptor = check_zeros();
    descriptor.completion_address = address_of(&record);
    std::vector<bool> taken(8);
    for (std::size_t i = 0; i < 8; ++i) taken[i] = device->enqcmd(0, descriptor);
    CHECK(taken == std::vector<bool>{true, true, false, false, false, true, true, true});
    CHECK(wait_for(record) == 1);

    auto never = started(with_faults("full=ever"));
    for (int i = 0; i < 100; ++i) CHECK_FALSE(never->enqcmd(0, descriptor));
    CHECK(never->counters(0).injected == 100);
}

TEST_CASE("a fault at byte k is reported with what was done before it") {
    auto device = started(with_faults("fault-byte=100@1,fault-byte=0@2,fault-byte=4096@3"));
    CompletionRecord record;
    CHECK(run(*device, check_zeros(), record) == 1);
    CHECK(run(*device, check_zeros(), record) == 3);
    CHECK(record.bytes_completed == 100);
    CHECK(record.result == 0);
    CHECK(record.fault_address == (address_of(zeros().data()) + 100) / 4096 * 4096);
    CHECK(run(*device, check_zeros(), record) == 3);
    CHECK(record.bytes_completed == 0);
    CHECK(run(*device, check_zeros(), record) == 1);
    CHECK(device->counters(0).injected == 2);
}

TEST_CASE("every status can be had, alone and within a batch") {
    for (int status = 2; status < 0x100; ++status) {
        if (status == 0x80 || status == 0x81) continue;
        auto device = started(with_faults("status=" + std::to_string(status)));
        CompletionRecord record;
        INFO("status " << status);
        CHECK(int{run(*device, check_zeros(), record)} == status);
        const int kind = status & 0x7f;
        if (kind == 3 || kind == 4) CHECK(record.bytes_completed < 4096);
        if (kind == 2) CHECK(record.result == 0);
        Batch batch(2);
        batch.set(0, check_zeros());
        batch.set(1, check_zeros());
        CHECK(run(*device, batch.descriptor(), record) == 5);
        CHECK(int{batch.records[1].status} == status);
    }
}

TEST_CASE("a status that is no page fault comes with garbage in the other fields") {
    auto device = started(with_faults("status=0x13"));
    CompletionRecord record;
    int odd = 0;
    for (int i = 0; i < 20; ++i) {
        CHECK(run(*device, check_zeros(), record) == 0x13);
        if (record.bytes_completed > 4096) ++odd;
    }
    CHECK(odd > 10);
}

TEST_CASE("a batch can have one bad child, a list fault at i, or a status of its own") {
    auto device = started(with_faults("bad-child=2@0,list-fault=3@1,batch-status=0x14@2"));
    const auto submit = [&](Batch& batch, CompletionRecord& record) {
        for (std::size_t i = 0; i < 5; ++i) batch.set(i, check_zeros());
        return int{run(*device, batch.descriptor(), record)};
    };
    CompletionRecord record;
    Batch bad(5);
    CHECK(submit(bad, record) == 5);
    CHECK(record.bytes_completed == 5);
    for (std::size_t i = 0; i < 5; ++i) CHECK((bad.records[i].status == 1) == (i != 2));
    CHECK(bad.records[2].status >= 0x10);
    Batch cut(5);
    CHECK(submit(cut, record) == 6);
    CHECK(record.bytes_completed == 3);
    for (std::size_t i = 0; i < 5; ++i) CHECK(cut.records[i].status == (i < 3 ? 1 : 0));
    Batch refused(5);
    // The list fault counts the batches whose lists are read: this one is refused before.
    CHECK(submit(refused, record) == 0x14);
    for (std::size_t i = 0; i < 5; ++i) CHECK(refused.records[i].status == 0);
}

TEST_CASE("a completion can be missing, and a child's record unreachable") {
    auto device = started(with_faults("drop@0,record-fault@1"));
    std::vector<CompletionRecord> records(3);
    for (const CompletionRecord& record : records) {
        Descriptor descriptor = check_zeros();
        descriptor.completion_address = address_of(&record);
        REQUIRE(device->enqcmd(0, descriptor));
    }
    CHECK(wait_for(records[2]) == 1);
    CHECK(records[0].status == 0);
    CHECK(records[1].status == 0);
    CHECK(device->counters(0).unwritten == 2);
    CHECK(device->counters(0).work == 3);

    auto other = started(with_faults("record-fault@1"));
    Batch batch(3);
    for (std::size_t i = 0; i < 3; ++i) batch.set(i, check_zeros());
    CompletionRecord record;
    CHECK(run(*other, batch.descriptor(), record) == 5);
    CHECK(batch.records[1].status == 0);
    CHECK(batch.records[2].status == 1);
}

TEST_CASE("a late completion is written into memory its submitter gave up") {
    auto device = started(with_faults("late=50ms@0"));
    CompletionRecord abandoned;
    const auto begin = std::chrono::steady_clock::now();
    Descriptor descriptor = check_zeros();
    descriptor.completion_address = address_of(&abandoned);
    REQUIRE(device->enqcmd(0, descriptor));
    CompletionRecord record;
    CHECK(run(*device, check_zeros(), record) == 1);
    CHECK(abandoned.status == 0);
    CHECK(wait_for(abandoned) == 1);
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(50));
}

TEST_CASE("descriptors overtake each other where the plan says so") {
    auto device = started(with_faults("seed=4,reorder"));
    bool overtaken = false;
    for (int round = 0; round < 200 && !overtaken; ++round) {
        CompletionRecord first;
        CompletionRecord second;
        Descriptor descriptor = check_zeros();
        descriptor.completion_address = address_of(&first);
        REQUIRE(device->enqcmd(0, descriptor));
        descriptor.completion_address = address_of(&second);
        REQUIRE(device->enqcmd(0, descriptor));
        REQUIRE(wait_for(second) == 1);
        overtaken = first.status == 0;
        REQUIRE(wait_for(first) == 1);
    }
    CHECK(overtaken);
}

TEST_CASE("a halted device takes nothing, and what it had is never answered") {
    auto device = started(with_faults("halt-after=5"));
    CompletionRecord record;
    Batch batch(8);
    for (std::size_t i = 0; i < 8; ++i) batch.set(i, check_zeros());
    Descriptor descriptor = batch.descriptor();
    descriptor.completion_address = address_of(&record);
    REQUIRE(device->enqcmd(0, descriptor));
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!device->halted() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    CHECK(device->halted());
    CHECK_FALSE(device->enqcmd(0, descriptor));
    device.reset();
    for (std::size_t i = 0; i < 8; ++i) CHECK(batch.records[i].status == (i < 5 ? 1 : 0));
    CHECK(record.status == 0);
}

TEST_CASE("a wrong answer looks like a right one") {
    auto device = started(with_faults("wrong@1"));
    CompletionRecord record;
    CHECK(run(*device, check_zeros(), record) == 1);
    CHECK(record.result == 0);
    CHECK(run(*device, check_zeros(), record) == 1);
    CHECK(record.result == 1);
    CHECK(record.bytes_completed < 4096);

    auto lying = started(with_faults("wrong"));
    std::vector<std::byte> data(64, std::byte{1});
    CHECK(run(*lying, make(Opcode::kFill, 0, address_of(data.data()), 64), record) == 1);
    CHECK(data[0] == std::byte{1});
    CHECK(run(*lying, make(Opcode::kCompval, address_of(data.data()), 0, 64), record) == 1);
    CHECK(record.result == 0);
}

TEST_CASE("a word for one queue leaves the others alone") {
    DeviceConfig config = with_faults("wq1.status=0x20");
    config.queues = std::vector<QueueConfig>(2);
    auto device = started(config);
    CompletionRecord record;
    CHECK(run(*device, check_zeros(), record) == 1);
    Descriptor descriptor = check_zeros();
    record.status = 0;
    descriptor.completion_address = address_of(&record);
    REQUIRE(device->enqcmd(1, descriptor));
    CHECK(wait_for(record) == 0x20);
}

// A client's least: it waits for a bounded time, and resubmits nothing.
TEST_CASE(
    "under random plans a device neither crashes nor hangs, nor succeeds with a wrong answer") {
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
        const FaultPlan plan = random_plan(seed);
        INFO(to_string(plan));
        DeviceConfig config;
        config.faults = plan;
        config.queues = std::vector<QueueConfig>(2);
        config.engines = 2;
        std::vector<Batch> batches;
        batches.reserve(20);
        for (int b = 0; b < 20; ++b) batches.emplace_back(16);
        std::vector<CompletionRecord> records(batches.size());
        {
            auto device = started(config);
            for (std::size_t b = 0; b < batches.size(); ++b) {
                for (std::size_t i = 0; i < 16; ++i) batches[b].set(i, check_zeros());
                Descriptor descriptor = batches[b].descriptor();
                descriptor.completion_address = address_of(&records[b]);
                static_cast<void>(device->enqcmd(b % 2, descriptor));
            }
            const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
            while (std::chrono::steady_clock::now() < until &&
                   std::any_of(records.begin(), records.end(),
                               [](const CompletionRecord& record) { return record.status == 0; }))
                std::this_thread::yield();
        }
        for (const Batch& batch : batches)
            for (const CompletionRecord& record : batch.records)
                if (record.status == 1) CHECK(record.result == 0);
    }
}

}  // namespace
}  // namespace migrate::accel::softdsa
