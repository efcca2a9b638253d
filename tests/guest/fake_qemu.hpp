// SPDX-License-Identifier: Apache-2.0
// A QEMU of which nothing is true but its run state, its migration and its capabilities, on a QMP
// socket of its own; and which answers otherwise where a test has it so.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "qmp/message.hpp"
#include "tests/catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::guest {

class FakeQemu {
  public:
    // Returns the text to write instead of an answer; the command is then not carried out. Without
    // a text the command is answered as usual. Called on the fake's thread; `time` counts how often
    // the command has come, from 1.
    using Script = std::function<std::optional<std::string>(const std::string& command, int time,
                                                            const qmp::Json& id)>;
    // A script's text that closes the connection.
    static constexpr std::string_view kHangUp = "hang up";

    explicit FakeQemu(std::string state = "running", Script script = {})
        : state_(std::move(state)), script_(std::move(script)) {
        listener_ = listening_unix_socket(path(), 8);
        thread_ = std::jthread([this] { serve(); });
    }
    ~FakeQemu() {
        {
            const std::scoped_lock lock(mutex_);
            ended_ = true;
            ::shutdown(listener_.get(), SHUT_RDWR);
            if (client_) ::shutdown(client_.get(), SHUT_RDWR);
        }
        thread_.join();
    }
    FakeQemu(const FakeQemu&) = delete;
    FakeQemu& operator=(const FakeQemu&) = delete;

    std::string path() const { return folder_ / "qmp"; }
    std::string address() const { return "unix:" + path(); }
    // Any thread.
    std::string state() const {
        const std::scoped_lock lock(mutex_);
        return state_;
    }
    void set_state(std::string state) {
        const std::scoped_lock lock(mutex_);
        state_ = std::move(state);
    }
    void set_migration(qmp::Json migration) {
        const std::scoped_lock lock(mutex_);
        migration_ = std::move(migration);
    }
    void set_greeting(std::string greeting) {
        const std::scoped_lock lock(mutex_);
        greeting_ = std::move(greeting);
    }
    // Returns how many times this command was received.
    int count(std::string_view command) const {
        const std::scoped_lock lock(mutex_);
        return static_cast<int>(std::count(commands_.begin(), commands_.end(), command));
    }
    bool fence_is_up() const {
        const std::scoped_lock lock(mutex_);
        return fence_;
    }

    static constexpr std::uint64_t kMemoryBytes = 1 << 20;
    // The devices that it saves, in QEMU's format.
    static constexpr std::string_view kDevices{"QEVM\0\0\0\3\1devices\0", 17};
    // The number of its descriptor sets.
    std::size_t sets() const {
        const std::scoped_lock lock(mutex_);
        return sets_.size();
    }
    // True if one of them says that its guest was handed over.
    bool is_marked() const {
        const std::scoped_lock lock(mutex_);
        return std::any_of(sets_.begin(), sets_.end(), [](const auto& set) {
            return set.second.note.find("handed over") != std::string::npos;
        });
    }

    // Sends an event now, to the client that is connected.
    void send_event(std::string_view name) {
        const std::scoped_lock lock(mutex_);
        write(event(name));
    }

    static std::string line(const qmp::Json& json) { return json.dump() + "\r\n"; }
    static std::string event(std::string_view name, qmp::Json data = qmp::Json::object()) {
        return line({{"event", name}, {"data", std::move(data)}, {"timestamp", {{"seconds", 1}}}});
    }
    static std::string answer(const qmp::Json& id, const qmp::Json& result) {
        return line({{"return", result}, {"id", id}});
    }
    static std::string refusal(const qmp::Json& id) {
        return line({{"error", {{"class", "GenericError"}, {"desc", "not now"}}}, {"id", id}});
    }

  private:
    void serve() {
        while (true) {
            UniqueFd taken(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            {
                const std::scoped_lock lock(mutex_);
                if (ended_ || !taken) return;
                client_ = std::move(taken);
                write(greeting_);
            }
            converse();
            const std::scoped_lock lock(mutex_);
            client_.reset();
        }
    }

    void converse() {
        std::string text;
        std::array<char, 4096> bytes{};
        while (true) {
            const ssize_t size = receive(bytes);
            if (size <= 0) return;
            text.append(bytes.data(), static_cast<std::size_t>(size));
            for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
                const qmp::Json request = qmp::Json::parse(text.substr(0, end), nullptr, false);
                text.erase(0, end + 1);
                if (!obey(request)) return;
            }
        }
    }

    // Like recv(); keeps a descriptor that comes along.
    ssize_t receive(std::span<char> bytes) {
        iovec part{bytes.data(), bytes.size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t size = ::recvmsg(client_.get(), &message, MSG_CMSG_CLOEXEC);
        const cmsghdr* header = size > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
        if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
            const std::scoped_lock lock(mutex_);
            came_.reset(fd);
        }
        return size;
    }

    struct PassedSet {
        std::string note;
        UniqueFd file;
    };

    // Handles the commands for descriptor sets as QEMU does.
    std::optional<std::string> carry_out_with_file(const std::string& command,
                                                   const qmp::Json& request) {
        const qmp::Json& id = request["id"];
        if (command == "qom-get") return answer(id, "pc-q35-10.0-machine");
        if (command == "add-fd") {
            const int set = next_set_++;
            sets_[set] = {request["arguments"].value("opaque", ""), std::move(came_)};
            return answer(id, {{"fdset-id", set}, {"fd", 9}});
        }
        if (command == "query-fdsets") {
            qmp::Json sets = qmp::Json::array();
            for (const auto& [set, passed] : sets_) {
                sets.push_back({{"fdset-id", set}, {"fds", {{{"opaque", passed.note}}}}});
            }
            return answer(id, sets);
        }
        if (command == "remove-fd") {
            if (sets_.erase(request["arguments"].value("fdset-id", 0)) == 0) return refusal(id);
            return answer(id, qmp::Json::object());
        }
        if (command != "xen-save-devices-state") return std::nullopt;
        const auto set = sets_.find(kFirstSet);
        if (request["arguments"]["filename"] != "/dev/fdset/3" || set == sets_.end()) {
            return refusal(id);
        }
        (void)!::write(set->second.file.get(), kDevices.data(), kDevices.size());
        return answer(id, qmp::Json::object());
    }

    // False: it hangs up.
    bool obey(const qmp::Json& request) {
        const std::string command = request["execute"];
        int time = 0;
        {
            const std::scoped_lock lock(mutex_);
            commands_.push_back(command);
            time = static_cast<int>(std::count(commands_.begin(), commands_.end(), command));
        }
        // Without the mutex: it may ask this object.
        const auto scripted = script_ ? script_(command, time, request["id"]) : std::nullopt;
        const std::scoped_lock lock(mutex_);
        if (scripted == kHangUp) return false;
        write(scripted ? *scripted : carry_out(command, request));
        came_.reset();
        return true;
    }

    void write(const std::string& text) {
        (void)!::send(client_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }

    std::string carry_out(const std::string& command, const qmp::Json& request) {
        const qmp::Json& id = request["id"];
        if (command == "query-status") {
            return answer(id, {{"status", state_}, {"running", state_ == "running"}});
        }
        if (auto done = carry_out_with_file(command, request)) return *std::move(done);
        if (command == "query-migrate") return answer(id, migration_);
        if (command == "query-migrate-capabilities") {
            return answer(id, qmp::Json::array(
                                  {{{"capability", "pause-before-switchover"}, {"state", fence_}},
                                   {{"capability", "x-ignore-shared"}, {"state", false}}}));
        }
        if (command == "query-migrate-parameters") return answer(id, {{"max-bandwidth", 1000}});
        if (command == "query-memory-size-summary") {
            return answer(id, {{"base-memory", kMemoryBytes}});
        }
        if (command == "migrate-set-capabilities") {
            for (const qmp::Json& one : request["arguments"]["capabilities"]) {
                if (one["capability"] == "pause-before-switchover") fence_ = one["state"];
            }
        }
        if (command == "migrate-continue") {
            // QEMU 7.2 does this with a cancel that came while it was about to wait.
            if (migration_.value("status", "none") !=
                request["arguments"]["state"].get<std::string>()) {
                return refusal(id);
            }
            if (request["arguments"]["state"] == "cancelling") {
                migration_["status"] = "cancelled";
                if (state_ == "finish-migrate") state_ = "postmigrate";
            }
        }
        if (command == "stop") {
            if (state_ != "running") return answer(id, qmp::Json::object());
            state_ = "paused";
            return event("STOP") + answer(id, qmp::Json::object());
        }
        if (command == "cont") {
            state_ = "running";
            return event("RESUME") + answer(id, qmp::Json::object());
        }
        return answer(id, qmp::Json::object());
    }

    TemporaryFolder folder_;
    UniqueFd listener_;
    mutable std::mutex mutex_;  // guards what follows but for script_
    std::string state_;
    qmp::Json migration_ = qmp::Json::object();
    bool fence_ = false;
    std::string greeting_ =
        R"({"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}})"
        "\r\n";
    std::vector<std::string> commands_;
    static constexpr int kFirstSet = 3;
    int next_set_ = kFirstSet;
    std::map<int, PassedSet> sets_;
    UniqueFd came_;  // with the command that is carried out
    bool ended_ = false;
    UniqueFd client_;
    const Script script_;
    std::jthread thread_;
};

}  // namespace migrate::guest
