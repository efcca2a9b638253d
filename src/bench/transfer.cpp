// SPDX-License-Identifier: Apache-2.0
#include "bench/transfer.hpp"

#include <fstream>
#include <sstream>

#include "base/fd.hpp"
#include "base/wait.hpp"
#include "bench/agreement.hpp"
#include "bench/child.hpp"
#include "bench/host.hpp"
#include "bench/peak_memory.hpp"

namespace migrate::bench {
namespace {

using Clock = Child::Clock;
using std::chrono::milliseconds;
using Words = std::vector<std::string>;

constexpr const char* kProgram = "/proc/self/exe";
// Timeout for the receiver's end after the sender's.
constexpr milliseconds kReceiverGrace{10'000};

void append(Words& words, const OptionList& options) {
    for (const auto& [name, value] : options) {
        words.push_back("--" + name);
        words.push_back(value);
    }
}

Result<std::string> await_port(Child& receiver, const RunPlace& place, Clock::time_point deadline) {
    while (true) {
        const std::string port = file_content(place.folder / "port");
        if (!port.empty()) return port.substr(0, port.find('\n'));
        if (!receiver.running()) {
            return make_error("the receiver did not start to listen:\n{}", receiver.words());
        }
        if (Clock::now() > deadline) return make_error(ErrorKind::kTimeout, "no receiver listens");
        if (readable_within(place.stop_fd, milliseconds(2))) {
            return make_error(ErrorKind::kCancelled, "interrupted");
        }
    }
}

Result<Json> read_statistics(const std::filesystem::path& path, const RunPlace& place) {
    Json json = Json::parse(file_content(path), nullptr, false);
    const bool whole =
        place.legs == 0 ? json.is_object() : json.is_array() && json.size() == place.legs;
    if (!whole) return make_error("{} left no statistics", path.filename().string());
    return json;
}

// The statistics of every leg's sender, in the order of the legs: the two processes take turns.
Json senders_of(const Json& here, const Json& there) {
    Json legs = Json::array();
    for (std::size_t leg = 0; leg < here.size(); ++leg) {
        legs.push_back(text_at(here[leg], "side") == "send" ? here[leg] : there[leg]);
    }
    return legs;
}

// The peak memory of both processes, if it is asked for.
class Watched {
  public:
    static Result<Watched> start(bool wanted, const Child& sender, const Child& receiver) {
        Watched watched;
        if (wanted) {
            MIGRATE_ASSIGN(watched.send_, PeakMemory::watch(sender.pid()));
            MIGRATE_ASSIGN(watched.recv_, PeakMemory::watch(receiver.pid()));
        }
        return watched;
    }
    Json json() const { return {{"send", send_->bytes()}, {"recv", recv_->bytes()}}; }

  private:
    std::unique_ptr<PeakMemory> send_;
    std::unique_ptr<PeakMemory> recv_;
};

// Fails with every disagreement between the two sides of every leg.
Status check_agreement(const Json& sent, const Json& received) {
    std::vector<std::string> wrong;
    const bool legs = sent.is_array();
    for (std::size_t leg = 0; leg < (legs ? sent.size() : 1); ++leg) {
        const Json& here = legs ? sent[leg] : sent;
        const Json& there = legs ? received[leg] : received;
        const bool sends = text_at(here, "side", "send") == "send";
        for (std::string& sentence : disagreements(sends ? here : there, sends ? there : here))
            wrong.push_back(std::move(sentence));
    }
    if (wrong.empty()) return {};
    return make_error("the statistics of both sides disagree: {}", fmt::join(wrong, "; "));
}

Result<Ended> wait_for(Child& child, std::string_view who, Clock::time_point deadline,
                       int stop_fd) {
    Result<Ended> ended = child.wait(deadline, stop_fd);
    if (!ended) return std::move(ended).error().with_context(who);
    if (ended->code != 0) {
        return make_error("{} ended with {}:\n{}", who, ended->code, child.words());
    }
    return ended;
}

}  // namespace

std::string file_content(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string in_place(std::string text, const RunPlace& place) {
    const auto replace = [&](std::string_view what, const std::string& by) {
        if (const std::size_t at = text.find(what); at != std::string::npos)
            text.replace(at, what.size(), by);
    };
    replace("{image}", place.image.string());
    replace("{scratch}", place.folder.string());
    return text;
}

Result<Json> run_transfer(const PlannedVariant& planned, const RunPlace& place) {
    const Clock::time_point deadline = Clock::now() + milliseconds(place.timeout_ms);
    const std::filesystem::path& folder = place.folder;
    // A receiver whose bench was killed ends, too.
    Words recv{"recv",
               "--listen",
               "127.0.0.1:0",
               "--listen-timeout",
               fmt::format("{}ms", place.timeout_ms),
               "--sink",
               in_place(planned.sink, place)};
    append(recv, planned.variant.recv);
    Words send{"send", "--source", in_place(planned.source, place)};
    append(send, planned.send);
    if (place.legs != 0) {
        for (Words* words : {&recv, &send})
            words->insert(words->end(), {"--repeat", fmt::format("{}", place.legs / 2)});
    }
    Json commands = {fmt::format("migrate {}", fmt::join(recv, " ")),
                     fmt::format("migrate {} --connect 127.0.0.1:PORT", fmt::join(send, " "))};
    for (const char* word : {"--port-file", "port", "--stats", "recv.json"})
        recv.push_back(word[0] == '-' ? word : (folder / word).string());

    MIGRATE_ASSIGN(Child receiver, Child::start(kProgram, recv, folder / "recv.log"));
    MIGRATE_ASSIGN(const std::string port, await_port(receiver, place, deadline));
    MIGRATE_TRY(warm_memory(planned.warm));
    for (const std::string& word : {std::string("--connect"), "127.0.0.1:" + port,
                                    std::string("--stats"), (folder / "send.json").string()})
        send.push_back(word);
    MIGRATE_ASSIGN(Child sender, Child::start(kProgram, send, folder / "send.log"));
    MIGRATE_ASSIGN(const Watched peaks, Watched::start(place.watch_memory, sender, receiver));
    MIGRATE_ASSIGN(const Ended sent, wait_for(sender, "migrate send", deadline, place.stop_fd));
    MIGRATE_ASSIGN(const Ended received, wait_for(receiver, "migrate recv",
                                                  Clock::now() + kReceiverGrace, place.stop_fd));
    MIGRATE_ASSIGN(Json send_json, read_statistics(folder / "send.json", place));
    MIGRATE_ASSIGN(Json recv_json, read_statistics(folder / "recv.json", place));
    MIGRATE_TRY(check_agreement(send_json, recv_json));
    Json run = {{"commands", std::move(commands)},
                {"wall-ms", sent.wall_ms},
                {"cpu-ms", {{"send", sent.cpu_ms}, {"recv", received.cpu_ms}}}};
    if (place.watch_memory) run["peak-memory"] = peaks.json();
    if (place.legs != 0) {
        run["legs"] = senders_of(send_json, recv_json);
    } else {
        run["send"] = std::move(send_json);
        run["recv"] = std::move(recv_json);
    }
    return run;
}

}  // namespace migrate::bench
