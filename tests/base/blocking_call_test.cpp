// SPDX-License-Identifier: Apache-2.0
// Calls that return, that throw, and that never return.
#include "base/blocking_call.hpp"

#include <future>
#include <stdexcept>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate {
namespace {

using std::chrono::milliseconds;

// A call that waits until the test lets it go.
class Hung {
  public:
    std::function<Result<int>()> call() {
        return [released = released_.get_future().share()]() -> Result<int> {
            released.wait();
            return 1;
        };
    }
    ~Hung() { released_.set_value(); }

  private:
    std::promise<void> released_;
};

TEST_CASE("a call's result and its error are the caller's") {
    const auto result = call_within<int>("count", {}, []() -> Result<int> { return 42; });
    REQUIRE(result);
    CHECK(*result == 42);
    const auto error = call_within<int>(
        "count", {}, []() -> Result<int> { return Error(ErrorKind::kUsage, "no number"); });
    REQUIRE_FALSE(error);
    CHECK(error.error().kind() == ErrorKind::kUsage);
}

TEST_CASE("an exception of a call is an error") {
    const auto result = call_within<int>(
        "count", {}, []() -> Result<int> { throw std::runtime_error("out of numbers"); });
    REQUIRE_FALSE(result);
    CHECK(result.error().message() == "count: out of numbers");
}

TEST_CASE("a call that does not return is left behind after its timeout") {
    Hung hung;
    const auto result = call_within<int>("count", {.timeout = milliseconds(20)}, hung.call());
    REQUIRE_FALSE(result);
    CHECK(result.error().kind() == ErrorKind::kTimeout);
    CHECK(result.error().message() == "count: no answer within 20 ms");
    CHECK(calls_left_behind());
}

TEST_CASE("a call whose caller goes on says when it has ended") {
    std::promise<void> ended;
    auto call = OngoingCall<int>::start(
        "count", []() -> Result<int> { return 7; }, [&] { ended.set_value(); });
    REQUIRE(call);
    ended.get_future().wait();
    CHECK(must(call->wait({})) == 7);
}

TEST_CASE("a call whose caller has gone tells nobody that it has ended") {
    std::promise<void> released;
    const auto destroyed = std::make_shared<std::promise<void>>();
    bool told = false;
    {
        // Destroyed with the call, whose thread has nothing left to do then but to say so.
        const auto last =
            std::shared_ptr<void>(nullptr, [destroyed](void*) { destroyed->set_value(); });
        auto call = OngoingCall<int>::start(
            "count",
            [last, gate = released.get_future().share()]() -> Result<int> {
                gate.wait();
                return 1;
            },
            [&] { told = true; });
        REQUIRE(call);
    }
    CHECK(calls_left_behind());
    released.set_value();
    destroyed->get_future().wait();
    CHECK_FALSE(told);
}

TEST_CASE("a call that does not return is left behind at a stop") {
    Hung hung;
    std::stop_source stop;
    stop.request_stop();
    const auto result = call_within<int>("count", {.stop = stop.get_token()}, hung.call());
    REQUIRE_FALSE(result);
    CHECK(result.error().kind() == ErrorKind::kCancelled);
}

}  // namespace
}  // namespace migrate
