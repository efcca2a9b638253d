// SPDX-License-Identifier: Apache-2.0
#include "engine/devices/device_sender.hpp"

#include <atomic>
#include <thread>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;

// A source that fails when it is asked for one of its parts: 0 the beginning, 1 a chunk, 2 the
// configuration; another number: for none.
class FailingSource final : public devices::DeviceSource {
  public:
    FailingSource(int part, ErrorKind kind) : part_(part), error_(kind, "its monitor is gone") {}

    Status begin(const std::stop_token&) override { return part_ == 0 ? Status(error_) : Status(); }
    Result<std::size_t> save(std::span<std::byte>, const std::stop_token&) override {
        if (part_ == 1) return error_;
        return std::size_t{0};
    }
    Result<std::size_t> save_config(std::span<std::byte>, const std::stop_token&) override {
        if (part_ == 2) return error_;
        return std::size_t{1};
    }

  private:
    int part_;
    Error error_;
};

Status send_one_that_fails(int part, ErrorKind kind, const Status& sent = {}) {
    std::vector<DeviceSender::Entry> entries;
    entries.push_back(
        {{"vm", 0}, devices::DeviceKind::kGuest, std::make_unique<FailingSource>(part, kind)});
    DeviceSender sender(std::move(entries), 1);
    return sender.send_in_turn(0, [&](auto, auto) { return sent; }, {});
}

TEST_CASE("a connection that a device loses is not taken for one of the migration's") {
    for (const ErrorKind kind : {ErrorKind::kLostConnection, ErrorKind::kTimeout}) {
        for (const int part : {0, 1, 2}) {
            const Status status = send_one_that_fails(part, kind);
            REQUIRE_FALSE(status);
            CHECK(status.error().kind() == ErrorKind::kFailed);
            CHECK_THAT(status.error().message(), Contains("device vm, saving: its monitor"));
        }
    }
    CHECK(send_one_that_fails(1, ErrorKind::kCancelled).error().kind() == ErrorKind::kCancelled);
}

TEST_CASE("a connection that is lost while a device is sent stays a lost connection") {
    const Status lost = Error(ErrorKind::kLostConnection, "reset");
    const Status status = send_one_that_fails(3, ErrorKind::kFailed, lost);
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kLostConnection);
}

// A source with so many chunks of one byte.
class ManyChunks final : public devices::DeviceSource {
  public:
    explicit ManyChunks(unsigned chunks) : left_(chunks) {}
    Status begin(const std::stop_token&) override { return {}; }
    Result<std::size_t> save(std::span<std::byte>, const std::stop_token&) override {
        if (left_ == 0) return std::size_t{0};
        --left_;
        ++saved;
        return std::size_t{1};
    }
    Result<std::size_t> save_config(std::span<std::byte>, const std::stop_token&) override {
        return std::size_t{1};
    }

    std::atomic<unsigned> saved{0};

  private:
    unsigned left_;
};

TEST_CASE("more channels let more chunks wait for them") {
    std::vector<DeviceSender::Entry> entries;
    auto source = std::make_unique<ManyChunks>(1000);
    const ManyChunks& chunks = *source;
    entries.push_back({{"vm", 0}, devices::DeviceKind::kGuest, std::move(source)});
    ThreadTimes times;
    Cancellation cancellation;
    DeviceSender sender(std::move(entries), 2);
    must(sender.start(times, cancellation));
    // Two for each channel wait, and one more has been saved.
    while (chunks.saved < 5) std::this_thread::yield();
    sender.set_channels(8);
    while (chunks.saved < 17) std::this_thread::yield();
    cancellation.end();
    sender.join();
    CHECK(chunks.saved == 17);
}

}  // namespace
}  // namespace migrate::engine
