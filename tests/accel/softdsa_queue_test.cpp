// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <span>

#include "softdsa_client.hpp"
#include "tests/support/forked.hpp"
#include "tests/support/thread_sanitizer.hpp"

namespace migrate::accel::softdsa {
namespace {

using Clock = std::chrono::steady_clock;

Descriptor noop(const CompletionRecord& record) {
    Descriptor descriptor = make(Opcode::kNoop, 0, 0, 0);
    descriptor.completion_address = address_of(&record);
    return descriptor;
}

DeviceConfig queue_of(dsa::QueueMode mode, std::uint32_t size, std::uint32_t threshold) {
    DeviceConfig config;
    config.queues[0].mode = mode;
    config.queues[0].size = size;
    config.queues[0].threshold = threshold;
    return config;
}

TEST_CASE("a shared queue refuses at its threshold, and what it took is done once engines run") {
    Device device(queue_of(dsa::QueueMode::kShared, 10, 7));
    std::vector<CompletionRecord> records(8);
    for (std::size_t i = 0; i < 7; ++i) CHECK(device.enqcmd(0, noop(records[i])));
    CHECK_FALSE(device.enqcmd(0, noop(records[7])));
    CHECK(device.entries(0) == 7);
    CHECK(device.occupancy(0) == 7);
    CHECK(device.counters(0).refused == 1);
    REQUIRE(device.start() == 0);
    for (std::size_t i = 0; i < 7; ++i) CHECK(wait_for(records[i]) == 1);
    CHECK(device.enqcmd(0, noop(records[7])));
    CHECK(wait_for(records[7]) == 1);
}

TEST_CASE("a dedicated queue loses what it has no room for, and says nothing") {
    Device device(queue_of(dsa::QueueMode::kDedicated, 5, 0));
    std::vector<CompletionRecord> records(8);
    for (const CompletionRecord& record : records) device.movdir64b(0, noop(record));
    CHECK(device.counters(0).accepted == 5);
    CHECK(device.counters(0).lost == 3);
    REQUIRE(device.start() == 0);
    for (std::size_t i = 0; i < 5; ++i) CHECK(wait_for(records[i]) == 1);
    CompletionRecord drained;
    Descriptor drain = make(Opcode::kDrain, 0, 0, 0);
    drain.completion_address = address_of(&drained);
    device.movdir64b(0, drain);
    CHECK(wait_for(drained) == 1);
    for (std::size_t i = 5; i < 8; ++i) CHECK(records[i].status == 0);
}

TEST_CASE("the other mode's instruction is not taken") {
    Device shared(queue_of(dsa::QueueMode::kShared, 5, 0));
    Device dedicated(queue_of(dsa::QueueMode::kDedicated, 5, 0));
    CompletionRecord record;
    shared.movdir64b(0, noop(record));
    CHECK(shared.counters(0).lost == 1);
    CHECK_FALSE(dedicated.enqcmd(0, noop(record)));
    CHECK(dedicated.counters(0).refused == 1);
}

TEST_CASE("write() takes an array, counts what it took, and fails only by the first descriptor") {
    DeviceConfig config = queue_of(dsa::QueueMode::kShared, 4, 0);
    config.queues[0].refuse_batch_by_write = true;
    Device device(config);
    std::vector<CompletionRecord> records(6);
    std::vector<Descriptor> list;
    list.reserve(records.size());
    for (const CompletionRecord& record : records) list.push_back(noop(record));
    const auto bytes = static_cast<std::ptrdiff_t>(sizeof(Descriptor));
    CHECK(device.write(0, list.data(), 63) == 0);
    // Not at an aligned address.
    std::vector<std::byte> shifted(sizeof(Descriptor) + 1);
    std::memcpy(shifted.data() + 1, list.data(), sizeof(Descriptor));
    CHECK(device.write(0, shifted.data() + 1, sizeof(Descriptor)) == bytes);
    CHECK(device.write(0, list.data() + 1, 5 * sizeof(Descriptor) + 10) == 3 * bytes);
    CHECK(device.write(0, list.data() + 4, sizeof(Descriptor)) == -EAGAIN);
    list[0] = make(Opcode::kBatch, 0, 0, 2);
    CHECK(device.write(0, list.data(), sizeof(Descriptor)) == -EINVAL);
    list[0] = noop(records[0]);
    list[0].completion_address += 8;
    CHECK(device.write(0, list.data(), sizeof(Descriptor)) == -EINVAL);
    CHECK(device.write(0, nullptr, sizeof(Descriptor)) == -EFAULT);
    REQUIRE(device.start() == 0);
    for (std::size_t i = 0; i < 4; ++i) CHECK(wait_for(records[i]) == 1);
}

TEST_CASE("a drain answers after everything before it in its queue, late ones too") {
    DeviceConfig config = with_faults("late=30ms@/3");
    config.engines = 3;
    auto device = started(config);
    std::vector<CompletionRecord> records(20);
    for (int round = 0; round < 3; ++round) {
        for (CompletionRecord& record : records) record.status = 0;
        for (const CompletionRecord& record : records) REQUIRE(device->enqcmd(0, noop(record)));
        CompletionRecord drained;
        CHECK(run(*device, make(Opcode::kDrain, 0, 0, 0), drained) == 1);
        for (const CompletionRecord& record : records) CHECK(record.status == 1);
    }
}

TEST_CASE("eight threads on two queues with three engines lose and mix up nothing") {
    DeviceConfig config;
    config.queues = std::vector<QueueConfig>(2);
    config.queues[0].size = config.queues[1].size = 16;
    config.engines = 3;
    auto device = started(config);
    constexpr std::size_t kRounds = 300;
    std::vector<std::size_t> wrong(8);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < wrong.size(); ++t) {
        threads.emplace_back([&, t] {
            std::vector<std::uint64_t> words(64);
            for (std::size_t round = 0; round < kRounds; ++round) {
                Batch batch(8);
                for (std::size_t i = 0; i < 8; ++i)
                    batch.set(i,
                              make(Opcode::kFill, t << 32U | round, address_of(&words[8 * i]), 64));
                CompletionRecord record;
                Descriptor descriptor = batch.descriptor();
                descriptor.completion_address = address_of(&record);
                while (!device->enqcmd(t % 2, descriptor)) std::this_thread::yield();
                if (wait_for(record) != 1 || record.bytes_completed != 8) ++wrong[t];
                // Read as the device wrote them: past the compiler.
                for (const std::uint64_t& word : words) {
                    const std::uint64_t seen = *static_cast<const volatile std::uint64_t*>(&word);
                    if (seen != (t << 32U | round)) ++wrong[t];
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == std::vector<std::size_t>(8));
    CHECK(device->counters(0).accepted + device->counters(1).accepted == 8 * kRounds);
    CHECK(device->counters(0).work + device->counters(1).work == std::uint64_t{64} * kRounds);
}

TEST_CASE("a full queue under eight threads never holds more than its threshold") {
    Device device(queue_of(dsa::QueueMode::kShared, 64, 50));
    std::vector<CompletionRecord> records(160);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < 20; ++i)
                static_cast<void>(device.enqcmd(0, noop(records[t * 20 + i])));
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(device.occupancy(0) == 50);
    CHECK(device.counters(0).accepted == 50);
    CHECK(device.counters(0).refused == 110);
}

TEST_CASE("a device that is taken down writes nothing any more") {
    std::vector<CompletionRecord> records(50);
    {
        auto device = started(with_faults("late=300ms"));
        for (const CompletionRecord& record : records) REQUIRE(device->enqcmd(0, noop(record)));
    }
    const auto until = Clock::now() + std::chrono::milliseconds(400);
    while (Clock::now() < until) std::this_thread::yield();
    for (const CompletionRecord& record : records) CHECK(record.status == 0);
}

TEST_CASE("timed answers come no sooner than the hardware's, and the work is counted") {
    DeviceConfig config;
    config.timing = {.enabled = true,
                     .latency_ns = 1'000'000,
                     .descriptor_ns = 100'000,
                     .bytes_per_second = 1'000'000'000};
    auto device = started(config);
    std::vector<std::byte> data(1U << 20U);
    CompletionRecord record;
    const auto begin = Clock::now();
    CHECK(run(*device, make(Opcode::kCompval, address_of(data.data()), 0, 1U << 20U), record) == 1);
    CHECK(run(*device, make(Opcode::kNoop, 0, 0, 0), record) == 1);
    // 1 MiB at 1 GB/s, a descriptor's least time, and two latencies.
    CHECK(Clock::now() - begin >= std::chrono::nanoseconds((1U << 20U) + 2'100'000));
    CHECK(device->counters(0).device_time_ns == (1U << 20U) + 100'000);
}

TEST_CASE("engines leave signals to the program") {
    auto device = started({});
    CompletionRecord record;
    REQUIRE(run(*device, make(Opcode::kNoop, 0, 0, 0), record) == 1);
    sigset_t blocked{};
    ::sigemptyset(&blocked);
    ::sigaddset(&blocked, SIGUSR1);
    sigset_t before{};
    ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
    ::kill(::getpid(), SIGUSR1);  // would end the process in any thread that takes it
    CHECK(run(*device, make(Opcode::kNoop, 0, 0, 0), record) == 1);
    int signal = 0;
    CHECK(::sigwait(&blocked, &signal) == 0);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

#ifndef MIGRATE_UNDER_TSAN  // which starts no threads in the child of a fork
TEST_CASE("a child of a fork has the device again, empty") {
    Device device(queue_of(dsa::QueueMode::kShared, 8, 0));
    CompletionRecord before;
    REQUIRE(device.enqcmd(0, noop(before)));
    REQUIRE(device.start() == 0);
    REQUIRE(wait_for(before) == 1);
    CHECK(exit_code_of_fork([&] {
              CompletionRecord record;
              const bool works = device.restart_after_fork() == 0 && device.occupancy(0) == 0 &&
                                 device.enqcmd(0, noop(record)) && wait_for(record) == 1;
              return works ? 0 : 1;
          }) == 0);
    CHECK(run(device, make(Opcode::kNoop, 0, 0, 0), before) == 1);
}
#endif

}  // namespace
}  // namespace migrate::accel::softdsa
