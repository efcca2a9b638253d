// SPDX-License-Identifier: Apache-2.0
#include "engine/devices/device_receiver.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <thread>

#include "base/little_endian.hpp"
#include "base/splitmix64.hpp"
#include "catch.hpp"
#include "engine/device_random.hpp"
#include "tests/support/must.hpp"
#include "tests/support/seed.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;

// A chunk as a test's channel sends it; its content follows from its device and index.
struct Sent {
    std::uint32_t device = 0;
    std::uint32_t index = 0;
    bool config = false;
    std::size_t bytes = 0;
};

void fill(const Sent& chunk, std::span<std::byte> to) {
    const std::uint64_t word = splitmix64(chunk.device * 1'000'003ULL + chunk.index);
    for (std::size_t i = 0; i < to.size(); ++i) {
        to[i] = static_cast<std::byte>(word >> (8 * (i % 8)));
    }
}

// Checks what it is given, and when.
class CheckingSink final : public devices::DeviceSink {
  public:
    CheckingSink(std::uint32_t device, const std::atomic<bool>& opened,
                 const std::atomic<bool>& synced, unsigned delay_us)
        : device_(device), opened_(opened), synced_(synced), delay_us_(delay_us) {}

    Status begin(const std::stop_token&) override {
        return opened_ ? Status() : Status(make_error("began before SWITCHOVER_START"));
    }
    Status load(std::span<const std::byte> chunk, const std::stop_token&) override {
        return check(chunk);
    }
    Status load_config(std::span<const std::byte> config, const std::stop_token&) override {
        return check(config);
    }

  private:
    Status check(std::span<const std::byte> chunk) {
        if (!opened_) return make_error("loaded before SWITCHOVER_START");
        if (synced_) return make_error("loaded after the devices were called complete");
        std::vector<std::byte> expected(chunk.size());
        fill({device_, index_, false, chunk.size()}, expected);
        if (!std::equal(chunk.begin(), chunk.end(), expected.begin())) {
            return make_error("chunk {} is wrong", index_);
        }
        ++index_;
        std::this_thread::sleep_for(std::chrono::microseconds(delay_us_));
        return {};
    }

    std::uint32_t device_;
    const std::atomic<bool>& opened_;
    const std::atomic<bool>& synced_;
    unsigned delay_us_;
    std::uint32_t index_ = 0;
};

struct Loading {
    explicit Loading(std::uint32_t devices, std::uint64_t buffer = 64 * kMiB,
                     unsigned delay_us = 0) {
        std::vector<DeviceReceiver::Entry> entries;
        for (std::uint32_t i = 0; i < devices; ++i) {
            entries.push_back({{"dev", i},
                               devices::DeviceKind::kSimulated,
                               std::make_unique<CheckingSink>(i, opened, synced, delay_us)});
        }
        receiver =
            std::make_unique<DeviceReceiver>(std::move(entries), buffer, milliseconds(20'000));
    }
    ~Loading() {
        cancellation.fail(Error(ErrorKind::kCancelled, "the test ends"));
        receiver->join();
    }
    Loading(const Loading&) = delete;
    Loading& operator=(const Loading&) = delete;

    void open() {
        opened = true;
        must(receiver->start(times, cancellation));
    }
    Status give(const Sent& chunk) {
        return receiver->receive(
            {"dev", chunk.device, chunk.index, chunk.config}, chunk.bytes,
            [&](std::span<std::byte> to) {
                fill(chunk, to);
                return Status();
            },
            cancellation.token());
    }

    std::atomic<bool> opened{false};
    std::atomic<bool> synced{false};
    ThreadTimes times;
    Cancellation cancellation;
    std::unique_ptr<DeviceReceiver> receiver;
};

TEST_CASE("a load thread that fails ends the session, and the error names the device") {
    Loading loading(2);
    loading.open();
    must(loading.receiver->receive({"dev", 1, 0, false}, 10,
                                   [](std::span<std::byte>) { return Status(); }, {}));
    CHECK_FALSE(loading.receiver->await_complete(loading.cancellation.token()));
    loading.receiver->join();
    CHECK_THAT(loading.cancellation.error()->message(),
               Contains("device dev#1, loading: chunk 0 is wrong"));
}

TEST_CASE("a device of which a chunk never came fails when the round ends") {
    Loading loading(1);
    loading.open();
    must(loading.give({0, 0, false, 10}));
    loading.receiver->end();
    CHECK_FALSE(loading.receiver->await_complete(loading.cancellation.token()));
    CHECK_THAT(loading.cancellation.error()->message(), Contains("device dev, loading: chunk 1"));
}

TEST_CASE("in turn, devices are loaded in their order, chunk after chunk, and no other way") {
    Loading loading(2);
    loading.opened = true;
    const auto give = [&](const Sent& chunk) {
        std::vector<std::byte> content(chunk.bytes);
        fill(chunk, content);
        return loading.receiver->load_in_turn({"dev", chunk.device, chunk.index, chunk.config},
                                              content, {});
    };
    CHECK_THAT(message_of(give({1, 0, false, 5})), Contains("chunk 0 of device dev"));
    CHECK_THAT(message_of(give({0, 1, false, 5})), Contains("chunk 0 of device dev"));
    must(give({0, 0, false, 5}));
    must(give({0, 1, true, 5}));
    CHECK_THAT(message_of(loading.receiver->check_all_in_turn_loaded()),
               Contains("of device ") && Contains("got no more chunks"));
    must(give({1, 0, true, 5}));
    must(loading.receiver->check_all_in_turn_loaded());
    CHECK_THAT(message_of(give({1, 1, false, 5})),
               Contains("expected no more chunks, got device dev#1, chunk 1"));
    CHECK_THAT(message_of(give({2, 0, false, 5})), Contains("dev#2"));
    const auto report = loading.receiver->report();
    CHECK(report[0].bytes == 10);
    CHECK(report[1].complete);
}

// Loses a connection of its own in one of its parts: 0 the beginning, 1 a chunk, 2 the
// configuration, 3 the commit.
class LosingSink final : public devices::DeviceSink {
  public:
    explicit LosingSink(int part) : part_(part) {}

    Status begin(const std::stop_token&) override { return in(0); }
    Status load(std::span<const std::byte>, const std::stop_token&) override { return in(1); }
    Status load_config(std::span<const std::byte>, const std::stop_token&) override {
        return in(2);
    }
    Status commit() override { return in(3); }

  private:
    Status in(int part) const {
        return part == part_ ? Status(Error(ErrorKind::kLostConnection, "its monitor is gone"))
                             : Status();
    }

    int part_;
};

TEST_CASE("a connection that a device's sink loses is not taken for one of the migration's") {
    for (const int part : {0, 1, 2, 3}) {
        std::vector<DeviceReceiver::Entry> entries;
        entries.push_back(
            {{"vm", 0}, devices::DeviceKind::kStream, std::make_unique<LosingSink>(part)});
        DeviceReceiver receiver(std::move(entries), 8 * kMiB, milliseconds(20'000));
        const std::array<std::byte, 1> chunk{};
        Status status = receiver.load_in_turn({"vm", 0, 0, false}, chunk, {});
        if (status) status = receiver.load_in_turn({"vm", 0, 1, true}, chunk, {});
        if (status) status = receiver.commit();
        REQUIRE_FALSE(status);
        CHECK(status.error().kind() == ErrorKind::kFailed);
        CHECK_THAT(status.error().message(), Contains("device vm, loading: its monitor"));
    }
}

// Sends like the senders' queue: chunks of all devices in one order, each device's in its own.
std::deque<Sent> random_order(Dice& dice, std::uint32_t devices) {
    std::vector<Sent> next;
    std::vector<std::uint32_t> last;
    for (std::uint32_t i = 0; i < devices; ++i) {
        next.push_back({i, 0, false, 0});
        last.push_back(static_cast<std::uint32_t>(dice.roll(0, 30)));
    }
    std::deque<Sent> order;
    while (!next.empty()) {
        const auto which = static_cast<std::ptrdiff_t>(dice.roll(0, next.size() - 1));
        Sent& chunk = next[static_cast<std::size_t>(which)];
        chunk.config = chunk.index == last[chunk.device];
        chunk.bytes = dice.roll(1, dice.one_in(4) ? kMaxDeviceChunkBytes : 8192);
        order.push_back(chunk);
        ++chunk.index;
        if (order.back().config) next.erase(next.begin() + which);
    }
    return order;
}

TEST_CASE("devices load whole and in order under any delays, from any number of channels") {
    const unsigned seed = test_seed();
    for (int run = 0; run < device_runs(); ++run) {
        INFO("MIGRATE_TEST_SEED=" << seed << ", run " << run);
        Dice dice(seed + static_cast<unsigned>(run));
        const auto devices = static_cast<std::uint32_t>(dice.roll(1, 5));
        // The smallest size, so that channels wait.
        const std::uint64_t buffer = 2 * devices * kMaxDeviceChunkBytes;
        Loading loading(devices, buffer, static_cast<unsigned>(dice.roll(0, 50)));
        std::deque<Sent> order = random_order(dice, devices);
        std::mutex mutex;
        std::vector<std::jthread> channels;
        const std::uint64_t count = dice.roll(1, 8);
        for (std::uint64_t i = 0; i < count; ++i) {
            channels.emplace_back([&, delays = Dice(static_cast<unsigned>(
                                          dice.roll(0, 1U << 30)))]() mutable {
                while (true) {
                    Sent chunk;
                    {
                        const std::scoped_lock lock(mutex);
                        if (order.empty()) return;
                        chunk = order.front();
                        order.pop_front();
                    }
                    if (delays.one_in(3)) {
                        std::this_thread::sleep_for(std::chrono::microseconds(delays.roll(0, 300)));
                    }
                    Status given = loading.give(chunk);
                    if (!given) loading.cancellation.fail(std::move(given).error());
                    if (loading.cancellation.stopped()) return;
                }
            });
        }
        loading.open();
        channels.clear();
        loading.receiver->end();
        const Status complete = loading.receiver->await_complete(loading.cancellation.token());
        loading.synced = true;
        if (!complete) FAIL(loading.cancellation.error()->message());
        CHECK(loading.receiver->peak_bytes() <= buffer);
        for (const DeviceReport& device : loading.receiver->report()) CHECK(device.complete);
    }
}

}  // namespace
}  // namespace migrate::engine
