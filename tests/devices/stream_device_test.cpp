// SPDX-License-Identifier: Apache-2.0
#include "devices/stream_device.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::devices {
namespace {

constexpr std::size_t kChunkBytes = 512 * kKiB;

// Returns both ends of a socket or of a pipe.
Pipe make_ends(bool socket) {
    Pipe ends;
    if (socket) std::tie(ends.reader, ends.writer) = unix_socket_pair();
    return ends;
}

TEST_CASE("a sink whose reader has stopped ends at a stop, though its descriptor blocks") {
    for (const bool socket : {false, true}) {
        INFO((socket ? "a socket" : "a pipe"));
        const Pipe ends = make_ends(socket);
        const auto sink = must(duplicate_stream_sink(ends.writer.get()));
        const std::vector<std::byte> chunk(kChunkBytes);
        std::stop_source stop;
        Status loaded;
        std::jthread loading([&] {
            // More than any pipe or socket takes.
            for (int i = 0; i < 16 && loaded; ++i) loaded = sink->load(chunk, stop.get_token());
        });
        pollfd full{ends.writer.get(), POLLOUT, 0};
        while (::poll(&full, 1, 0) > 0) std::this_thread::yield();
        stop.request_stop();
        loading.join();
        REQUIRE_FALSE(loaded);
        CHECK(loaded.error().kind() == ErrorKind::kCancelled);
    }
}

TEST_CASE("a sink writes everything in order into a descriptor that blocks") {
    for (const bool socket : {false, true}) {
        INFO((socket ? "a socket" : "a pipe"));
        Pipe ends = make_ends(socket);
        auto sink = must(duplicate_stream_sink(ends.writer.get()));
        ends.writer.reset();
        std::vector<std::byte> chunk(kChunkBytes);
        for (std::size_t i = 0; i < chunk.size(); ++i) chunk[i] = static_cast<std::byte>(i / 999);
        Status loaded;
        std::jthread loading([&] {
            loaded = sink->load(chunk, {});
            sink.reset();
        });
        std::vector<std::byte> arrived(chunk.size() + 1);
        std::size_t size = 0;
        while (true) {
            const ssize_t count = ::read(ends.reader.get(), &arrived[size], arrived.size() - size);
            if (count <= 0) break;
            size += static_cast<std::size_t>(count);
        }
        loading.join();
        must(loaded);
        arrived.resize(size);
        CHECK(arrived == chunk);
    }
}

TEST_CASE("a FIFO without a writer is opened at once, and the wait for its writer can end") {
    const TemporaryFolder folder;
    const std::string path = folder / "fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    const auto source = must(open_stream_source(path));
    std::stop_source stop;
    std::vector<std::byte> buffer(100);
    Result<std::size_t> saved(std::size_t{0});
    std::jthread saving([&] { saved = source->save(buffer, stop.get_token()); });
    stop.request_stop();
    saving.join();
    REQUIRE_FALSE(saved);
    CHECK(saved.error().kind() == ErrorKind::kCancelled);
}

TEST_CASE("a FIFO's writer may come late, and its end is the device's") {
    const TemporaryFolder folder;
    const std::string path = folder / "fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    const auto source = must(open_stream_source(path));
    std::vector<std::byte> buffer(100);
    Result<std::size_t> saved(std::size_t{0});
    std::jthread saving([&] { saved = source->save(buffer, {}); });
    write_file(path, "its state");
    saving.join();
    CHECK(must(saved) == 9);
    CHECK(must(source->save(buffer, {})) == 0);
}

TEST_CASE("a file is replaced when the device is committed, and not before") {
    const TemporaryFolder folder;
    const std::string path = folder / "state";
    write_file(folder / "source", "new");
    for (const bool commits : {false, true}) {
        write_file(path, "old");
        const auto source = must(open_stream_source(folder / "source"));
        auto sink = must(open_stream_sink(path));
        std::vector<std::byte> buffer(100);
        const std::size_t size = must(source->save(buffer, {}));
        must(sink->load(std::span(buffer).first(size), {}));
        const std::size_t config = must(source->save_config(buffer, {}));
        must(sink->load_config(std::span(buffer).first(config), {}));
        CHECK(read_file(path) == "old");
        if (commits) must(sink->commit());
        sink.reset();
        CHECK(read_file(path) == (commits ? "new" : "old"));
        CHECK(folder.names().size() == 2);
    }
}

}  // namespace
}  // namespace migrate::devices
