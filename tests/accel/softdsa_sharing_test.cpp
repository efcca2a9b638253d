// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/shared_device.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <span>

#include "softdsa_client.hpp"
#include "tests/support/must.hpp"

namespace migrate::accel::softdsa {
namespace {

using Clock = std::chrono::steady_clock;

// Devices in memory that processes share, and the configuration of device 0.
class SharedMemory {
  public:
    explicit SharedMemory(const DeviceConfig& configuration) : config(configuration) {
        mapping_ = must(Mapping::create({.size = sizeof(SharedDevices),
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_SHARED | MAP_ANONYMOUS,
                                         .what = "the shared devices"}));
        SharedDevice& device = devices().device(0);
        device.set_groups(config.groups.value_or(Groups::together(std::max(config.engines, 1U))));
        for (std::size_t i = 0; i < config.queues.size(); ++i) {
            device.queues[i].configure(config.queues[i]);
            device.queues[i].enable();
        }
    }
    SharedDevices& devices() { return *reinterpret_cast<SharedDevices*>(mapping_.data()); }
    SharedQueue& queue() { return devices().device(0).queues[0]; }
    // The device as the process at this place has it.
    std::unique_ptr<Device> at(std::size_t place) {
        return std::make_unique<Device>(config,
                                        Sharing{.devices = &devices(), .index = 0, .place = place});
    }

    DeviceConfig config;

  private:
    Mapping mapping_;
};

DeviceConfig one_queue(std::uint32_t size, std::uint32_t threshold = 0) {
    DeviceConfig config;
    config.queues[0].size = size;
    config.queues[0].threshold = threshold;
    return config;
}

// A device that needs this long for each descriptor.
DeviceConfig one_slow_queue(std::uint32_t size, std::uint64_t descriptor_ns) {
    DeviceConfig config = one_queue(size);
    config.timing = {.enabled = true,
                     .latency_ns = 1'000,
                     .descriptor_ns = descriptor_ns,
                     .bytes_per_second = 1'000'000'000};
    return config;
}

Descriptor noop(const CompletionRecord& record) {
    Descriptor descriptor = make(Opcode::kNoop, 0, 0, 0);
    descriptor.completion_address = address_of(&record);
    return descriptor;
}

// The device of two processes, which runs in both.
struct Pair {
    explicit Pair(SharedMemory& memory) : one(memory.at(0)), other(memory.at(1)) {
        REQUIRE(one->start() == 0);
        REQUIRE(other->start() == 0);
    }
    void submit_in_turn(std::span<const CompletionRecord> records) const {
        for (std::size_t i = 0; i < records.size(); ++i)
            REQUIRE((i % 2 == 0 ? one : other)->enqcmd(0, noop(records[i])));
    }
    std::unique_ptr<Device> one;
    std::unique_ptr<Device> other;
};

TEST_CASE("processes that share a device divide the room of its queue") {
    SharedMemory memory(one_queue(10, 6));
    const auto one = memory.at(0);
    const auto other = memory.at(1);
    std::vector<CompletionRecord> records(8);
    for (std::size_t i = 0; i < 4; ++i) CHECK(one->enqcmd(0, noop(records[i])));
    for (std::size_t i = 4; i < 6; ++i) CHECK(other->enqcmd(0, noop(records[i])));
    CHECK_FALSE(one->enqcmd(0, noop(records[6])));
    CHECK_FALSE(other->enqcmd(0, noop(records[7])));
    CHECK(one->occupancy(0) == 6);
    CHECK(other->occupancy(0) == 6);
    REQUIRE(one->start() == 0);
    for (std::size_t i = 0; i < 4; ++i) CHECK(wait_for(records[i]) == 1);
    CHECK(other->enqcmd(0, noop(records[6])));
    REQUIRE(other->start() == 0);
    for (std::size_t i = 4; i < 7; ++i) CHECK(wait_for(records[i]) == 1);
    CHECK(records[7].status == 0);
}

TEST_CASE("threads of several processes never put more into a queue than its threshold") {
    SharedMemory memory(one_queue(64, 50));
    std::vector<std::unique_ptr<Device>> devices;
    for (std::size_t place = 0; place < 4; ++place) devices.push_back(memory.at(place));
    std::vector<CompletionRecord> records(400);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < 50; ++i)
                static_cast<void>(devices[t % 4]->enqcmd(0, noop(records[t * 50 + i])));
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::uint64_t accepted = 0;
    for (const auto& device : devices) accepted += device->counters(0).accepted;
    CHECK(accepted == devices[0]->occupancy(0));
    CHECK(accepted <= 50);
}

TEST_CASE("the time of a modelled device is divided among its processes") {
    SharedMemory memory(one_slow_queue(64, 2'000'000));
    std::vector<CompletionRecord> records(20);
    const auto begin = Clock::now();
    const Pair pair(memory);
    pair.submit_in_turn(records);
    for (const CompletionRecord& record : records) CHECK(wait_for(record) == 1);
    // Each of them alone would have needed half of it.
    CHECK(Clock::now() - begin >= records.size() * std::chrono::milliseconds(2));
}

TEST_CASE("sixteen processes on one queue get all their answers, whoever fills it") {
    SharedMemory memory(one_slow_queue(32, 20'000));
    constexpr std::size_t kProcesses = 16;
    std::vector<std::unique_ptr<Device>> devices;
    for (std::size_t place = 0; place < kProcesses; ++place) {
        devices.push_back(memory.at(place));
        REQUIRE(devices.back()->start() == 0);
    }
    std::atomic<std::size_t> answered{0};
    std::vector<std::thread> threads;
    for (const auto& device : devices) {
        threads.emplace_back([&] {
            // More than fit into the queue.
            std::vector<CompletionRecord> records(40);
            for (const CompletionRecord& record : records)
                while (!device->enqcmd(0, noop(record))) std::this_thread::yield();
            for (const CompletionRecord& record : records)
                answered += wait_for(record) == 1 ? 1U : 0U;
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(answered == kProcesses * 40);
    CHECK(memory.queue().outstanding() == 0);
    CHECK(memory.queue().occupancy() == 0);
}

TEST_CASE("with timing, a descriptor stays in the queue until the modelled device begins with it") {
    auto device = started(one_slow_queue(2, 5'000'000));
    std::vector<CompletionRecord> records(6);
    const auto begin = Clock::now();
    for (const CompletionRecord& record : records) {
        while (!device->enqcmd(0, noop(record))) std::this_thread::yield();
    }
    // The last one was accepted when the fourth began.
    CHECK(Clock::now() - begin >= 3 * std::chrono::milliseconds(5));
    for (const CompletionRecord& record : records) CHECK(wait_for(record) == 1);
    CHECK(device->occupancy(0) == 0);
    CHECK(device->counters(0).refused > 0);
}

TEST_CASE("a queue that is disabled accepts nothing, and is drained when all is answered") {
    constexpr std::uint64_t kLimitNs = 60'000'000'000;
    for (const std::uint32_t engines : {0U, 2U}) {
        CAPTURE(engines);
        DeviceConfig config = one_queue(32);
        config.faults = with_faults("late=20ms").faults;
        config.engines = engines;
        SharedMemory memory(config);
        std::vector<CompletionRecord> records(20);
        const Pair pair(memory);
        pair.submit_in_turn(records);
        memory.queue().disable();
        CompletionRecord refused;
        CHECK_FALSE(pair.one->enqcmd(0, noop(refused)));
        const Descriptor written = noop(refused);
        CHECK(pair.other->write(0, &written, sizeof written) == -EAGAIN);
        CHECK(memory.devices().await_drained(0, 0, kLimitNs));
        for (const CompletionRecord& record : records) CHECK(record.status == 1);
        CHECK(memory.queue().outstanding() == 0);
        memory.queue().enable();
        CHECK(run(*pair.one, make(Opcode::kNoop, 0, 0, 0), refused) == 1);
    }
}

TEST_CASE("the present configuration of a shared queue decides what is refused") {
    SharedMemory memory(one_queue(32));
    const auto device = memory.at(0);
    REQUIRE(device->start() == 0);
    std::vector<std::byte> data(8192);
    const Descriptor check = make(Opcode::kCompval, address_of(data.data()), 0, 8192);
    CompletionRecord record;
    CHECK(run(*device, check, record) == 1);
    memory.queue().disable();
    REQUIRE(memory.devices().await_drained(0, 0, 60'000'000'000));
    QueueConfig smaller = memory.config.queues[0];
    smaller.max_transfer = 4096;
    memory.queue().configure(smaller);
    memory.queue().enable();
    CHECK(run(*device, check, record) == code(CompletionStatus::kTransferSize));
}

TEST_CASE("a device that is reset after a halt has dropped what it had") {
    DeviceConfig config = one_queue(32);
    config.faults = with_faults("halt-after=1").faults;
    SharedMemory memory(config);
    const auto device = memory.at(0);
    std::vector<CompletionRecord> records(3);
    for (const CompletionRecord& record : records) REQUIRE(device->enqcmd(0, noop(record)));
    REQUIRE(device->start() == 0);
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    while ((!device->halted() || memory.queue().outstanding() != 0) && Clock::now() < deadline)
        std::this_thread::yield();
    REQUIRE(device->halted());
    CHECK(memory.queue().outstanding() == 0);
    CHECK(device->occupancy(0) == 0);
}

TEST_CASE("a process that ends takes its descriptors with it, before its parent knows") {
    SharedMemory memory(one_queue(8));
    SharedDevices& devices = memory.devices();
    const std::size_t own = devices.join();
    REQUIRE(own < kMostProcesses);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const std::size_t place = devices.join();
        bool taken = place != own && place < kMostProcesses;
        for (int i = 0; i < 8; ++i)
            taken = memory.queue().begin(place) && memory.queue().take_room(place) && taken;
        ::_exit(taken && !memory.queue().take_room(place) ? 0 : 1);
    }
    siginfo_t ended{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) == 0);
    CHECK(ended.si_status == 0);
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    while (!memory.queue().take_room(own) && Clock::now() < deadline) devices.reap();
    CHECK(memory.queue().occupancy() == 1);
    CHECK(memory.queue().outstanding() == 0);
    CHECK(::waitpid(child, nullptr, 0) == child);
}

}  // namespace
}  // namespace migrate::accel::softdsa
