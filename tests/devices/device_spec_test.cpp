// SPDX-License-Identifier: Apache-2.0
#include "devices/device_spec.hpp"

#include <fcntl.h>

#include "base/fd.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::devices {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("the option's words become devices") {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const auto specs = must(
        parse_devices("sim:vf,count=2,preset=paper,size=8M  file:net=/tmp/net.state fd:gpu#7=" +
                      std::to_string(null.get())));
    REQUIRE(specs.size() == 4);
    CHECK(specs[0].id.text() == "vf");
    CHECK(specs[1].id.text() == "vf#1");
    CHECK(specs[1].simulated.size_bytes == 8 * kMiB);
    CHECK(specs[1].simulated.serialised == 78);
    CHECK(specs[2].kind == DeviceKind::kStream);
    CHECK(specs[2].path == "/tmp/net.state");
    CHECK(specs[3].id.text() == "gpu#7");
    CHECK(specs[3].fd == null.get());
    CHECK(must(parse_devices("")).empty());
}

TEST_CASE("a word that is wrong is named") {
    const auto error = [](std::string_view words) { return message_of(parse_devices(words)); };
    CHECK_THAT(error("vf"), Contains("'vf'"));
    CHECK_THAT(error("sim:a b:c"), Contains("'b:c'"));
    CHECK_THAT(error("sim:a/b"), Contains("a/b"));
    CHECK_THAT(error("sim:a sim:a"), Contains("device a is given twice"));
    CHECK_THAT(error("sim:a,count=65"), Contains("count"));
    CHECK_THAT(error("sim:a,colour=red"), Contains("colour"));
    CHECK_THAT(error("sim:a,serialised=101"), Contains("serialised"));
    CHECK_THAT(error("sim:a,preset=fast"), Contains("preset"));
    CHECK_THAT(error("file:a"), Contains("NAME=PATH"));
    CHECK_THAT(error("fd:a=x"), Contains("'fd:a=x'"));
    CHECK_THAT(error("sim:a#4294967296"), Contains("4294967295"));
}

TEST_CASE("a simulated device's words are read back as they are told to a receiver") {
    const SimulatedSpec spec =
        must(parse_simulated("preset=ideal,seed=9,jitter=3,fail-save=1K,fail-load=2K"));
    CHECK(spec.serialised == 0);
    CHECK(must(parse_simulated(spec.text())) == spec);
}

TEST_CASE("a stream that the receiver was told nothing of has no sink, and the error names it") {
    const TemporaryFolder folder;
    const auto announced = must(parse_devices("file:net=/dev/null sim:vf"));
    CHECK_THAT(message_of(check_places(announced, {})), Contains("device net"));
    const auto own = must(parse_devices("file:net=" + (folder / "net")));
    must(check_places(announced, own));
}

TEST_CASE("a device that the receiver expects and the sender does not send is named") {
    const auto own = must(parse_devices("file:net=/dev/null file:gpu=/dev/null"));
    const auto error = [&](std::string_view announced) {
        return message_of(check_places(must(parse_devices(announced)), own));
    };
    CHECK_THAT(error("file:net=/dev/null"), Contains("device gpu: the sender does not send it"));
    CHECK_THAT(error("file:net=/dev/null sim:gpu"), Contains("device gpu: the sender does not"));
    CHECK_THAT(error(""), Contains("device net: the sender does not send it"));
}

TEST_CASE("every announced device has a sink") {
    const TemporaryFolder folder;
    const auto announced = must(parse_devices("file:net=/dev/null sim:vf"));
    const auto own = must(parse_devices("file:net=" + (folder / "net")));
    CHECK(must(make_sinks(announced, own)).size() == 2);
    CHECK_FALSE(make_sources(must(parse_devices("file:net=/nonexistent/net"))));
}

TEST_CASE("a descriptor that is not open is refused with the option's word, before any is opened") {
    const auto parsed = parse_devices("fd:net=987");
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().kind() == ErrorKind::kUsage);
    CHECK_THAT(parsed.error().message(), Contains("'fd:net=987'"));
}

TEST_CASE("a device's end leaves the descriptor that it was made from open") {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const auto specs = must(parse_devices("fd:net=" + std::to_string(null.get())));
    must(make_sinks(specs, specs)).clear();
    must(make_sources(specs)).clear();
    CHECK(::fcntl(null.get(), F_GETFD) == FD_CLOEXEC);
    CHECK(must(make_sinks(specs, specs)).size() == 1);
}

}  // namespace
}  // namespace migrate::devices
