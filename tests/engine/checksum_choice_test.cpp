// SPDX-License-Identifier: Apache-2.0
#include "engine/checksum_choice.hpp"

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

using transport::PayloadChecksums;

TEST_CASE("packets have checksums, but for TLS and for a sink that keeps nothing") {
    CHECK(choose_checksums(AutoOnOff::kAuto, {}).limit() == PayloadChecksums::kSome);
    CHECK(choose_checksums(AutoOnOff::kOn, {true, true}).limit() == PayloadChecksums::kAll);
    for (const auto& [option, facts] : {std::pair(AutoOnOff::kOff, ChecksumFacts{}),
                                        std::pair(AutoOnOff::kAuto, ChecksumFacts{true, false}),
                                        std::pair(AutoOnOff::kAuto, ChecksumFacts{false, true})}) {
        const ChecksumChoice choice = choose_checksums(option, facts);
        CHECK(choice.limit() == PayloadChecksums::kNone);
        CHECK_FALSE(choice.reason.empty());
    }
}

TEST_CASE("a sender takes each answer that its option allows, and names the reason for none") {
    CHECK(must(take_checksum_answer(AutoOnOff::kAuto, false, true)).limit() ==
          PayloadChecksums::kSome);
    CHECK(must(take_checksum_answer(AutoOnOff::kOn, true, true)).limit() == PayloadChecksums::kAll);
    CHECK(must(take_checksum_answer(AutoOnOff::kOff, false, false)).reason ==
          "packet-checksum=off");
    CHECK(must(take_checksum_answer(AutoOnOff::kAuto, false, std::nullopt)).reason ==
          "the receiver does not know packet-checksum");
    CHECK(must(take_checksum_answer(AutoOnOff::kAuto, true, false)).reason ==
          "TLS protects every byte");
    CHECK(must(take_checksum_answer(AutoOnOff::kAuto, false, false)).reason ==
          "the sink keeps nothing");
    for (const auto answer : {std::optional<bool>(), std::optional(false)}) {
        CHECK(take_checksum_answer(AutoOnOff::kOn, false, answer).error().kind() ==
              ErrorKind::kPeer);
    }
    CHECK(take_checksum_answer(AutoOnOff::kOff, false, true).error().kind() ==
          ErrorKind::kProtocol);
}

}  // namespace
}  // namespace migrate::engine
