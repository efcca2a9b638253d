// SPDX-License-Identifier: Apache-2.0
// QEMU's saved devices, and what they lack.
#include "guest/qemu/device_stream.hpp"

#include "guest/fake_qemu.hpp"

namespace migrate::guest {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("saved devices get the machine's name and an empty description") {
    const std::string stream = must(complete_device_stream(FakeQemu::kDevices, "pc"));
    const std::string expected = std::string("QEVM\0\0\0\3", 8) + std::string("\7\0\0\0\2pc", 7) +
                                 std::string("\1devices\0", 9) + std::string("\6\0\0\0\2{}", 7);
    CHECK(stream == expected);
    CHECK(must(machine_of(stream)) == "pc");
}

TEST_CASE("saved devices that are cut off or of another format are refused") {
    const std::string_view whole = FakeQemu::kDevices;
    for (std::size_t size = 0; size < whole.size(); ++size) {
        // The name of a device may end like this, too.
        if (size > 8 && whole[size - 1] == 0) continue;
        CHECK_FALSE(complete_device_stream(whole.substr(0, size), "pc"));
    }
    std::string other(whole);
    other[7] = 4;
    CHECK_FALSE(complete_device_stream(other, "pc"));
}

TEST_CASE("the machine's name is read within the stream") {
    const std::string stream = must(complete_device_stream(FakeQemu::kDevices, "pc-q35-10.0"));
    for (std::size_t size = 0; size < 8 + 5 + 11; ++size) {
        CHECK_FALSE(machine_of(std::string_view(stream).substr(0, size)));
    }
    std::string other = stream;
    other[9] = '\x7F';
    CHECK_FALSE(machine_of(other));
    other = stream;
    other[8] = 1;
    CHECK_FALSE(machine_of(other));
}

TEST_CASE("a QEMU with another machine is told before it gets the devices") {
    const FakeQemu qemu("inmigrate");
    auto monitor = must(Monitor::connect(qemu.path(), must(Monitor::dial(qemu.path()))));
    const DeviceLoader loader = must(DeviceLoader::prepare(*monitor));
    const std::string stream = must(complete_device_stream(FakeQemu::kDevices, "pc-i440fx-9.2"));
    const std::string why = message_of(loader.load(*monitor, stream));
    CHECK_THAT(why, Contains("'pc-i440fx-9.2'"));
    CHECK_THAT(why, Contains("'pc-q35-10.0'"));
    CHECK(qemu.count("migrate-incoming") == 0);
}

}  // namespace
}  // namespace migrate::guest
