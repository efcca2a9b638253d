// SPDX-License-Identifier: Apache-2.0
// The software DSA device without engine threads.
#include <sys/wait.h>
#include <unistd.h>

#include "accel/softdsa/delta.hpp"
#include "tests/accel/softdsa_client.hpp"
#include "tests/support/thread_sanitizer.hpp"

namespace migrate::accel::softdsa {
namespace {

DeviceConfig without_engines(const std::string& plan = "") {
    DeviceConfig config = plan.empty() ? DeviceConfig{} : with_faults(plan);
    config.engines = 0;
    config.queues[0].max_batch = 256;
    return config;
}

// Checks `count` pages in one batch; page i is zero unless i is a multiple of 5.
struct Checks {
    explicit Checks(std::size_t count) : pages(map_pages(count, MAP_POPULATE)), batch(count) {
        for (std::size_t i = 0; i < count; ++i) {
            std::byte* page = pages.data() + i * kPageSize;
            if (i % 5 == 0) page[i] = std::byte{1};
            batch.set(i, make(Opcode::kCompval, address_of(page), 0, kPageSize));
        }
        top = batch.descriptor();
        top.completion_address = address_of(&record);
    }
    void clear() {
        record.status = 0;
        for (CompletionRecord& each : batch.records) each.status = 0;
    }
    bool right() const {
        for (std::size_t i = 0; i < batch.records.size(); ++i) {
            const CompletionRecord& each = batch.records[i];
            if (each.status != 1 || each.result != (i % 5 == 0 ? 1 : 0)) return false;
        }
        return record.status == 1 && record.bytes_completed == batch.records.size();
    }
    Mapping pages;
    Batch batch;
    Descriptor top;
    CompletionRecord record;
};

TEST_CASE("without engines, a submission returns with its answer") {
    const auto device = started(without_engines());
    Checks checks(200);
    for (int i = 0; i < 50; ++i) {
        checks.clear();
        REQUIRE(device->enqcmd(0, checks.top));
        REQUIRE(checks.right());
    }
    CompletionRecord record;
    Descriptor noop = make(Opcode::kNoop, 0, 0, 0);
    noop.completion_address = address_of(&record);
    REQUIRE(device->write(0, &noop, sizeof noop) == sizeof noop);
    CHECK(record.status == 1);
    CHECK(device->occupancy(0) == 0);
    CHECK(device->counters(0).accepted == 51);
    CHECK(device->counters(0).work == 50 * 200 + 1);
}

TEST_CASE("without engines, a device that has not started takes nothing") {
    Device device(without_engines());
    Checks checks(2);
    CHECK(!device.enqcmd(0, checks.top));
    REQUIRE(device.start() == 0);
    CHECK(device.enqcmd(0, checks.top));
    CHECK(checks.right());
}

TEST_CASE("without engines, threads submit at the same time") {
    const auto device = started(without_engines());
    std::atomic<int> wrong{0};
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            Checks checks(40);
            CompletionRecord drained;
            Descriptor drain = make(Opcode::kDrain, 0, 0, 0);
            drain.completion_address = address_of(&drained);
            for (int i = 0; i < 100; ++i) {
                checks.clear();
                drained.status = 0;
                if (!device->enqcmd(0, checks.top) || !checks.right()) ++wrong;
                // A drain also waits for the other threads' work.
                if (!device->enqcmd(0, drain) || wait_for(drained) != 1) ++wrong;
            }
        });
    }
    threads.clear();
    CHECK(wrong == 0);
    CHECK(device->counters(0).records == 4 * 100 * 42);
}

TEST_CASE("without engines, answers that are late come from a thread") {
    const auto device = started(without_engines("late=3ms"));
    Checks checks(10);
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(device->enqcmd(0, checks.top));
    CHECK(wait_for(checks.record) == 1);
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(3));
    CHECK(checks.right());
}

TEST_CASE("without engines, the modelled time delays the answers, and many may be held") {
    DeviceConfig config = without_engines();
    config.timing = {.enabled = true, .latency_ns = 20'000'000};
    const auto device = started(config);
    std::vector<CompletionRecord> records(3000);
    for (CompletionRecord& record : records) {
        Descriptor noop = make(Opcode::kNoop, 0, 0, 0);
        noop.completion_address = address_of(&record);
        REQUIRE(device->enqcmd(0, noop));
    }
    CompletionRecord drained;
    CHECK(run(*device, make(Opcode::kDrain, 0, 0, 0), drained) == 1);
    for (const CompletionRecord& record : records) REQUIRE(record.status == 1);
}

#ifndef MIGRATE_UNDER_TSAN  // which starts no threads in the child of a fork
TEST_CASE("without engines, a forked child has a device of its own") {
    const auto device = started(without_engines());
    Checks checks(20);
    REQUIRE(device->enqcmd(0, checks.top));
    checks.clear();
    const pid_t child = ::fork();
    if (child == 0) {
        const bool works =
            device->restart_after_fork() == 0 && device->enqcmd(0, checks.top) && checks.right();
        ::_exit(works ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    REQUIRE(device->enqcmd(0, checks.top));
    CHECK(checks.right());
}
#endif

TEST_CASE("without engines, a halted device takes nothing and answers nothing") {
    const auto device = started(without_engines("halt-after=5"));
    Checks checks(10);
    CHECK(device->enqcmd(0, checks.top));
    CHECK(device->halted());
    CHECK(checks.record.status == 0);
    CHECK(checks.batch.records[4].status == 1);
    CHECK(checks.batch.records[5].status == 0);
    CHECK(!device->enqcmd(0, checks.top));
}

}  // namespace
}  // namespace migrate::accel::softdsa
