// What a migration asks of a QEMU by QMP. Invariant: every change of its settings is in undo()
// before it is made, and until put_back() has taken it back.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "guest/qemu/give_back.hpp"
#include "guest/qemu/run_watch.hpp"
#include "qmp/client.hpp"

namespace migrate::guest {

// Long: a QEMU under load, or stopped by a throttle, answers late.
inline constexpr std::chrono::milliseconds kQmpPatience{20'000};

// A memory backend (query-memdev).
struct MemoryBackend {
    std::string id;
    std::uint64_t size_bytes = 0;
    bool shared = false;
    std::string type;  // "memory-backend-file"; empty: QEMU does not tell
    std::string path;  // its mem-path, a file or a folder; empty: none
};

// Used by one thread at a time. Errors name the command. While there is no connection every call
// tries to make one first.
class Monitor {
  public:
    // A connection to the QMP socket `path`, on which nothing was said yet: to learn whose it is.
    static Result<UniqueFd> dial(const std::string& path);
    // On such a connection.
    static Result<std::unique_ptr<Monitor>> connect(const std::string& path, UniqueFd socket);

    // From here on a requested stop ends every wait with kCancelled, but for those of give_back(),
    // which undoes what was done. What QEMU was told by then it may do all the same. An empty token
    // ends none.
    void obey(std::stop_token stop) { stop_ = std::move(stop); }

    const std::string& address() const { return address_; }
    // As of the first connection.
    pid_t peer_pid() const { return peer_pid_; }
    // "7.2.22"
    std::string version() const;

    // Whether it is of that version or a later one.
    bool is_at_least(std::uint64_t major, std::uint64_t minor) const;

    Result<qmp::Json> ask(std::string_view command,
                          const qmp::Json& arguments = qmp::Json::object());
    // "getfd": QEMU keeps a copy of the descriptor under that name until "closefd".
    Status give_descriptor(std::string_view name, int fd);
    // As run_undo_command() does.
    Status insist(const std::string& command);
    // As Client::await_input().
    Status await_input(std::chrono::milliseconds longest);
    // Reads the events that have come, without waiting.
    Status read_events();
    // What the events say. Every event is seen as long as the connection lasts; reconnect() notes
    // that some may have been missed.
    RunWatch& watch() { return watch_; }
    const RunWatch& watch() const { return watch_; }
    // QEMU's RunState: "running", "paused", "inmigrate", "postmigrate", …
    Result<std::string> run_state();
    // Its last or present migration.
    Result<QemuMigration> migration();
    // As give_back() does, with what the events say.
    Result<GiveBackResult> give_back(const Held& held, std::chrono::milliseconds patience);
    // Puts what give_back() sets while it works into undo(), where it stays.
    Status plan_fence();
    Result<std::vector<MemoryBackend>> memory_backends();
    // Bytes of guest memory, plugged memory included.
    Result<std::uint64_t> memory_bytes();
    // QOM types of the devices it was started with, or that were added, and of its objects.
    Result<std::vector<std::string>> device_types();
    // What its back ends of networks are, in its own words ("info network").
    Result<std::string> networks();
    // What keeps this guest from being migrated at all; empty: nothing.
    Result<std::string> blocked_by();
    Result<std::size_t> cpu_count();

    // How QEMU is to be while its device state goes through a socket: x-ignore-shared, and nothing
    // else that would change the stream. plan_settings() finds out what is to be changed, which is
    // in undo() from then on; change_settings() changes it, and clears `changed` if QEMU refused
    // before anything was changed. kPeer while a migration is in progress.
    Status plan_settings();
    Status change_settings(bool& changed);
    // The commands that put its settings back as they were.
    const std::vector<std::string>& undo() const { return undo_; }
    // What is refused is left out; what did not reach QEMU stays in undo().
    Status put_back();
    // The same, with a warning where it fails.
    void put_back_or_warn();

    // QEMU's devices, and what memory of its own is not shared, as QEMU writes them; at most
    // `limit` bytes. The guest is paused, and plan_settings() was called; the settings are those of
    // before when it returns. `held` says what was done, should it fail.
    Result<std::string> save_state(std::size_t limit, Held& held);
    // The way back, at a QEMU that waits for it. kLostConnection if it ended over it, as QEMU does
    // when it cannot load.
    Status load_state(std::string_view state);

    // After an Error that broke the connection: a new one, if QEMU is there.
    Status reconnect();

  private:
    struct Change {
        std::string_view command;
        qmp::Json arguments;
    };
    Monitor(std::string address, std::unique_ptr<qmp::Client> client);
    Result<qmp::Client*> connected();
    std::uint64_t version_part(const char* part) const;
    Status plan_capabilities();
    Status plan_parameters();
    Result<UniqueFd> give_socket();
    Result<std::string> read_state(int socket, std::size_t limit);
    Status await_migration();

    std::string address_;
    pid_t peer_pid_;
    qmp::Json version_;
    RunWatch watch_;
    std::stop_token stop_;
    std::unique_ptr<qmp::Client> client_;  // null after a reconnect() that failed
    std::vector<Change> changes_;
    std::vector<std::string> undo_;   // in QMP's own words, as a guardian wants them
    std::optional<bool> fence_down_;  // before anything of ours; empty: not known
};

}  // namespace migrate::guest
