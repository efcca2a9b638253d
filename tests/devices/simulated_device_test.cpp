// SPDX-License-Identifier: Apache-2.0
#include "devices/simulated_device.hpp"

#include <chrono>
#include <thread>
#include <vector>

#include "base/config/form_tables.hpp"
#include "catch.hpp"
#include "devices/stream_device.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::devices {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

const DeviceId kId{"vf", 2};

SimulatedSpec spec_of(std::uint64_t size) {
    SimulatedSpec spec;
    spec.size_bytes = size;
    return spec;
}

// All chunks of a source, the configuration last.
std::vector<std::vector<std::byte>> save_all(DeviceSource& source, std::size_t chunk_bytes) {
    std::vector<std::vector<std::byte>> chunks;
    must(source.begin({}));
    while (true) {
        std::vector<std::byte> chunk(chunk_bytes);
        std::size_t size = must(source.save(chunk, {}));
        const bool last = size == 0;
        if (last) size = must(source.save_config(chunk, {}));
        chunk.resize(size);
        chunks.push_back(std::move(chunk));
        if (last) return chunks;
    }
}

Status load_all(DeviceSink& sink, const std::vector<std::vector<std::byte>>& chunks) {
    MIGRATE_TRY(sink.begin({}));
    for (std::size_t i = 0; i + 1 < chunks.size(); ++i) MIGRATE_TRY(sink.load(chunks[i], {}));
    return sink.load_config(chunks.back(), {});
}

struct Pair {
    explicit Pair(const SimulatedSpec& spec)
        : source(make_simulated_source(kId, spec, std::make_shared<SharedBus>())),
          sink(make_simulated_sink(kId, spec, std::make_shared<SharedBus>())) {}
    std::unique_ptr<DeviceSource> source;
    std::unique_ptr<DeviceSink> sink;
};

TEST_CASE("a simulated device's state is checked byte for byte") {
    constexpr std::size_t kChunk = 100'000;
    for (const std::uint64_t size : {0ULL, 1ULL, 99'999ULL, 100'000ULL, 1'000'001ULL}) {
        Pair pair(spec_of(size));
        const auto chunks = save_all(*pair.source, kChunk);
        CHECK(chunks.size() == (size + kChunk - 1) / kChunk + 1);
        must(load_all(*pair.sink, chunks));
    }
    Pair saved(spec_of(1'000'001));
    const auto chunks = save_all(*saved.source, kChunk);
    for (const std::size_t chunk : {0U, 5U, 10U}) {
        auto wrong = chunks;
        wrong[chunk].back() ^= std::byte{1};
        const std::size_t at = chunk * kChunk + wrong[chunk].size() - 1;
        const std::string message = message_of(load_all(*Pair(spec_of(1'000'001)).sink, wrong));
        CHECK(message.find(std::to_string(at)) != std::string::npos);
    }
    auto swapped = chunks;
    std::swap(swapped[1], swapped[2]);
    CHECK_FALSE(load_all(*Pair(spec_of(1'000'001)).sink, swapped));
    auto missing = chunks;
    missing.erase(missing.end() - 2);
    CHECK_FALSE(load_all(*Pair(spec_of(1'000'001)).sink, missing));
    auto more = chunks;
    more.insert(more.end() - 1, more.front());
    CHECK_FALSE(load_all(*Pair(spec_of(1'000'001)).sink, more));
    auto configuration = chunks;
    configuration.back().back() ^= std::byte{1};
    CHECK_FALSE(load_all(*Pair(spec_of(1'000'001)).sink, configuration));
}

TEST_CASE("a simulated device takes the time that it was given, and only one its serialised part") {
    SimulatedSpec spec = spec_of(10 * kMiB);
    spec.save_rate = 100 * kMiB;
    spec.fixed_ms = 50;
    spec.serialised = 100;
    const auto bus = std::make_shared<SharedBus>();
    const Clock::time_point began = Clock::now();
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < 2; ++i) {
        threads.emplace_back([&, i] {
            const auto source = make_simulated_source({"vf", i}, spec, bus);
            save_all(*source, kMaxDeviceChunkBytes);
        });
    }
    threads.clear();
    // Two devices, one after the other, each 50 ms and 100 ms.
    CHECK(Clock::now() - began >= milliseconds(290));
}

TEST_CASE("a stop ends a device's wait") {
    SimulatedSpec spec = spec_of(kMiB);
    spec.fixed_ms = kMaxSimulatedMs;
    const Pair pair(spec);
    std::stop_source stop;
    std::jthread stopper([&] { stop.request_stop(); });
    CHECK(pair.source->begin(stop.get_token()).error().kind() == ErrorKind::kCancelled);
}

TEST_CASE("a device fails where it was told to") {
    SimulatedSpec spec = spec_of(kMiB);
    spec.fail_save = spec.fail_load = 300'000;
    const Pair pair(spec);
    std::vector<std::byte> chunk(200'000);
    must(pair.source->save(chunk, {}));
    must(pair.sink->load(chunk, {}));
    CHECK(message_of(pair.source->save(chunk, {})).find("300000") != std::string::npos);
}

TEST_CASE("a stream arrives under its name only when it is whole") {
    const TemporaryFolder folder;
    const std::string from = folder / "from";
    const std::string to = folder / "to";
    std::string state(300'000, 'x');
    state += "end";
    write_file(from, state);
    const auto source = must(open_stream_source(from));
    const auto chunks = save_all(*source, 100'000);
    CHECK(chunks.size() == 5);
    {
        const auto broken = must(open_stream_sink(to));
        must(broken->load(chunks[0], {}));
        CHECK_FALSE(broken->load_config(chunks.back(), {}));
    }
    CHECK_FALSE(std::filesystem::exists(to));
    CHECK_FALSE(std::filesystem::exists(to + ".partial"));
    const auto whole = must(open_stream_sink(to));
    must(load_all(*whole, chunks));
    must(whole->commit());
    CHECK(read_file(to) == read_file(from));
    CHECK_FALSE(open_stream_source(folder.path()));
}

}  // namespace
}  // namespace migrate::devices
