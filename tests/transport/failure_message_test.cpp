// SPDX-License-Identifier: Apache-2.0
// A peer's FAILURE, whatever its body is.
#include "catch.hpp"
#include "transport/handshake.hpp"

namespace migrate::transport {
namespace {

TEST_CASE("a failure without a usable reason has one nevertheless") {
    CHECK(decode_failure("{}").reason == "the peer gave no reason");
    CHECK(decode_failure("{\"reason\": \"\"}").reason == "the peer gave no reason");
    CHECK(decode_failure("{\"reason\": 5, \"cancelled\": \"yes\"}").reason ==
          "the peer gave no reason");
    CHECK_FALSE(decode_failure("{\"cancelled\": 1}").cancelled);
    CHECK(decode_failure("{\"cancelled\": true}").cancelled);
}

TEST_CASE("a failure that does not say where the guest runs leaves that unknown") {
    for (const char* body :
         {"", "[]", "{}", "{\"reason\": \"x\"}", "{\"guest-runs\": 0}", "{\"guest-runs\": \"no\"}",
          "{\"guest-runs\": null}", "{\"guest-runs\": false"}) {
        INFO(body);
        CHECK_FALSE(decode_failure(body).guest_runs.has_value());
    }
    CHECK(decode_failure("{\"guest-runs\": false}").guest_runs == false);
    CHECK(decode_failure("{\"guest-runs\": true}").guest_runs == true);
}

}  // namespace
}  // namespace migrate::transport
