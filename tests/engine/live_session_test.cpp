// SPDX-License-Identifier: Apache-2.0
// A guest between a sender and a receiver in one process, over loopback.
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/units.hpp"
#include "catch.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "tests/engine/session_configs.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

TEST_CASE("migrate-continue is taken from the moment on that the wait for it is announced") {
    EventLog receiver_events;
    const auto receiver = must(RecvSession::create(patient_receiver(), receiver_events));

    SendSession* session = nullptr;
    Status continued = Error("the wait was not announced");
    EventLog events;
    // The listener answers on another thread before the session continues.
    events.listen([&](std::string_view, const std::string& data) {
        if (data.find("pre-switchover") == std::string::npos) return;
        continued = std::async(std::launch::async, [&] {
                        Status status = session->continue_switchover();
                        if (!status) session->cancel("it would wait for ever");
                        return status;
                    }).get();
    });
    guest::Machine machine = must(guest::open_machine("workload:2M,rate=10,warm-up=0"));
    SendConfig here = patient_sender();
    here.paths = path_to(receiver->port());
    set_negotiated(here.negotiated, "multifd-packet-size", "64K");
    here.pause_before_switchover = true;
    here.tunables.downtime_limit = kLong;
    const auto sender =
        must(SendSession::create(here, *machine.memory, events, machine.guest.get()));
    session = sender.get();

    Status received;
    std::jthread receiving([&] { received = receiver->run(); });
    const Status sent = sender->run();
    if (!sent) receiver->cancel("the sender failed");
    receiving.join();
    must(continued);
    must(sent);
    must(received);
    // It is over: there is nothing left to continue.
    CHECK_FALSE(sender->continue_switchover());
}

}  // namespace
}  // namespace migrate::engine
