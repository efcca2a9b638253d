// SPDX-License-Identifier: Apache-2.0
// Devices between a sender and a receiver in one process, over loopback.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/fd.hpp"
#include "catch.hpp"
#include "devices/device_spec.hpp"
#include "engine/device_random.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "memory/source/page_source.hpp"
#include "tests/engine/session_configs.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/seed.hpp"
#include "tests/support/temporary_folder.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;
using transport::DeviceStateMode;

struct Run {
    std::string source = "anon:2M,fill=random";
    std::string devices = "sim:vf,count=3,size=3M";
    std::string recv_devices;
    SendConfig send = patient_sender();
    RecvConfig recv = patient_receiver();
    std::uint16_t cut_port = 0;

    Run() {
        set_negotiated(send.negotiated, "multifd-packet-size", "64K");
        set_negotiated(send.negotiated, "multifd-channels", "4");
        send.tunables.downtime_limit = kLong;
    }

    Status sent;
    Status received;
    Report sender;
    Report receiver;

    // `disturb` is run beside, and told where the receiver listens.
    void go(const std::function<void(std::uint16_t)>& disturb = {}) {
        send.devices = must(devices::parse_devices(devices));
        recv.devices = must(devices::parse_devices(recv_devices));
        EventLog events;
        guest::Machine machine = must(guest::open_machine(source));
        const auto receiving = must(RecvSession::create(recv, events));
        send.paths = path_to(receiving->port());
        const auto sending =
            must(SendSession::create(send, *machine.memory, events, machine.guest.get()));
        std::jthread disturbing;
        if (disturb) disturbing = std::jthread([&] { disturb(receiving->port()); });
        std::jthread thread([&] { received = receiving->run(); });
        sent = sending->run();
        if (!sent && sending->report().peer.empty()) receiving->cancel("the sender never came");
        thread.join();
        sender = sending->report();
        receiver = receiving->report();
        guest_ran_on = machine.guest != nullptr && machine.guest->running();
    }
    bool guest_ran_on = false;
};

std::string setting(const Report& report, std::string_view key) {
    for (const auto& [name, value] : report.settings) {
        if (name == key) return std::get<std::string>(value);
    }
    return "";
}

void check_complete(const Run& run, std::size_t devices, std::string_view state) {
    must(run.sent);
    must(run.received);
    CHECK(setting(run.sender, "multifd-device-state") == state);
    CHECK(setting(run.receiver, "multifd-device-state") == state);
    REQUIRE(run.sender.devices.size() == devices);
    REQUIRE(run.receiver.devices.size() == devices);
    for (std::size_t i = 0; i < devices; ++i) {
        CHECK(run.sender.devices[i].complete);
        CHECK(run.receiver.devices[i].complete);
        CHECK(run.sender.devices[i].bytes == run.receiver.devices[i].bytes);
        CHECK(run.sender.devices[i].chunks == run.receiver.devices[i].chunks);
    }
    CHECK(run.sender.transferred == run.receiver.transferred);
    CHECK(run.sender.payload_bytes == run.receiver.payload_bytes);
}

TEST_CASE("devices travel beside an image and beside a guest, on the channels and off them") {
    for (const char* source : {"anon:2M,fill=random", "workload:2M,rate=10,warm-up=0"}) {
        const bool guest = std::string_view(source).starts_with("workload");
        for (const auto mode : {DeviceStateMode::kOn, DeviceStateMode::kOff}) {
            INFO(source << ", " << name_of(mode));
            Run run;
            run.source = source;
            run.send.device_state = mode;
            run.go();
            // The guest's own state is a device in both modes.
            check_complete(run, guest ? 4 : 3, name_of(mode));
            CHECK(run.sender.devices[0].bytes == 3 * kMiB + 20);
            const auto json = nlohmann::json::parse(to_json(run.sender));
            CHECK(json.at("devices").size() == run.sender.devices.size());
            CHECK(json.at("downtime-split-us").contains("devices"));
            CHECK(
                nlohmann::json::parse(to_json(run.receiver)).contains("device-state-buffer-peak"));
        }
    }
}

TEST_CASE("device state is negotiated: auto is on where both sides can") {
    const auto agreed = [](DeviceStateMode there, DeviceStateMode here) {
        Run run;
        run.send.device_state = there;
        run.recv.device_state = here;
        run.go();
        must(run.sent);
        return setting(run.sender, "multifd-device-state");
    };
    CHECK(agreed(DeviceStateMode::kAuto, DeviceStateMode::kAuto) == "on");
    CHECK(agreed(DeviceStateMode::kAuto, DeviceStateMode::kOn) == "on");
    CHECK(agreed(DeviceStateMode::kAuto, DeviceStateMode::kOff) == "off");
    CHECK(agreed(DeviceStateMode::kOff, DeviceStateMode::kAuto) == "off");
    Run legacy;
    legacy.send.detection = ZeroPageDetection::kLegacy;
    legacy.go();
    check_complete(legacy, 3, "off");
}

TEST_CASE("on where it is impossible is an error at the start") {
    EventLog events;
    const auto source = must(memory::open_page_source("anon:1M"));
    SendConfig config = Run().send;
    config.device_state = DeviceStateMode::kOn;
    CHECK_THAT(message_of(SendSession::create(config, *source, events)), Contains("no device"));
    config.devices = must(devices::parse_devices("sim:vf"));
    config.detection = ZeroPageDetection::kLegacy;
    CHECK_THAT(message_of(SendSession::create(config, *source, events)), Contains("legacy"));
}

// The receiver waits for another sender; the sender has the reason.
std::string refusal(Run& run) {
    EventLog events;
    run.send.devices = must(devices::parse_devices(run.devices));
    const guest::Machine machine = must(guest::open_machine(run.source));
    const auto receiving = must(RecvSession::create(run.recv, events));
    run.send.paths = path_to(receiving->port());
    const auto sending =
        must(SendSession::create(run.send, *machine.memory, events, machine.guest.get()));
    std::jthread thread([&] { static_cast<void>(receiving->run()); });
    const Status status = sending->run();
    receiving->cancel("the test is over");
    return message_of(status);
}

TEST_CASE("a receiver refuses by name what it cannot take") {
    Run off;
    off.send.device_state = DeviceStateMode::kOn;
    off.recv.device_state = DeviceStateMode::kOff;
    CHECK_THAT(refusal(off), Contains("multifd-device-state is off"));
    Run on;
    on.send.device_state = DeviceStateMode::kOff;
    on.recv.device_state = DeviceStateMode::kOn;
    CHECK_THAT(refusal(on), Contains("multifd-device-state is on"));
    Run guest_alone;
    guest_alone.source = "workload:2M,rate=10,warm-up=0";
    guest_alone.devices = "";
    guest_alone.recv.device_state = DeviceStateMode::kOn;
    guest_alone.send.device_state = DeviceStateMode::kOff;
    CHECK_THAT(refusal(guest_alone), Contains("multifd-device-state is on"));
    guest_alone.send.device_state = DeviceStateMode::kAuto;
    guest_alone.send.detection = ZeroPageDetection::kLegacy;
    CHECK_THAT(refusal(guest_alone), Contains("multifd-device-state is on"));
    Run stream;
    stream.devices = "file:net=/dev/null";
    CHECK_THAT(refusal(stream), Contains("device net"));
    Run missing;
    missing.recv.devices = must(devices::parse_devices("file:gpu=/dev/null"));
    CHECK_THAT(refusal(missing), Contains("device gpu: the sender does not send it"));
    Run back;
    back.recv.expected_leg = 1;
    back.recv.most_legs = 2;
    back.send.journey = {.leg = 1, .legs = 2, .options = {{"stall-limit", "25h"}}};
    CHECK_THAT(refusal(back), Contains("option stall-limit"));
    Run small;
    small.recv.device_state_buffer = 5 * kMiB;
    CHECK_THAT(refusal(small), Contains("device-state-buffer"));
}

TEST_CASE("a refused offer leaves the receiver's descriptor open for the next sender") {
    const TemporaryFolder folder;
    write_file(folder / "net.state", "of the net");
    write_file(folder / "disk.state", "of the disk");
    const Pipe pipe;
    Run run;
    run.recv.devices = must(devices::parse_devices(
        fmt::format("fd:net={} file:disk={}", pipe.writer.get(), folder / "not-yet/disk")));
    run.send.devices = must(devices::parse_devices("file:net=" + (folder / "net.state") +
                                                   " file:disk=" + (folder / "disk.state")));
    EventLog events;
    const auto source = must(memory::open_page_source("anon:1M"));
    const auto receiving = must(RecvSession::create(run.recv, events));
    run.send.paths = path_to(receiving->port());
    std::jthread thread([&] { run.received = receiving->run(); });
    const auto refused = must(SendSession::create(run.send, *source, events));
    CHECK_THAT(message_of(refused->run()), Contains("device disk"));
    CHECK(::fcntl(pipe.writer.get(), F_GETFD) >= 0);

    REQUIRE(std::filesystem::create_directory(folder / "not-yet"));
    const auto sending = must(SendSession::create(run.send, *source, events));
    must(sending->run());
    thread.join();
    must(run.received);
    std::array<char, 64> arrived{};
    REQUIRE(::read(pipe.reader.get(), arrived.data(), arrived.size()) == 10);
    CHECK(std::string(arrived.data(), 10) == "of the net");
}

TEST_CASE("an error in saving or loading names the device, and the guest runs on at its source") {
    for (const char* fault : {"fail-save=2M", "fail-load=2M"}) {
        for (const auto mode : {DeviceStateMode::kOn, DeviceStateMode::kOff}) {
            INFO(fault << ", " << name_of(mode));
            Run run;
            run.source = "workload:2M,rate=10,warm-up=0";
            run.devices = std::string("sim:good,size=3M sim:bad,size=4M,") + fault;
            run.send.device_state = mode;
            run.go();
            CHECK_THAT(message_of(run.sent), Contains("device bad"));
            CHECK_THAT(message_of(run.received), Contains("device bad"));
            CHECK(run.guest_ran_on);
        }
    }
}

TEST_CASE("a migration that fails leaves the files of the devices that had arrived as they were") {
    const TemporaryFolder folder;
    write_file(folder / "net.state", "new");
    for (const char* source : {"anon:2M,fill=random", "workload:2M,rate=10,warm-up=0"}) {
        for (const char* fault : {"", ",fail-load=8M"}) {
            INFO(source << fault);
            write_file(folder / "net", "old");
            Run run;
            run.source = source;
            // In turn, so that the file's device is complete when the other fails.
            run.send.device_state = DeviceStateMode::kOff;
            run.devices = "file:net=" + (folder / "net.state") + " sim:vf,size=8M" + fault;
            run.recv_devices = "file:net=" + (folder / "net");
            run.go();
            const bool failed = *fault != '\0';
            CHECK(static_cast<bool>(run.received) == !failed);
            CHECK(read_file(folder / "net") == (failed ? "old" : "new"));
            CHECK(folder.names().size() == 2);
        }
    }
}

TEST_CASE("a slow loader's chunks wait within the limit") {
    Run run;
    run.devices = "sim:slow,size=40M,load-rate=100M sim:fast,size=10M";
    run.recv.device_state_buffer = 8 * kMiB;
    run.go();
    check_complete(run, 2, "on");
    CHECK(run.receiver.device_buffer_peak <= 8 * kMiB);
    CHECK(run.receiver.device_buffer_peak > 4 * kMiB);
}

TEST_CASE("a device that takes nothing for longer than io-timeout is no dead peer") {
    const auto mode = GENERATE(DeviceStateMode::kOn, DeviceStateMode::kOff);
    const TemporaryFolder folder;
    const std::string state(32 * kMiB, 's');
    write_file(folder / "net.state", state);
    const Pipe pipe;
    Run run;
    run.devices = "file:net=" + (folder / "net.state");
    run.recv_devices = "fd:net=" + std::to_string(pipe.writer.get());
    run.recv.device_state_buffer = 4 * kMiB;
    set_negotiated(run.send.negotiated, "multifd-channels", "2");
    run.send.io_timeout = run.recv.io_timeout = milliseconds(1000);
    run.send.device_state = mode;
    std::size_t arrived = 0;
    run.go([&](std::uint16_t) {
        std::this_thread::sleep_for(milliseconds(3000));
        std::vector<char> buffer(kMiB);
        pollfd more{pipe.reader.get(), POLLIN, 0};
        while (arrived < state.size() && ::poll(&more, 1, 10'000) > 0) {
            const ssize_t count = ::read(pipe.reader.get(), buffer.data(), buffer.size());
            if (count <= 0) break;
            arrived += static_cast<std::size_t>(count);
        }
    });
    check_complete(run, 1, name_of(mode));
    CHECK(arrived == state.size());
}

// Shuts one of the session's connections, as a network that breaks would.
void shut_one(std::uint16_t port, std::uint64_t which) {
    constexpr int kDescriptors = 256;
    std::vector<int> found;
    const std::string end = ":" + std::to_string(port);
    for (int fd = 3; fd < kDescriptors; ++fd) {
        if (transport::peer_name(fd).ends_with(end)) found.push_back(fd);
    }
    if (!found.empty()) ::shutdown(found[which % found.size()], SHUT_RDWR);
}

TEST_CASE("random devices arrive whole or not at all, under delays and with connections that end") {
    const unsigned seed = test_seed();
    int arrived = 0;
    const int runs = device_runs();
    for (int number = 0; number < runs; ++number) {
        INFO("MIGRATE_TEST_SEED=" << seed << ", run " << number);
        Dice dice(seed + static_cast<unsigned>(number));
        Run run;
        run.source = dice.one_in(2) ? "anon:1M,fill=mixed:50" : "workload:1M,rate=20,warm-up=0";
        run.devices.clear();
        const std::uint64_t count = dice.roll(1, 4);
        for (std::uint64_t i = 0; i < count; ++i) {
            run.devices += fmt::format("sim:dev{},size={},jitter={}ms,serialised={},seed={} ", i,
                                       dice.roll(0, 4 * kMiB), dice.roll(0, 2), dice.roll(0, 100),
                                       dice.roll(0, 1000));
        }
        run.recv.device_state_buffer = (2 * count + 2) * kMiB;
        set_negotiated(run.send.negotiated, "multifd-channels", std::to_string(dice.roll(1, 8)));
        run.send.device_state = dice.one_in(4) ? DeviceStateMode::kOff : DeviceStateMode::kAuto;
        run.send.io_timeout = run.recv.io_timeout = milliseconds(10'000);
        const bool cuts = dice.one_in(2);
        const milliseconds when(dice.roll(0, 40));
        const std::uint64_t which = dice.roll(0, 8);
        run.go([&](std::uint16_t port) {
            if (!cuts) return;
            std::this_thread::sleep_for(when);
            shut_one(port, which);
        });
        if (!cuts) must(run.sent);
        // Either side knows whether all of it is there; a sender may miss the last word.
        if (run.sent) must(run.received);
        if (run.received) {
            ++arrived;
            for (const DeviceReport& device : run.receiver.devices) CHECK(device.complete);
        }
    }
    WARN("seed " << seed << ": " << arrived << " of " << runs << " arrived");
}

}  // namespace
}  // namespace migrate::engine
