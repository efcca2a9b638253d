// SPDX-License-Identifier: Apache-2.0
#include "bench/qemu_peer.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <thread>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "base/wait.hpp"
#include "bench/child.hpp"
#include "bench/host.hpp"
#include "qmp/client.hpp"

namespace migrate::bench {
namespace {

using Clock = Child::Clock;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

constexpr const char* kInstalled = "qemu-system-x86_64";
constexpr milliseconds kAnswerTimeout{10'000};
constexpr milliseconds kPollInterval{5};

// One of the two machines, and its socket.
struct Machine {
    Child process;
    std::unique_ptr<qmp::Client> qmp;

    Result<Json> ask(std::string_view command, const Json& arguments = Json::object()) const {
        return qmp->execute(command, arguments, kAnswerTimeout, {});
    }
};

// The guest's memory, as a value of -object.
std::string backend(const PlannedVariant& planned, const RunPlace& place, bool incoming) {
    const std::string size = fmt::format("id=ram,size={}", planned.guest);
    if (!incoming && planned.image) {
        return fmt::format("memory-backend-file,{},mem-path={},share=on", size,
                           place.image.string());
    }
    if (incoming && planned.sink.starts_with("file:")) {
        return fmt::format("memory-backend-file,{},mem-path={},share=on", size,
                           (place.folder / "arrived.mem").string());
    }
    const bool touched = !incoming && planned.source.find("fill=zero") != std::string::npos;
    // Untouched memory may be larger than the host's.
    return fmt::format("memory-backend-ram,{},{}", size, touched ? "prealloc=on" : "reserve=off");
}

Result<Machine> start_machine(const PlannedVariant& planned, const RunPlace& place, bool incoming,
                              Clock::time_point deadline) {
    const std::string name = incoming ? "recv" : "send";
    const fs::path socket = place.folder / (name + ".qmp");
    std::vector<std::string> words{
        "-S",       "-nodefaults",
        "-display", "none",
        "-machine", "none,memory-backend=ram",
        "-m",       fmt::format("{}M", planned.guest / kMiB),
        "-object",  backend(planned, place, incoming),
        "-qmp",     fmt::format("unix:{},server=on,wait=off", socket.string())};
    if (incoming) words.insert(words.end(), {"-incoming", "defer"});
    MIGRATE_ASSIGN(Child process,
                   Child::start(planned.peer->program, words, place.folder / (name + ".log")));
    while (true) {
        if (!process.running()) {
            return make_error("{} did not start:\n{}", planned.peer->program, process.words());
        }
        if (Clock::now() > deadline) {
            return make_error(ErrorKind::kTimeout, "{} has no socket", planned.peer->program);
        }
        if (fs::exists(socket)) {
            auto client = qmp::Client::connect("unix:" + socket.string(), kAnswerTimeout, {});
            if (client) return Machine{std::move(process), std::move(*client)};
        }
        if (readable_within(place.stop_fd, kPollInterval)) {
            return make_error(ErrorKind::kCancelled, "interrupted");
        }
    }
}

// Returns the difference from the planned variant, in words; "" for none.
Result<std::string> set_up(Machine& machine, const PlannedVariant& planned) {
    const std::string channels = option_in(planned.send, "multifd-channels");
    std::string detection = option_in(planned.send, "zero-page-detection");
    if (detection.empty() || detection == "dsa-accel") detection = "multifd";
    const Json on = {{"capability", "multifd"}, {"state", true}};
    MIGRATE_ASSIGN(const Json enabled,
                   machine.ask("migrate-set-capabilities", {{"capabilities", Json::array({on})}}));
    // QEMU has no "auto"; 2 is its default, and what our "auto" begins with.
    const int count = channels.empty() || channels == "auto" ? 2 : std::atoi(channels.c_str());
    MIGRATE_ASSIGN(const Json set,
                   machine.ask("migrate-set-parameters",
                               {{"multifd-channels", count}, {"max-bandwidth", 1024 * kGiB}}));
    // QEMU has this since 9.0; before, its main thread looks for zeros, as with "legacy".
    const Result<Json> chosen =
        machine.ask("migrate-set-parameters", {{"zero-page-detection", detection}});
    if (chosen) return std::string();
    if (chosen.error().kind() != ErrorKind::kPeer) return chosen.error();
    return std::string("this QEMU has no zero-page-detection: its main thread looks for zeros");
}

Result<int> listening_port(Machine& machine) {
    MIGRATE_ASSIGN(const Json incoming,
                   machine.ask("migrate-incoming", {{"uri", "tcp:127.0.0.1:0"}}));
    MIGRATE_ASSIGN(const Json state, machine.ask("query-migrate"));
    const auto addresses = state.find("socket-address");
    if (addresses == state.end() || !addresses->is_array() || addresses->empty()) {
        return make_error("QEMU does not say where it listens: {}", state.dump());
    }
    return std::atoi(text_at(addresses->front(), "port").c_str());
}

// CPU time that a process used so far, with its ended threads.
double cpu_ms_of(pid_t pid) {
    const std::string stat = file_content(fmt::format("/proc/{}/stat", pid));
    std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
    std::string skipped;
    constexpr int kFieldsBeforeUtime = 11;
    for (int i = 0; i < kFieldsBeforeUtime; ++i) fields >> skipped;
    double user = 0;
    double system = 0;
    fields >> user >> system;
    return (user + system) * 1e3 / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// Polls until the migration has ended on that side.
Result<Json> await_end(Machine& machine, Clock::time_point deadline, int stop_fd) {
    while (true) {
        MIGRATE_ASSIGN(Json state, machine.ask("query-migrate"));
        const std::string status = text_at(state, "status");
        if (status == "completed") return state;
        if (status == "failed" || status == "cancelled") {
            return make_error("QEMU's migration {}: {}", status, text_at(state, "error-desc"));
        }
        if (Clock::now() > deadline) {
            return make_error(ErrorKind::kTimeout, "QEMU took longer than the scenario's timeout");
        }
        if (readable_within(stop_fd, kPollInterval)) {
            return make_error(ErrorKind::kCancelled, "interrupted");
        }
    }
}

std::string version_text(const Machine& machine) {
    const Json& version = machine.qmp->version();
    const auto qemu = version.find("qemu");
    if (qemu == version.end()) return "QEMU";
    return fmt::format("QEMU {}.{}.{}", qemu->value("major", 0), qemu->value("minor", 0),
                       qemu->value("micro", 0));
}

}  // namespace

std::string qemu_missing() { return program_missing(kInstalled, "qemu-system-x86"); }

Peer qemu_10() {
    Peer peer{.name = "qemu-10", .label = "QEMU 10", .program = {}, .major = "10"};
    if (const char* given = std::getenv("MIGRATE_BENCH_QEMU"); given != nullptr && *given != 0) {
        peer.program = given;
    } else {
        const char* cache = std::getenv("XDG_CACHE_HOME");
        const char* home = std::getenv("HOME");
        const bool cached = cache != nullptr && *cache != 0;
        const fs::path folder =
            cached ? fs::path(cache) : fs::path(home != nullptr ? home : "/") / ".cache";
        peer.program = (folder / "migrate/test-systems/qemu-10" / kInstalled).string();
    }
    if (::access(peer.program.c_str(), X_OK) != 0) {
        peer.missing = fmt::format(
            "there is no {}: scripts/fetch-test-systems qemu-10 unpacks one, or MIGRATE_BENCH_QEMU "
            "names one",
            peer.program);
    }
    return peer;
}

Result<Json> run_qemu(const PlannedVariant& planned, const RunPlace& place) {
    const Clock::time_point deadline = Clock::now() + milliseconds(place.timeout_ms);
    MIGRATE_ASSIGN(Machine receiver, start_machine(planned, place, true, deadline));
    MIGRATE_ASSIGN(Machine sender, start_machine(planned, place, false, deadline));
    const std::string version = version_text(sender);
    if (!version.starts_with(fmt::format("QEMU {}", planned.peer->major))) {
        return make_error("{} is {}, and not version {}", planned.peer->program, version,
                          planned.peer->major);
    }
    MIGRATE_ASSIGN(const std::string note, set_up(receiver, planned));
    MIGRATE_ASSIGN([[maybe_unused]] const std::string same, set_up(sender, planned));
    MIGRATE_ASSIGN(const int port, listening_port(receiver));
    MIGRATE_TRY(warm_memory(planned.warm));
    const double send_before = cpu_ms_of(sender.process.pid());
    const double recv_before = cpu_ms_of(receiver.process.pid());
    const Clock::time_point began = Clock::now();
    MIGRATE_ASSIGN(const Json started,
                   sender.ask("migrate", {{"uri", fmt::format("tcp:127.0.0.1:{}", port)}}));
    MIGRATE_ASSIGN(Json sent, await_end(sender, deadline, place.stop_fd));
    MIGRATE_ASSIGN(Json received, await_end(receiver, deadline, place.stop_fd));
    const std::chrono::duration<double, std::milli> wall = Clock::now() - began;
    return Json{{"commands",
                 Json::array({fmt::format("{} -S -machine none -object {}", planned.peer->program,
                                          backend(planned, place, false)),
                              fmt::format("{} -S -machine none -object {} -incoming defer",
                                          planned.peer->program, backend(planned, place, true))})},
                {"peer", version},
                {"peer-note", note},
                {"wall-ms", wall.count()},
                {"cpu-ms",
                 {{"send", cpu_ms_of(sender.process.pid()) - send_before},
                  {"recv", cpu_ms_of(receiver.process.pid()) - recv_before}}},
                {"send", std::move(sent)},
                {"recv", std::move(received)}};
}

}  // namespace migrate::bench
