// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/monitor.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.hpp"
#include "base/wait.hpp"
#include "guest/qemu/answer_fields.hpp"
#include "guest/qemu/undo_commands.hpp"

namespace migrate::guest {
namespace {

using qmp::Json;
using std::chrono::milliseconds;

// QEMU's name for its end of the socket pair.
constexpr std::string_view kFdName = "migrate-state";
// Practically no limit for a local socket; QEMU's default is 128 MiB/s.
constexpr std::uint64_t kStateBandwidth = std::uint64_t{1} << 40;
// A command without an answer is reported after this time.
constexpr milliseconds kSlowAnswer{2'000};
constexpr std::size_t kReadBytes = std::size_t{256} * 1024;

std::string command_line(std::string_view command, const Json& arguments) {
    return Json{{"execute", command}, {"arguments", arguments}}.dump();
}

Status await_ready(const StopWait& wait, int socket, short events) {
    MIGRATE_ASSIGN(const bool ready, wait.wait(socket, events, kQmpPatience));
    if (ready) return {};
    return make_error(ErrorKind::kTimeout, "QEMU's state does not move for {} ms",
                      kQmpPatience.count());
}

// Capabilities that do not change the stream.
bool is_harmless(std::string_view capability) {
    return capability == "events" || capability == "late-block-activate" ||
           capability == "dirty-bitmaps" || capability == "validate-uuid";
}
bool is_wanted(std::string_view capability, Monitor::SharedMemory shared) {
    if (capability == "x-ignore-shared") return shared == Monitor::SharedMemory::kLeftOut;
    return capability == "events" ||
           // The destination takes over the disks when its guest runs, not when it is loaded.
           capability == "late-block-activate";
}

}  // namespace

Result<UniqueFd> Monitor::dial(const std::string& path) {
    return qmp::Client::dial("unix:" + path, kQmpPatience, {});
}

Result<std::unique_ptr<Monitor>> Monitor::connect(const std::string& path, UniqueFd socket) {
    auto client = qmp::Client::adopt(std::move(socket), kQmpPatience, {});
    if (!client && client.error().kind() == ErrorKind::kTimeout) {
        return make_error(ErrorKind::kTimeout,
                          "QEMU does not answer on {}: it serves one client at a time on a socket; "
                          "give it another -qmp socket, or end the client of this one",
                          path);
    }
    if (!client) {
        return std::move(client).error().with_context(fmt::format("cannot connect to {}", path));
    }
    return std::unique_ptr<Monitor>(new Monitor("unix:" + path, *std::move(client)));
}

Monitor::Monitor(std::string address, std::unique_ptr<qmp::Client> client)
    : address_(std::move(address)),
      peer_pid_(client->peer_pid()),
      version_(client->version()),
      client_(std::move(client)) {
    follow();
}

void Monitor::follow() {
    client_->observe([this](const Json& event) { watch_.see(event); });
    client_->notice_slow(kSlowAnswer, [](std::string_view command) {
        log::warning(
            "QEMU has not answered '{}' for {} ms: its storage may hang, or it has no CPU time; "
            "after {} ms this counts as a failure",
            command, kSlowAnswer.count(), kQmpPatience.count());
    });
}

Status Monitor::reconnect() {
    watch_.miss();
    known_.forget(nullptr);
    ++connection_;
    // Close the old connection first: QEMU serves one client at a time.
    client_.reset();
    MIGRATE_ASSIGN(client_, qmp::Client::connect(address_, kQmpPatience, stop_));
    follow();
    return {};
}

Status Monitor::await_input(milliseconds longest) {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    return client->await_input(longest, stop_);
}

Status Monitor::read_events() {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    return client->read_pending();
}

Result<qmp::Client*> Monitor::connected() {
    if (!client_) MIGRATE_TRY(reconnect());
    return client_.get();
}

std::uint64_t Monitor::version_part(const char* part) const {
    const auto qemu = version_.find("qemu");
    return qemu == version_.end() ? 0 : number_of(*qemu, part);
}

std::string Monitor::version() const {
    return fmt::format("{}.{}.{}", version_part("major"), version_part("minor"),
                       version_part("micro"));
}

bool Monitor::is_at_least(std::uint64_t major, std::uint64_t minor) const {
    return std::pair(version_part("major"), version_part("minor")) >= std::pair(major, minor);
}

Monitor::Moment::Moment(Monitor& monitor, const std::vector<Question>& ahead) : monitor_(monitor) {
    monitor_.known_.begin();
    if (const auto client = monitor_.connected()) {
        monitor_.known_.ask_ahead(**client, ahead, kQmpPatience, monitor_.stop_);
    }
}

Monitor::Moment::~Moment() { monitor_.known_.end(monitor_.client_.get()); }

Result<Json> Monitor::ask(std::string_view command, const Json& arguments) {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    auto answer = known_.ask(*client, command, arguments, kQmpPatience, stop_);
    hangs_ = !answer && answer.error().kind() == ErrorKind::kTimeout;
    return answer;
}

Result<Monitor::Sent> Monitor::send_ahead(std::string_view command, const Json& arguments) {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    known_.forget(client);
    MIGRATE_ASSIGN(const auto ticket, client->send_ahead(command, arguments, kQmpPatience, stop_));
    return Sent{std::string(command), ticket, connection_};
}

Result<Json> Monitor::await(const Sent& sent) {
    if (!client_ || sent.connection != connection_) {
        return make_error(ErrorKind::kLostConnection,
                          "QMP command {}: the connection broke before its answer came",
                          sent.command);
    }
    auto answer = client_->await(sent.ticket, sent.command, kQmpPatience, stop_);
    hangs_ = !answer && answer.error().kind() == ErrorKind::kTimeout;
    return answer;
}

Result<Json> Monitor::ask_with_descriptor(std::string_view command, const Json& arguments, int fd) {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    known_.forget(client);
    return client->execute_with_fd(command, arguments, fd, kQmpPatience, stop_);
}

Status Monitor::give_descriptor(std::string_view name, int fd) {
    MIGRATE_TRY(ask_with_descriptor("getfd", {{"fdname", name}}, fd));
    return {};
}

Status Monitor::insist(const std::string& command) {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    known_.forget(client);
    return run_undo_command(*client, command, stop_);
}

Result<std::string> Monitor::run_state() {
    MIGRATE_ASSIGN(const Json answer, ask("query-status"));
    return parse_run_state(answer);
}

Result<QemuMigration> Monitor::migration() {
    MIGRATE_ASSIGN(const Json answer, ask("query-migrate"));
    return parse_migration(answer);
}

Result<GiveBackResult> Monitor::give_back(const Held& held, milliseconds patience) {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    known_.forget(client);
    return guest::give_back(*client, held, &watch_, patience);
}

Status Monitor::plan_fence() {
    if (!fence_down_) {
        MIGRATE_ASSIGN(const Json capabilities, ask("query-migrate-capabilities"));
        MIGRATE_ASSIGN(fence_down_, parse_fence_is_down(capabilities));
    }
    const std::string lower(kLowerFence);
    if (*fence_down_ && std::find(undo_.begin(), undo_.end(), lower) == undo_.end()) {
        undo_.insert(undo_.begin(), lower);
    }
    return {};
}

Result<std::size_t> Monitor::cpu_count() {
    MIGRATE_ASSIGN(const Json answer, ask("query-cpus-fast"));
    return answer.size();
}

Result<std::vector<MemoryBackend>> Monitor::memory_backends() {
    MIGRATE_ASSIGN(const Json answer, ask("query-memdev"));
    std::vector<MemoryBackend> backends;
    for (const Json& entry : answer) {
        MemoryBackend backend{
            text_of(entry, "id"), number_of(entry, "size"), flag_of(entry, "share"), {}, {}};
        const Json where = {{"path", "/objects/" + backend.id}, {"property", "type"}};
        const auto type = ask("qom-get", where);
        if (type && type->is_string()) backend.type = type->get<std::string>();
        const auto path =
            ask("qom-get", {{"path", "/objects/" + backend.id}, {"property", "mem-path"}});
        // A memfd has no mem-path.
        if (path && path->is_string()) backend.path = path->get<std::string>();
        backends.push_back(std::move(backend));
    }
    return backends;
}

Result<std::uint64_t> Monitor::memory_bytes() {
    MIGRATE_ASSIGN(const Json answer, ask("query-memory-size-summary"));
    return number_of(answer, "base-memory") + number_of(answer, "plugged-memory");
}

Result<std::vector<std::string>> Monitor::device_types() {
    std::vector<std::string> types;
    for (const char* folder : {"/machine/peripheral", "/machine/peripheral-anon", "/objects"}) {
        MIGRATE_ASSIGN(const Json answer, ask("qom-list", {{"path", folder}}));
        for (const Json& entry : answer) {
            const std::string type = text_of(entry, "type");
            if (type.starts_with("child<")) types.push_back(type.substr(6, type.size() - 7));
        }
    }
    return types;
}

Result<std::string> Monitor::networks() {
    MIGRATE_ASSIGN(const Json answer,
                   ask("human-monitor-command", {{"command-line", "info network"}}));
    return answer.is_string() ? answer.get<std::string>() : std::string();
}

Status Monitor::plan_settings(SharedMemory shared) {
    const Moment moment(*this, {{"query-migrate-capabilities"}, {"query-migrate-parameters"}});
    changes_.clear();
    MIGRATE_TRY(plan_capabilities(shared));
    return plan_parameters();
}

Status Monitor::plan_capabilities(SharedMemory shared) {
    MIGRATE_ASSIGN(const Json known, ask("query-migrate-capabilities"));
    Json changes = Json::array();
    Json undo = Json::array();
    bool can_ignore_shared = false;
    for (const Json& entry : known) {
        const std::string name = text_of(entry, "capability");
        const bool on = flag_of(entry, "state");
        const bool wanted = is_wanted(name, shared) || (on && is_harmless(name));
        can_ignore_shared = can_ignore_shared || name == "x-ignore-shared";
        if (on == wanted) continue;
        changes.push_back({{"capability", name}, {"state", wanted}});
        undo.push_back({{"capability", name}, {"state", on}});
    }
    if (!can_ignore_shared && shared == SharedMemory::kLeftOut) {
        return make_error("QEMU {} does not know x-ignore-shared, by which its devices travel",
                          version());
    }
    if (changes.empty()) return {};
    changes_.push_back({"migrate-set-capabilities", {{"capabilities", changes}}});
    undo_.push_back(command_line("migrate-set-capabilities", {{"capabilities", undo}}));
    return {};
}

Status Monitor::plan_parameters() {
    MIGRATE_ASSIGN(const Json known, ask("query-migrate-parameters"));
    Json changes = {{"max-bandwidth", kStateBandwidth}};
    Json undo = {{"max-bandwidth", number_of(known, "max-bandwidth")}};
    // The socket does not leave the host, so it needs no TLS.
    if (const std::string tls = text_of(known, "tls-creds"); !tls.empty()) {
        changes["tls-creds"] = "";
        undo["tls-creds"] = tls;
    }
    changes_.push_back({"migrate-set-parameters", std::move(changes)});
    undo_.push_back(command_line("migrate-set-parameters", undo));
    return {};
}

Status Monitor::change_settings(bool& changed) {
    for (const Change& change : changes_) {
        const auto done = ask(change.command, change.arguments);
        if (done) continue;
        // QEMU refused the first change, so nothing was changed.
        if (done.error().kind() == ErrorKind::kPeer && &change == &changes_.front())
            changed = false;
        return done.error();
    }
    return {};
}

Status Monitor::put_back() {
    Status first;
    while (!undo_.empty()) {
        Status done = insist(undo_.back());
        if (!done && done.error().kind() != ErrorKind::kPeer) return done;
        if (!done && first) first = std::move(done);
        undo_.pop_back();
    }
    return first;
}

void Monitor::put_back_or_warn() {
    const Status done = put_back();
    if (!done) {
        log::warning("QEMU's migration settings were not put back: {}", done.error().message());
    }
}

// Returns one end of a new socket pair; QEMU holds the other end under kFdName.
Result<UniqueFd> Monitor::give_socket() {
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        return Error::system("make a socket pair", errno);
    }
    UniqueFd ours(pair[0]);
    const UniqueFd theirs(pair[1]);
    MIGRATE_TRY(give_descriptor(kFdName, theirs.get()));
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    // These are events of earlier migrations.
    client->forget_events("MIGRATION");
    return ours;
}

Result<std::string> Monitor::save_state(std::size_t limit, Held& held) {
    MIGRATE_ASSIGN(const UniqueFd socket, give_socket());
    // These settings are made as late as possible and kept as short as possible: a migration that
    // another client begins under them carries no memory.
    held.settings = true;
    MIGRATE_TRY(change_settings(held.settings));
    // The check is needed because a migration would stop a guest that another client let run.
    MIGRATE_ASSIGN(const std::string now, run_state());
    if (now != "paused") return make_error("the guest is '{}', and not paused", now);
    held.saving = true;
    if (auto begun = ask("migrate", {{"uri", fmt::format("fd:{}", kFdName)}}); !begun) {
        if (begun.error().kind() == ErrorKind::kPeer) held.saving = false;
        return std::move(begun).error();
    }
    MIGRATE_ASSIGN(std::string state, read_state(socket.get(), limit));
    MIGRATE_TRY(await_migration());
    put_back_or_warn();
    held.settings = false;
    MIGRATE_TRY(plan_fence());
    return state;
}

Result<std::string> Monitor::read_state(int socket, std::size_t limit) {
    const StopWait wait(stop_);
    std::string state;
    while (true) {
        MIGRATE_TRY(await_ready(wait, socket, POLLIN));
        const std::size_t used = state.size();
        state.resize(used + kReadBytes);
        const ssize_t size = ::recv(socket, state.data() + used, kReadBytes, 0);
        if (size < 0 && errno != EINTR) return Error::system("read QEMU's state", errno);
        state.resize(used + static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
        if (size == 0) return state;
        if (state.size() > limit) {
            return make_error("QEMU's state has more than {} bytes: is there guest memory in it?",
                              limit);
        }
    }
}

// QEMU 9.1 and later can stay alive if they cannot load the stream, and then say why. Without -S,
// or after another client's `cont`, QEMU would run the guest as soon as it is loaded: `stop`
// prevents that.
Status Monitor::begin_incoming(const std::string& uri) {
    Json arguments = {{"uri", uri}};
    if (is_at_least(9, 1)) arguments["exit-on-error"] = false;
    MIGRATE_ASSIGN(const Sent stop, send_ahead("stop"));
    MIGRATE_TRY(ask("migrate-incoming", arguments));
    MIGRATE_TRY(await(stop));
    return {};
}

Status Monitor::load_state(std::string_view state) {
    MIGRATE_ASSIGN(UniqueFd socket, give_socket());
    MIGRATE_TRY(begin_incoming(fmt::format("fd:{}", kFdName)));
    const StopWait wait(stop_);
    while (!state.empty()) {
        MIGRATE_TRY(await_ready(wait, socket.get(), POLLOUT));
        const ssize_t size =
            ::send(socket.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size >= 0) {
            state.remove_prefix(static_cast<std::size_t>(size));
        } else if (errno == EPIPE || errno == ECONNRESET) {
            break;  // the end of the migration says why
        } else if (errno != EINTR && errno != EAGAIN) {
            return Error::system("write QEMU's state", errno);
        }
    }
    // `socket` stays open until QEMU has read everything: QEMU's main loop treats the end of the
    // stream as an error.
    return await_migration();
}

Status Monitor::load_file(const std::string& path) {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    // These are events of earlier migrations.
    client->forget_events("MIGRATION");
    MIGRATE_TRY(begin_incoming("file:" + path));
    return await_migration();
}

// Waits until QEMU reports that its migration has completed, failed or been cancelled.
Status Monitor::await_migration() {
    MIGRATE_ASSIGN(qmp::Client* const client, connected());
    while (true) {
        MIGRATE_ASSIGN(const Json event, client->wait_event("MIGRATION", kQmpPatience, stop_));
        const std::string status =
            event.contains("data") ? text_of(event["data"], "status") : std::string();
        if (status == "completed") return {};
        if (status != "failed" && status != "cancelled") continue;
        const auto answer = ask("query-migrate");
        const std::string why = answer ? text_of(*answer, "error-desc") : std::string();
        return make_error("QEMU's migration of its devices {}{}{}", status, why.empty() ? "" : ": ",
                          why);
    }
}

}  // namespace migrate::guest
