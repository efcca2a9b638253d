// SPDX-License-Identifier: Apache-2.0
// The QMP requests that a migration makes to a QEMU. Invariant: every change of QEMU's settings is
// in undo() from before it is made until put_back() has undone it.
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
#include "guest/qemu/known_answers.hpp"
#include "guest/qemu/run_watch.hpp"
#include "qmp/client.hpp"

namespace migrate::guest {

// The timeout is long because a QEMU under load, or stopped by a throttle, answers late.
inline constexpr std::chrono::milliseconds kQmpPatience{20'000};

// A memory backend (query-memdev).
struct MemoryBackend {
    std::string id;
    std::uint64_t size_bytes = 0;
    bool shared = false;
    std::string type;  // "memory-backend-file"; empty if QEMU does not tell
    std::string path;  // its mem-path, a file or a folder; empty if none
};

// One thread at a time uses it. Errors name the command. If there is no connection, every call
// first tries to make one.
class Monitor {
  public:
    // Connects to the QMP socket `path` without reading or sending anything, so that its owner can
    // be determined first.
    static Result<UniqueFd> dial(const std::string& path);
    // Starts QMP on a connection from dial().
    static Result<std::unique_ptr<Monitor>> connect(const std::string& path, UniqueFd socket);

    // From here on a requested stop ends every wait with kCancelled, but for those of give_back(),
    // which undoes what was done. What QEMU was told by then it may do all the same. An empty token
    // ends none.
    void obey(std::stop_token stop) { stop_ = std::move(stop); }

    const std::string& address() const { return address_; }
    // The process at the other end of the first connection.
    pid_t peer_pid() const { return peer_pid_; }
    // "7.2.22"
    std::string version() const;

    // Returns true if QEMU has that version or a later one.
    bool is_at_least(std::uint64_t major, std::uint64_t minor) const;

    // A moment in which QEMU is asked several things that belong together (KnownAnswers): while one
    // exists, the answer to a question is kept, until ask() or one of the calls below sends a
    // command that may change something.
    class Moment {
      public:
        // Sends `ahead` at once; the answers are read when each question is asked.
        explicit Moment(Monitor& monitor, const std::vector<Question>& ahead = {});
        ~Moment();
        Moment(const Moment&) = delete;
        Moment& operator=(const Moment&) = delete;

      private:
        Monitor& monitor_;
    };

    Result<qmp::Json> ask(std::string_view command,
                          const qmp::Json& arguments = qmp::Json::object());
    // Within a Moment: the next questions are asked anew.
    void look_again() { known_.forget(client_.get()); }

    // A command whose answer was not read yet.
    struct Sent {
        std::string command;
        qmp::Client::Ticket ticket{};
        int connection = 0;  // number of the connection; an answer never comes on another one
    };
    // Sends a command without waiting for its answer, so that QEMU need not wait for the next one.
    // await() gives what ask() would have given; it may be left out.
    Result<Sent> send_ahead(std::string_view command,
                            const qmp::Json& arguments = qmp::Json::object());
    Result<qmp::Json> await(const Sent& sent);
    // The same for a command that takes a descriptor, which still belongs to the caller.
    Result<qmp::Json> ask_with_descriptor(std::string_view command, const qmp::Json& arguments,
                                          int fd);
    // Runs "getfd": QEMU keeps a copy of the descriptor under that name until "closefd".
    Status give_descriptor(std::string_view name, int fd);
    // Does the same as run_undo_command().
    Status insist(const std::string& command);
    // Waits for input as Client::await_input() does.
    Status await_input(std::chrono::milliseconds longest);
    // Reads the events that have arrived, without waiting.
    Status read_events();
    // Readable when events have arrived; -1 without a connection. Changes with reconnect().
    int descriptor() const { return client_ ? client_->descriptor() : -1; }
    // The state according to the events. Every event is seen as long as the connection lasts;
    // reconnect() notes that some may have been missed.
    RunWatch& watch() { return watch_; }
    const RunWatch& watch() const { return watch_; }
    // QEMU's RunState: "running", "paused", "inmigrate", "postmigrate", …
    Result<std::string> run_state();
    // The present migration, or the last one.
    Result<QemuMigration> migration();
    // Does the same as guest::give_back(), with watch().
    Result<GiveBackResult> give_back(const Held& held, std::chrono::milliseconds patience);
    // Adds kLowerFence, which undoes the setting of give_back(), to undo(). It stays there.
    Status plan_fence();
    Result<std::vector<MemoryBackend>> memory_backends();
    // Bytes of guest memory, plugged memory included.
    Result<std::uint64_t> memory_bytes();
    // QOM types of the devices that QEMU was started with, of added devices, and of its objects.
    Result<std::vector<std::string>> device_types();
    // The network back ends, in QEMU's own format ("info network").
    Result<std::string> networks();
    Result<std::size_t> cpu_count();

    // The settings that QEMU needs while it sends or loads its devices, and nothing else that would
    // change the stream: x-ignore-shared, if the stream is that of a migration that leaves memory
    // in shared files out. plan_settings() determines the changes and adds their reversal to
    // undo(); change_settings() makes them, and clears `changed` if QEMU refused before anything
    // was changed. kPeer while a migration is in progress.
    enum class SharedMemory { kLeftOut, kNotConcerned };
    Status plan_settings(SharedMemory shared = SharedMemory::kLeftOut);
    Status change_settings(bool& changed);
    // The commands that restore QEMU's settings; put_back() runs them from last to first.
    const std::vector<std::string>& undo() const { return undo_; }
    // Adds a command to undo(), or removes it from there.
    void plan_undo(std::string command) { undo_.push_back(std::move(command)); }
    void forget_undo(const std::string& command) { std::erase(undo_, command); }
    // Runs undo(), last command first. A command that QEMU refuses is dropped; a command that did
    // not reach QEMU stays in undo().
    Status put_back();
    // Does the same, and logs a warning if it fails.
    void put_back_or_warn();

    // Returns the state of QEMU's devices, and QEMU's own memory that is not shared, in QEMU's
    // format; at most `limit` bytes. The guest is paused, and plan_settings() was called. The old
    // settings are put back before this returns successfully; a failure to do that is only logged.
    // `held` records what was done, in case of an Error.
    Result<std::string> save_state(std::size_t limit, Held& held);
    // Loads such a state into a QEMU that waits for it; the guest stays paused. kPeer if QEMU
    // refused to begin, because it does not wait any more; kLostConnection if it ended while
    // loading, as it does when it cannot load.
    Status load_state(std::string_view state);
    // The same for a state in a file, which QEMU 8.2 and later load from a path.
    Status load_file(const std::string& path);

    // True if QEMU did not answer the last ask() in time.
    bool hangs() const { return hangs_; }
    // Makes a new connection after an Error broke the old one, if QEMU still exists.
    Status reconnect();

  private:
    struct Change {
        std::string_view command;
        qmp::Json arguments;
    };
    Monitor(std::string address, std::unique_ptr<qmp::Client> client);
    void follow();
    Result<qmp::Client*> connected();
    std::uint64_t version_part(const char* part) const;
    Status plan_capabilities(SharedMemory shared);
    Status plan_parameters();
    Result<UniqueFd> give_socket();
    Status begin_incoming(const std::string& uri);
    Result<std::string> read_state(int socket, std::size_t limit);
    Status await_migration();

    std::string address_;
    pid_t peer_pid_;
    qmp::Json version_;
    RunWatch watch_;
    bool hangs_ = false;
    std::stop_token stop_;
    std::unique_ptr<qmp::Client> client_;  // null after a reconnect() that failed
    std::vector<Change> changes_;
    std::vector<std::string> undo_;  // JSON commands, as a guardian needs them
    KnownAnswers known_;
    int connection_ = 0;              // number of client_
    std::optional<bool> fence_down_;  // before any change of ours; empty: not known
};

}  // namespace migrate::guest
