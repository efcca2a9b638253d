#include "base/stop_wait.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "base/long_wait.hpp"
#include "catch.hpp"

namespace migrate {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

struct Pipe {
    Pipe() {
        std::array<int, 2> ends{-1, -1};
        REQUIRE(::pipe(ends.data()) == 0);
        reader = UniqueFd(ends[0]);
        writer = UniqueFd(ends[1]);
    }
    UniqueFd reader;
    UniqueFd writer;
};

TEST_CASE("a wait ends when its descriptor is ready, and when its time is over") {
    const Pipe pipe;
    std::stop_source stop;
    for (const std::stop_token& token : {stop.get_token(), std::stop_token()}) {
        const StopWait wait(token);
        const auto empty = wait.wait(pipe.reader.get(), POLLIN, microseconds(10));
        REQUIRE(empty);
        CHECK_FALSE(*empty);
        const auto none = wait.wait(-1, 0, microseconds(10));
        REQUIRE(none);
        CHECK_FALSE(*none);
        const auto room = wait.wait(pipe.writer.get(), POLLOUT, kLong);
        REQUIRE(room);
        CHECK(*room);
    }
}

TEST_CASE("a stop ends a wait, before it or in it, and every later one") {
    const Pipe pipe;
    std::stop_source stop;
    const StopWait wait(stop.get_token());
    std::jthread stopping([&] { stop.request_stop(); });
    for (int turn = 0; turn < 2; ++turn) {
        const auto woken = wait.wait(pipe.reader.get(), POLLIN, seconds(3600));
        REQUIRE_FALSE(woken);
        CHECK(woken.error().kind() == ErrorKind::kCancelled);
    }
    // Even where the descriptor is ready.
    CHECK_FALSE(wait.wait(pipe.writer.get(), POLLOUT, seconds(3600)));
    const StopWait late(stop.get_token());
    CHECK_FALSE(late.wait(-1, 0, seconds(3600)));
}

}  // namespace
}  // namespace migrate
