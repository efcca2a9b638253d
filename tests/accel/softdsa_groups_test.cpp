// SPDX-License-Identifier: Apache-2.0
// Groups of a software DSA device: which engines serve which queues, in which order, and in what
// modelled time.
#include <algorithm>

#include "accel/softdsa/modelled_time.hpp"
#include "accel/softdsa/shared_device.hpp"
#include "tests/accel/softdsa_client.hpp"
#include "tests/support/must.hpp"

namespace migrate::accel::softdsa {
namespace {

Descriptor noop(const CompletionRecord& record) {
    Descriptor descriptor = make(Opcode::kNoop, 0, 0, 0);
    descriptor.completion_address = address_of(&record);
    return descriptor;
}

DeviceConfig two_queues(std::uint32_t engines, const Groups& groups) {
    DeviceConfig config;
    config.queues = std::vector<QueueConfig>(2);
    config.engines = engines;
    config.groups = groups;
    return config;
}

TEST_CASE("a queue is served by the engines of its group only") {
    Groups groups;
    groups.queues[0] = std::uint8_t{0};
    groups.queues[1] = groups.engines[0] = std::uint8_t{1};
    for (const std::uint32_t engines : {1U, 3U}) {
        CAPTURE(engines);
        Device device(two_queues(engines, groups));
        std::vector<CompletionRecord> records(33);
        CHECK(device.enqcmd(0, noop(records[0])));
        for (std::size_t i = 1; i < records.size(); ++i) CHECK(device.enqcmd(1, noop(records[i])));
        REQUIRE(device.start() == 0);
        for (std::size_t i = 1; i < records.size(); ++i) CHECK(wait_for(records[i]) == 1);
        // An engine that served all queues would have taken this one among the first.
        CHECK(records[0].status == 0);
        CHECK(device.occupancy(0) == 1);
    }
}

TEST_CASE("engines of every group serve their queues at the same time") {
    Groups groups;
    for (std::uint8_t i = 0; i < 2; ++i) groups.queues[i] = groups.engines[i] = i;
    const auto device = started(two_queues(2, groups));
    for (int round = 0; round < 200; ++round) {
        std::vector<CompletionRecord> records(8);
        for (std::size_t i = 0; i < records.size(); ++i)
            REQUIRE(device->enqcmd(i % 2, noop(records[i])));
        for (const CompletionRecord& record : records) REQUIRE(wait_for(record) == 1);
    }
}

TEST_CASE("an engine that gets another group serves its queues, though it slept") {
    const Mapping memory = must(Mapping::create({.size = sizeof(SharedDevices),
                                                 .protection = PROT_READ | PROT_WRITE,
                                                 .flags = MAP_SHARED | MAP_ANONYMOUS,
                                                 .what = "the shared devices"}));
    auto& devices = *reinterpret_cast<SharedDevices*>(memory.data());
    SharedDevice& shared = devices.device(0);
    DeviceConfig config;
    config.engines = 4;
    Device device(config, {.devices = &devices, .index = 0, .place = 0});
    REQUIRE(device.start() == 0);
    shared.queues[0].configure(config.queues[0]);
    for (std::uint8_t round = 0; round < 40; ++round) {
        Groups groups;
        groups.queues[0] = groups.engines[round % 4] = static_cast<std::uint8_t>(round / 4 % 4);
        shared.set_groups(groups);
        shared.queues[0].enable();
        CompletionRecord record;
        REQUIRE(device.enqcmd(0, noop(record)));
        REQUIRE(wait_for(record) == 1);
        shared.queues[0].disable();
        REQUIRE(devices.await_drained(0, 0, 60'000'000'000));
    }
}

// Two children that put a number in front of a list.
class LogEntry {
  public:
    LogEntry(std::vector<std::uint64_t>& log, std::uint64_t number) : batch_(2) {
        const std::uint64_t to = address_of(log.data());
        batch_.set(0, make(Opcode::kMemmove, to, to + sizeof number,
                           static_cast<std::uint32_t>((log.size() - 1) * sizeof number)));
        batch_.set(1, make(Opcode::kFill, number, to, sizeof number));
    }
    Descriptor descriptor() const {
        Descriptor descriptor = batch_.descriptor();
        descriptor.completion_address = address_of(&record_);
        return descriptor;
    }
    std::uint8_t wait() const { return wait_for(record_); }

  private:
    Batch batch_;
    CompletionRecord record_;
};

TEST_CASE("an engine takes from the queues of its group in proportion to their priorities") {
    DeviceConfig config = two_queues(1, Groups::together(1));
    config.queues[0].priority = 3;
    Device device(config);
    std::vector<std::uint64_t> log(10);
    std::vector<std::unique_ptr<LogEntry>> entries;
    // Seven in the first queue, three in the second.
    for (const std::size_t queue : {0U, 0U, 0U, 0U, 0U, 0U, 0U, 1U, 1U, 1U}) {
        entries.push_back(std::make_unique<LogEntry>(log, queue));
        REQUIRE(device.enqcmd(queue, entries.back()->descriptor()));
    }
    REQUIRE(device.start() == 0);
    for (const auto& entry : entries) REQUIRE(entry->wait() == 1);
    std::ranges::reverse(log);
    CHECK(log == std::vector<std::uint64_t>{0, 0, 0, 1, 0, 0, 0, 1, 0, 1});
}

TEST_CASE("a group needs a queue and an engine") {
    Groups groups;
    CHECK(groups.complete());
    CHECK_FALSE(groups.has_engines());
    groups.queues[7] = std::uint8_t{2};
    CHECK_FALSE(groups.complete());
    groups.engines[3] = std::uint8_t{1};
    CHECK(groups.has_engines());
    CHECK_FALSE(groups.complete());
    groups.engines[4] = std::uint8_t{2};
    CHECK_FALSE(groups.complete());
    groups.queues[0] = std::uint8_t{1};
    CHECK(groups.complete());
    CHECK(Groups::together(1).complete());
    CHECK_FALSE(Groups::together(0).complete());
}

TEST_CASE("an engine of the modelled device executes one descriptor at a time") {
    ModelledTime time;
    constexpr EngineSet kOne = 1;
    CHECK(time.execute(kOne, 1000, {.engine = 40, .transfer = 10}).begins == 1000);
    const ModelledTime::Span second = time.execute(kOne, 1000, {.engine = 140, .transfer = 140});
    CHECK(second.begins == 1040);
    CHECK(second.ends == 1180);
    CHECK(time.execute(kOne, 5000, {.engine = 40, .transfer = 0}).ends == 5040);
}

TEST_CASE("engines of a group share its descriptors, and groups do not wait for one another") {
    ModelledTime time;
    constexpr EngineSet kPair = 0b0011;
    constexpr EngineSet kOther = 0b0100;
    constexpr Service kSmall{.engine = 40};
    CHECK(time.execute(kPair, 1000, kSmall).ends == 1040);
    CHECK(time.execute(kPair, 1000, kSmall).ends == 1040);
    CHECK(time.execute(kPair, 1000, kSmall).ends == 1080);
    CHECK(time.execute(kOther, 1000, kSmall).ends == 1040);
}

TEST_CASE("all engines together transfer no more bytes than the modelled device can") {
    ModelledTime time;
    constexpr Service kLarge{.engine = 137, .transfer = 137};
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < 40; ++i)
        last = std::max(last, time.execute(EngineSet{1} << (i % 4), 1000, kLarge).ends);
    CHECK(last == 1000 + 40 * 137);
}

}  // namespace
}  // namespace migrate::accel::softdsa
