// SPDX-License-Identifier: Apache-2.0
#include "bench/baseline.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/fd.hpp"
#include "base/wait.hpp"
#include "bench/child.hpp"
#include "bench/figures.hpp"

namespace migrate::bench {
namespace {

using Clock = Child::Clock;
using std::chrono::milliseconds;

constexpr const char* kIperf3 = "iperf3";
constexpr const char* kOwnProgram = "/proc/self/exe";
// Another process may take the port between its choice and its use.
constexpr int kPortAttempts = 3;
constexpr milliseconds kServerGrace{5'000};

struct Measured {
    double bytes = 0;
    double seconds = 0;
    double send_cpu_ms = 0;
    double recv_cpu_ms = 0;
};

Json run_json(const Measured& measured, const std::string& command) {
    const auto side = [](const char* thread, double ms) -> Json {
        return {{"threads", Json::array({{{"name", thread}, {"run-time", ms}}})}};
    };
    Json send = side("baseline_send", measured.send_cpu_ms);
    send["total-time-us"] = measured.seconds * 1e6;
    send["ram"] = {{"total", measured.bytes}};
    return {{"commands", Json::array({command})},
            {"wall-ms", measured.seconds * 1e3},
            {"cpu-ms", {{"send", measured.send_cpu_ms}, {"recv", measured.recv_cpu_ms}}},
            {"send", std::move(send)},
            {"recv", side("baseline_recv", measured.recv_cpu_ms)}};
}

Status check_end(Result<Ended>& ended, const Child& child, std::string_view who) {
    if (!ended) return std::move(ended).error().with_context(who);
    if (ended->code != 0) {
        return make_error("{} ended with {}:\n{}", who, ended->code, child.words());
    }
    return {};
}

Result<Json> run_bare_loop(const BaselineSpec& spec, const RunPlace& place,
                           Clock::time_point deadline) {
    const std::filesystem::path log = place.folder / "loop.log";
    MIGRATE_ASSIGN(Child child, Child::start(kOwnProgram, {"bench", "--loop", spec.words()}, log));
    Result<Ended> ended = child.wait(deadline, place.stop_fd);
    MIGRATE_TRY(check_end(ended, child, "the bare loop"));
    const Json json = Json::parse(file_content(log), nullptr, false);
    const auto bytes = number_at(json, {"bytes"});
    const auto seconds = number_at(json, {"seconds"});
    if (!bytes || !seconds)
        return make_error("the bare loop printed no figures: {}", child.words());
    return run_json({.bytes = *bytes,
                     .seconds = *seconds,
                     .send_cpu_ms = number_at(json, {"send-cpu-ms"}).value_or(0),
                     .recv_cpu_ms = number_at(json, {"recv-cpu-ms"}).value_or(0)},
                    fmt::format("migrate bench --loop {}", spec.words()));
}

// A TCP port on loopback that is free now; iperf3 cannot choose one itself.
Result<unsigned> free_port() {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = static_cast<sockaddr*>(static_cast<void*>(&address));
    socklen_t length = sizeof address;
    if (!socket || ::bind(socket.get(), generic, length) != 0 ||
        ::getsockname(socket.get(), generic, &length) != 0) {
        return Error::system("find a free port", errno);
    }
    return unsigned{ntohs(address.sin_port)};
}

Result<std::pair<Child, unsigned>> start_server(const RunPlace& place, Clock::time_point deadline) {
    const std::filesystem::path log = place.folder / "server.log";
    for (int attempt = 1;; ++attempt) {
        MIGRATE_ASSIGN(const unsigned port, free_port());
        MIGRATE_ASSIGN(Child server,
                       Child::start(kIperf3,
                                    {"--server", "--one-off", "--bind", "127.0.0.1", "--port",
                                     fmt::format("{}", port), "--forceflush"},
                                    log));
        while (server.running()) {
            if (file_content(log).find("listening") != std::string::npos) {
                return std::pair(std::move(server), port);
            }
            if (Clock::now() > deadline) {
                return make_error(ErrorKind::kTimeout, "{} does not listen", kIperf3);
            }
            if (readable_within(place.stop_fd, milliseconds(2))) {
                return make_error(ErrorKind::kCancelled, "interrupted");
            }
        }
        if (attempt == kPortAttempts) {
            return make_error("{} did not start to listen:\n{}", kIperf3, server.words());
        }
    }
}

Result<Json> run_iperf3(const PlannedVariant& planned, const RunPlace& place,
                        Clock::time_point deadline) {
    MIGRATE_ASSIGN(auto started, start_server(place, deadline));
    auto& [server, port] = started;
    const std::filesystem::path log = place.folder / "client.log";
    const std::string load =
        fmt::format("--parallel {} --bytes {}", planned.baseline->threads, planned.guest);
    MIGRATE_ASSIGN(Child client,
                   Child::start(kIperf3,
                                {"--client", "127.0.0.1", "--port", fmt::format("{}", port),
                                 "--parallel", fmt::format("{}", planned.baseline->threads),
                                 "--bytes", fmt::format("{}", planned.guest), "--json"},
                                log));
    Result<Ended> sent = client.wait(deadline, place.stop_fd);
    MIGRATE_TRY(check_end(sent, client, kIperf3));
    Result<Ended> received = server.wait(Clock::now() + kServerGrace, place.stop_fd);
    MIGRATE_TRY(check_end(received, server, "iperf3 --server"));
    const Json json = Json::parse(file_content(log), nullptr, false);
    const auto bytes = number_at(json, {"end", "sum_received", "bytes"});
    const auto seconds = number_at(json, {"end", "sum_received", "seconds"});
    if (!bytes || !seconds || *seconds <= 0) {
        return make_error("{} printed no figures: {}", kIperf3, client.words());
    }
    return run_json({.bytes = *bytes,
                     .seconds = *seconds,
                     .send_cpu_ms = sent->cpu_ms,
                     .recv_cpu_ms = received->cpu_ms},
                    fmt::format("{} --client 127.0.0.1 --port PORT {}", kIperf3, load));
}

}  // namespace

std::string iperf3_missing() { return program_missing(kIperf3, "iperf3"); }

Result<Json> run_baseline(const PlannedVariant& planned, const RunPlace& place) {
    const Clock::time_point deadline = Clock::now() + milliseconds(place.timeout_ms);
    if (planned.baseline->kind == BaselineSpec::Kind::kIperf3) {
        return run_iperf3(planned, place, deadline);
    }
    BaselineSpec spec = *planned.baseline;
    spec.bytes = planned.guest;
    return run_bare_loop(spec, place, deadline);
}

}  // namespace migrate::bench
