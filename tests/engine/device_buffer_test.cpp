// SPDX-License-Identifier: Apache-2.0
#include "engine/devices/device_buffer.hpp"

#include <optional>
#include <thread>

#include "catch.hpp"
#include "engine/devices/device_queue.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;

constexpr std::size_t kSmall = 100;

// Two devices, "a" and "b#1".
DeviceBuffer make_buffer(std::uint64_t limit = 4 * kMaxDeviceChunkBytes,
                         milliseconds patience = milliseconds(20)) {
    return DeviceBuffer({{"a", 0}, {"b", 1}}, limit, patience);
}

void put(DeviceBuffer& buffer, std::size_t device, std::uint32_t index, bool config = false,
         std::size_t bytes = kSmall) {
    buffer.insert(device, must(buffer.admit(device, index, config, bytes, {})));
}

std::string refusal(DeviceBuffer& buffer, std::size_t device, std::uint32_t index,
                    bool config = false, std::size_t bytes = kSmall) {
    return message_of(buffer.admit(device, index, config, bytes, {}));
}

std::uint32_t take(DeviceBuffer& buffer, std::size_t device) {
    DeviceBuffer::Chunk chunk = must(buffer.next(device, {}));
    const std::uint32_t index = chunk.index;
    buffer.loaded(device, std::move(chunk));
    return index;
}

TEST_CASE("chunks come out in order, whatever order they came in") {
    DeviceBuffer buffer = make_buffer();
    for (const std::uint32_t index : {3U, 1U, 0U}) put(buffer, 0, index);
    put(buffer, 0, 4, true);
    put(buffer, 0, 2);
    buffer.open();
    for (std::uint32_t index = 0; index < 5; ++index) CHECK(take(buffer, 0) == index);
}

TEST_CASE("a thread waits for a gap to be filled, and nothing comes out before the buffer opens") {
    DeviceBuffer buffer = make_buffer();
    put(buffer, 0, 1, true);
    std::vector<std::uint32_t> taken;
    std::atomic<bool> filled{false};
    std::atomic<bool> opened{false};
    std::jthread loader([&] {
        CHECK(take(buffer, 0) == 0);
        CHECK(filled.load());
        CHECK(opened.load());
        CHECK(take(buffer, 0) == 1);
    });
    filled = true;
    put(buffer, 0, 0);
    opened = true;
    buffer.open();
}

TEST_CASE(
    "a part that comes twice, or behind the configuration, is an error that names the device") {
    DeviceBuffer buffer = make_buffer();
    put(buffer, 1, 0);
    CHECK_THAT(refusal(buffer, 1, 0), Contains("device b#1: chunk 0 came twice"));
    buffer.open();
    CHECK(take(buffer, 1) == 0);
    CHECK_THAT(refusal(buffer, 1, 0), Contains("came twice"));
    put(buffer, 1, 2);
    CHECK_THAT(refusal(buffer, 1, 1, true), Contains("configuration 1 is not its last"));
    put(buffer, 1, 3, true);
    CHECK_THAT(refusal(buffer, 1, 4), Contains("chunk 4 came behind its configuration"));
    CHECK_THAT(refusal(buffer, 1, 4, true), Contains("not its first configuration"));
}

TEST_CASE("an unknown device, and a known one of another instance, are errors") {
    const DeviceBuffer buffer = make_buffer();
    CHECK(must(buffer.find({"b", 1})) == 1);
    CHECK_THAT(message_of(buffer.find({"b", 0})), Contains("device b "));
    CHECK_THAT(message_of(buffer.find({"c", 0})), Contains("device c "));
}

TEST_CASE("a part that is missing at the end of the round is an error") {
    DeviceBuffer buffer = make_buffer();
    put(buffer, 0, 0);
    put(buffer, 0, 2, true);
    buffer.open();
    CHECK(take(buffer, 0) == 0);
    buffer.end();
    CHECK_THAT(message_of(buffer.next(0, {})), Contains("chunk 1 is missing"));
    CHECK_THAT(message_of(buffer.next(1, {})), Contains("chunk 0 is missing"));
    CHECK_THAT(refusal(buffer, 0, 1), Contains("end of the round"));
}

TEST_CASE("memory stays within the limit, and a full buffer makes channels wait") {
    DeviceBuffer buffer = make_buffer();
    buffer.open();
    // Half of the limit is kept for the chunks that are needed next.
    put(buffer, 0, 1, false, kMaxDeviceChunkBytes);
    put(buffer, 0, 2, false, kMaxDeviceChunkBytes);
    put(buffer, 0, 0, false, kMaxDeviceChunkBytes);
    std::atomic<bool> admitted{false};
    std::jthread channel([&] {
        put(buffer, 0, 3, true, kMaxDeviceChunkBytes);
        admitted = true;
    });
    CHECK_FALSE(admitted.load());
    CHECK(take(buffer, 0) == 0);
    CHECK(take(buffer, 0) == 1);
    channel.join();
    CHECK(take(buffer, 0) == 2);
    CHECK(take(buffer, 0) == 3);
    CHECK(buffer.peak_bytes() <= 4 * kMaxDeviceChunkBytes);
    CHECK(buffer.peak_bytes() >= 3 * kMaxDeviceChunkBytes);
}

TEST_CASE("a full buffer that is opened in time makes channels wait, and loses nothing") {
    DeviceBuffer buffer = make_buffer(4 * kMaxDeviceChunkBytes, milliseconds(60'000));
    put(buffer, 0, 0, false, kMaxDeviceChunkBytes);
    put(buffer, 0, 1, false, kMaxDeviceChunkBytes);
    std::jthread channel([&] { put(buffer, 0, 2, true, kMaxDeviceChunkBytes); });
    buffer.open();
    for (std::uint32_t index = 0; index < 3; ++index) CHECK(take(buffer, 0) == index);
}

TEST_CASE("a full buffer that is not opened in time is an error") {
    DeviceBuffer buffer = make_buffer();
    put(buffer, 0, 1, false, kMaxDeviceChunkBytes);
    put(buffer, 0, 2, false, kMaxDeviceChunkBytes);
    CHECK_THAT(refusal(buffer, 0, 3, false, kMaxDeviceChunkBytes),
               Contains("device a: chunk 3") && Contains("before SWITCHOVER_START"));
}

TEST_CASE("a buffer full of what cannot be loaded yet is an error that names what is missing") {
    DeviceBuffer buffer = make_buffer();
    buffer.open();
    put(buffer, 0, 1, false, kMaxDeviceChunkBytes);
    put(buffer, 0, 2, false, kMaxDeviceChunkBytes);
    CHECK_THAT(refusal(buffer, 0, 3, false, kMaxDeviceChunkBytes),
               Contains("device a: chunk 0 has not"));
}

TEST_CASE("a stop ends every wait") {
    DeviceBuffer buffer = make_buffer(4 * kMaxDeviceChunkBytes, milliseconds(60'000));
    buffer.open();
    put(buffer, 0, 1, false, kMaxDeviceChunkBytes);
    put(buffer, 0, 2, false, kMaxDeviceChunkBytes);
    std::stop_source stop;
    std::optional<ErrorKind> admitted;
    std::optional<ErrorKind> given;
    // The chunks that they get are checked after they have ended: CHECK is for one thread.
    std::jthread channel([&] {
        admitted = buffer.admit(0, 3, false, kMaxDeviceChunkBytes, stop.get_token()).error().kind();
    });
    std::jthread loader([&] { given = buffer.next(1, stop.get_token()).error().kind(); });
    stop.request_stop();
    channel.join();
    loader.join();
    CHECK(admitted == ErrorKind::kCancelled);
    CHECK(given == ErrorKind::kCancelled);
}

TEST_CASE("a buffer that is not needed any more lets no channel wait") {
    DeviceBuffer buffer = make_buffer(4 * kMaxDeviceChunkBytes, milliseconds(60'000));
    buffer.open();
    put(buffer, 0, 1, false, kMaxDeviceChunkBytes);
    put(buffer, 0, 2, false, kMaxDeviceChunkBytes);
    std::optional<ErrorKind> admitted;
    std::jthread channel(
        [&] { admitted = buffer.admit(0, 3, false, kMaxDeviceChunkBytes, {}).error().kind(); });
    buffer.abandon();
    channel.join();
    CHECK(admitted == ErrorKind::kLostConnection);
}

TEST_CASE("a queue that is closed gives out nothing, and lets no channel wait") {
    DeviceQueue queue(4, 1);
    REQUIRE(queue.put({.device = 0, .index = 0, .config = false, .content = {}}, {}));
    bool got = true;
    REQUIRE(queue.try_take());
    std::jthread channel([&] { got = queue.take({}).has_value(); });
    queue.close();
    channel.join();
    CHECK_FALSE(got);
    REQUIRE(queue.put({.device = 0, .index = 1, .config = false, .content = {}}, {}));
    CHECK_FALSE(queue.try_take());
}

TEST_CASE("a limit of less than two chunks a device is refused") {
    must(DeviceBuffer::check_limit(4 * kMaxDeviceChunkBytes, 2));
    CHECK_FALSE(DeviceBuffer::check_limit(4 * kMaxDeviceChunkBytes - 1, 2));
    must(DeviceBuffer::check_limit(0, 0));
}

}  // namespace
}  // namespace migrate::engine
