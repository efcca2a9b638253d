// SPDX-License-Identifier: Apache-2.0
// The sender's machine in its offer.
#include "transport/machine_json.hpp"

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "transport/control_frame.hpp"
#include "transport/offer.hpp"

namespace migrate::transport {
namespace {

Offer offer_with(std::vector<MachinePart> machine) {
    Offer offer{.program = "migrate 9", .regions = {{"ram", kMiB}}};
    offer.machine = std::move(machine);
    return offer;
}

MachinePart part() {
    return {.place = "pcie.0/02.0",
            .type = "virtio-net-pci",
            .name = "net0",
            .properties = {{"mq", "on"}, {"vectors", "4"}}};
}

TEST_CASE("a machine survives its encoding; without one an offer has no key for it") {
    const std::vector<MachinePart> machine{part(),
                                           {.place = "machine", .type = "pc-q35-10.0", .name = {}}};
    CHECK(must(decode_offer(encode(offer_with(machine)))).machine == machine);
    CHECK_FALSE(MessageJson::parse(encode(offer_with({}))).contains("machine"));
    CHECK(must(decode_offer(encode(offer_with({})))).machine.empty());
}

TEST_CASE("a machine that is none is refused") {
    const MessageJson good = MessageJson::parse(encode(offer_with({part()})));
    const auto refuse = [&good](const auto& spoil) {
        MessageJson bad = good;
        spoil(bad["machine"]);
        const auto offer = decode_offer(bad.dump());
        REQUIRE_FALSE(offer);
        CHECK(offer.error().kind() == ErrorKind::kProtocol);
        CHECK(offer.error().message().find("machine") != std::string::npos);
    };
    refuse([](MessageJson& machine) { machine = 1; });
    refuse([](MessageJson& machine) { machine = MessageJson::object(); });
    refuse([](MessageJson& machine) { machine[0] = "pcie.0"; });
    refuse([](MessageJson& machine) { machine[0].erase("place"); });
    refuse([](MessageJson& machine) { machine[0]["place"] = ""; });
    refuse([](MessageJson& machine) { machine[0]["properties"] = MessageJson::array(); });
    refuse([](MessageJson& machine) { machine[0]["properties"]["mq"] = true; });
    refuse([](MessageJson& machine) {
        for (std::size_t i = 0; i <= kMaxPartProperties; ++i) {
            machine[0]["properties"][std::to_string(i)] = "";
        }
    });
    refuse([](MessageJson& machine) {
        machine = MessageJson::array();
        for (std::size_t i = 0; i <= kMaxMachineParts; ++i) machine.push_back({{"place", "p"}});
    });
}

TEST_CASE("a machine's text is limited and safe to print") {
    MachinePart hostile = part();
    hostile.place = std::string(5000, 'p') + "\x1b[2J";
    hostile.type = "a\x1b\nb";
    hostile.properties = {{std::string(300, 'k'), std::string(300, 'v')}};
    const auto machine = must(decode_offer(encode(offer_with({hostile})))).machine;
    REQUIRE(machine.size() == 1);
    CHECK(machine[0].place == std::string(kMaxPartTextBytes, 'p'));
    CHECK(machine[0].type == "a??b");
    CHECK(machine[0].properties ==
          std::map<std::string, std::string>{
              {std::string(kMaxPartTextBytes, 'k'), std::string(kMaxPartTextBytes, 'v')}});
}

TEST_CASE("an offer that would exceed its frame leaves the machine out") {
    MachinePart large = part();
    large.place = std::string(kMaxFrameBody, 'p');
    const std::string body = encode(offer_with({large}));
    CHECK(body.size() <= kMaxFrameBody);
    CHECK(must(decode_offer(body)).machine.empty());
}

}  // namespace
}  // namespace migrate::transport
