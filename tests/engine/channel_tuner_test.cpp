// SPDX-License-Identifier: Apache-2.0
#include "engine/send/channel_tuner.hpp"

#include "catch.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;

constexpr std::uint16_t kMost = 16;

// A sender whose throughput is a function of its channels.
struct Simulated {
    explicit Simulated(std::uint16_t most = kMost, milliseconds round_trip = {})
        : tuner(2, most, round_trip) {
        tuner.begin(now);
    }
    // One interval with this throughput; returns the number of channels afterwards.
    std::uint16_t interval(double bytes_per_second, double pages_per_second = 0) {
        const std::chrono::duration<double> time = tuner.interval();
        now.at += std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
        now.bytes += static_cast<std::uint64_t>(bytes_per_second * time.count());
        now.pages += static_cast<std::uint64_t>(pages_per_second * time.count());
        const std::uint16_t wanted = tuner.judge(now, host);
        if (wanted != channels) {
            channels = wanted;
            tuner.added(wanted);
            tuner.begin(now);
        }
        return channels;
    }
    // Intervals until the tuner stops or `most` of them have passed.
    void run(const std::function<double(std::uint16_t)>& bytes_per_second, unsigned most = 100) {
        for (unsigned i = 0; i < most && tuner.goes_on(); ++i) interval(bytes_per_second(channels));
    }

    ChannelTuner tuner;
    ChannelProgress now{std::chrono::steady_clock::time_point{}, 0, 0};
    ChannelHost host{{.idle_share = 0.5, .wanted_cpus = 0.5}, 0};
    std::uint16_t channels = 2;
};

TEST_CASE("channels are added while each addition raises the throughput by more than a tenth") {
    // Each channel carries 100 MB/s, and the path 450.
    Simulated sender;
    sender.run([](std::uint16_t channels) { return std::min(100e6 * channels, 450e6); });
    CHECK(sender.channels == 16);
    CHECK(sender.tuner.limit() == ChannelLimit::kThroughput);
    CHECK(sender.tuner.reason() == "16 channels sent 429.2 MiB/s, 8 sent 429.2 MiB/s");
}

TEST_CASE("a path that two channels fill gets one addition, which shows it") {
    Simulated sender;
    sender.run([](std::uint16_t) { return 25e6; });
    CHECK(sender.channels == 4);
    CHECK(sender.tuner.limit() == ChannelLimit::kThroughput);
}

TEST_CASE("a tenth more is not enough, and a little more than a tenth is") {
    for (const double factor : {1.09, 1.12}) {
        Simulated sender;
        sender.run([&](std::uint16_t channels) { return channels == 2 ? 100e6 : 100e6 * factor; });
        INFO(factor);
        CHECK(sender.channels == (factor > 1.1 ? 8 : 4));
    }
}

TEST_CASE("no channel is added while the throughput still rises by itself") {
    Simulated sender;
    for (const double rate : {1e6, 2e6, 4e6, 8e6, 16e6}) CHECK(sender.interval(rate) == 2);
    CHECK(sender.interval(16.5e6) == 4);
}

TEST_CASE("a throughput that rises for ever does not keep channels from being added") {
    Simulated sender;
    double rate = 1e6;
    unsigned intervals = 0;
    while (sender.channels == 2 && intervals < 20) {
        sender.interval(rate *= 1.2);
        ++intervals;
    }
    CHECK(sender.channels == 4);
    CHECK(intervals == 8);
}

TEST_CASE("no channel is added to threads that want the CPUs of a busy host") {
    Simulated sender;
    sender.host.cpus = {.idle_share = 0.03, .wanted_cpus = 1.9};
    sender.run([](std::uint16_t) { return 1e9; }, 20);
    CHECK(sender.channels == 2);
    CHECK(sender.tuner.limit() == ChannelLimit::kCpu);
    CHECK(sender.tuner.reason() == "the CPUs of the sender's host are 97 % busy with 2 channels");
    CHECK(sender.tuner.goes_on());
    // It looks less often, and goes on once there is time.
    CHECK(sender.tuner.interval() >= milliseconds(1000));
    sender.host.cpus = {.idle_share = 0.5, .wanted_cpus = 1.9};
    sender.interval(1e9);
    CHECK(sender.channels == 4);
}

TEST_CASE("threads that wait for the network get more channels on a busy host, too") {
    Simulated sender;
    sender.host.cpus = {.idle_share = 0.0, .wanted_cpus = 0.2};
    sender.run([](std::uint16_t) { return 25e6; });
    CHECK(sender.channels == 4);
}

TEST_CASE("a host that does not tell about its CPUs is judged by the throughput alone") {
    Simulated sender;
    sender.host.cpus = {};
    sender.run([](std::uint16_t channels) { return 100e6 * channels; });
    CHECK(sender.channels == kMost);
    CHECK(sender.tuner.limit() == ChannelLimit::kMaximum);
}

TEST_CASE("no channel is added where max-bandwidth is reached") {
    Simulated sender;
    sender.host.max_bandwidth = 50'000'000;
    sender.run([](std::uint16_t) { return 49e6; }, 20);
    CHECK(sender.channels == 2);
    CHECK(sender.tuner.limit() == ChannelLimit::kBandwidth);
    CHECK(sender.tuner.goes_on());
}

TEST_CASE("memory that turns from content to zeros, or back, is no reason to stop") {
    Simulated sender;
    sender.interval(100e6, 25e3);
    CHECK(sender.interval(100e6, 25e3) == 4);
    // Zeros: no bytes, and more pages.
    sender.interval(0, 2e6);
    CHECK(sender.interval(0, 2e6) == 8);
    // Content again, and more of it than with two channels.
    sender.interval(400e6, 100e3);
    CHECK(sender.interval(400e6, 100e3) == 16);
}

TEST_CASE("no channel is added in a round that is shorter than two intervals") {
    Simulated sender;
    for (int round = 0; round < 10; ++round) {
        CHECK(sender.interval(100e6) == 2);
        sender.tuner.begin(sender.now);
    }
    CHECK(sender.tuner.limit() == ChannelLimit::kTime);
    CHECK_THAT(sender.tuner.reason(), Contains("before the throughput was known"));
}

TEST_CASE("the interval follows the path's round-trip time, within limits") {
    CHECK(ChannelTuner(2, kMost, milliseconds(0)).interval() == milliseconds(25));
    CHECK(ChannelTuner(2, kMost, milliseconds(40)).interval() == milliseconds(200));
    CHECK(ChannelTuner(2, kMost, milliseconds(60'000)).interval() == milliseconds(2000));
}

TEST_CASE("the largest number need not be a power of two, and may be the first") {
    Simulated odd(5);
    odd.run([](std::uint16_t channels) { return 100e6 * channels; });
    CHECK(odd.channels == 5);
    CHECK(odd.tuner.limit() == ChannelLimit::kMaximum);
    CHECK(odd.tuner.reason() == "5 channels are the maximum");
    Simulated none(2);
    none.run([](std::uint16_t) { return 100e6; });
    CHECK(none.channels == 2);
}

}  // namespace
}  // namespace migrate::engine
