// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/known_answers.hpp"

#include "guest/fake_qemu.hpp"
#include "guest/qemu/monitor.hpp"

namespace migrate::guest {
namespace {

using qmp::Json;

std::unique_ptr<Monitor> monitor_of(const FakeQemu& qemu) {
    return must(Monitor::connect(qemu.path(), must(Monitor::dial(qemu.path()))));
}

TEST_CASE("a question is asked once in a moment, and again in the next one") {
    FakeQemu qemu;
    const auto monitor = monitor_of(qemu);
    for (int moment = 1; moment <= 2; ++moment) {
        const Monitor::Moment all(*monitor);
        CHECK(must(monitor->run_state()) == "running");
        {
            const Monitor::Moment inner(*monitor, {{"query-status"}});
            CHECK(must(monitor->run_state()) == "running");
        }
        // The answer is as old as the moment.
        qemu.set_state("paused");
        CHECK(must(monitor->run_state()) == "running");
        CHECK(qemu.count("query-status") == moment);
        qemu.set_state("running");
    }
    qemu.set_state("paused");
    CHECK(must(monitor->run_state()) == "paused");
    CHECK(must(monitor->run_state()) == "paused");
    CHECK(qemu.count("query-status") == 4);
}

TEST_CASE("questions with other arguments are other questions") {
    FakeQemu qemu(
        "running",
        [](const std::string& command, int time, const Json& id) -> std::optional<std::string> {
            if (command != "qom-get") return std::nullopt;
            return FakeQemu::answer(id, time);
        });
    const auto monitor = monitor_of(qemu);
    const Monitor::Moment moment(*monitor);
    CHECK(must(monitor->ask("qom-get", {{"path", "/a"}})) == 1);
    CHECK(must(monitor->ask("qom-get", {{"path", "/b"}})) == 2);
    CHECK(must(monitor->ask("qom-get", {{"path", "/a"}})) == 1);
}

TEST_CASE("a command that may change something makes all answers unknown") {
    for (const char* command : {"stop", "cont", "human-monitor-command", "getfd"}) {
        INFO(command);
        FakeQemu qemu;
        const auto monitor = monitor_of(qemu);
        const Monitor::Moment moment(*monitor, {{"query-status"}, {"query-migrate"}});
        must(monitor->run_state());
        must(monitor->ask(command));
        must(monitor->run_state());
        must(monitor->migration());
        CHECK(qemu.count("query-status") == 2);
        CHECK(qemu.count("query-migrate") == 2);
    }
}

TEST_CASE("commands that were sent ahead are answered in their order") {
    FakeQemu qemu;
    const auto monitor = monitor_of(qemu);
    const Monitor::Moment moment(*monitor, {{"query-status"}});
    const auto stop = must(monitor->send_ahead("stop"));
    const auto state = must(monitor->send_ahead("query-status"));
    must(monitor->await(stop));
    CHECK(must(parse_run_state(must(monitor->await(state)))) == "paused");
    // `stop` makes every answer from before it unknown.
    CHECK(must(monitor->run_state()) == "paused");
    const auto lost = must(monitor->send_ahead("cont"));
    must(monitor->reconnect());
    CHECK(monitor->await(lost).error().kind() == ErrorKind::kLostConnection);
}

TEST_CASE("a refusal is an answer, and a wait that was cancelled is none") {
    std::stop_source stop;
    FakeQemu qemu(
        "running",
        [&](const std::string& command, int time, const Json& id) -> std::optional<std::string> {
            if (command == "query-block") return FakeQemu::refusal(id);
            if (command != "query-status" || time != 1) return std::nullopt;
            stop.request_stop();
            return std::string();
        });
    const auto monitor = monitor_of(qemu);
    const Monitor::Moment moment(*monitor, {{"query-block"}});
    CHECK(monitor->ask("query-block").error().kind() == ErrorKind::kPeer);
    CHECK(monitor->ask("query-block").error().kind() == ErrorKind::kPeer);
    CHECK(qemu.count("query-block") == 1);
    monitor->obey(stop.get_token());
    CHECK(monitor->run_state().error().kind() == ErrorKind::kCancelled);
    monitor->obey({});
    CHECK(must(monitor->run_state()) == "running");
}

TEST_CASE("questions that nobody asks in the end do not disturb what follows") {
    FakeQemu qemu;
    const auto monitor = monitor_of(qemu);
    for (int i = 0; i < 20; ++i) {
        { const Monitor::Moment moment(*monitor, {{"query-status"}, {"query-migrate"}}); }
        CHECK(must(monitor->run_state()) == "running");
    }
}

TEST_CASE("a new connection knows no answers of the old one") {
    FakeQemu qemu;
    const auto monitor = monitor_of(qemu);
    const Monitor::Moment moment(*monitor, {{"query-status"}});
    must(monitor->reconnect());
    qemu.set_state("paused");
    CHECK(must(monitor->run_state()) == "paused");
}

}  // namespace
}  // namespace migrate::guest
