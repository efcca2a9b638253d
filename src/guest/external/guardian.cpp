// SPDX-License-Identifier: Apache-2.0
#include "guest/external/guardian.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

#include "base/descriptors.hpp"
#include "base/log.hpp"
#include "base/output.hpp"
#include "base/raw_syscall.hpp"
#include "base/thread.hpp"
#include "base/wait.hpp"
#include "guest/qemu/undo_commands.hpp"
#include "qmp/message.hpp"

namespace migrate::guest {
namespace {

// An undo with all its commands takes a few kilobytes. The child's buffer has this size, so a
// longer message would arrive cut off.
constexpr std::size_t kMaxMessage = std::size_t{64} * 1024;
// The descriptors that the child keeps in addition to standard error. The descriptor of the claim's
// lock follows them; the child only holds it open.
constexpr int kSocket = 3;
constexpr int kProcess = 4;
constexpr unsigned kLongestWrite = 2;  // seconds for a write to standard error
// Time that the child may take to accept an Undo, or to end when there is nothing to undo. It does
// both at once unless another process has stopped it.
constexpr std::chrono::seconds kAnswer{5};

// MessagePack and not JSON: the name of a cgroup may contain bytes that are not UTF-8, which JSON
// cannot carry.
std::string encode(const Undo& undo) {
    qmp::Json json = {
        {"wake", undo.wake}, {"files", qmp::Json::array()}, {"commands", qmp::Json::array()}};
    json["held"] = {{"stopped", undo.held.stopped},
                    {"settings", undo.held.settings},
                    {"saving", undo.held.saving},
                    {"before", undo.held.before},
                    {"saved", undo.held.saved}};
    for (const auto& [path, content] : undo.files) json["files"].push_back({path, content});
    for (const std::string& command : undo.commands) json["commands"].push_back(command);
    std::string message;
    qmp::Json::to_msgpack(json, message);
    return message;
}

// The text was written by encode(), so it needs no checks.
Undo decode(const std::string& text) {
    Undo undo;
    const qmp::Json json = qmp::Json::from_msgpack(text, true, false);
    if (!json.is_object()) return undo;
    undo.wake = json["wake"].get<bool>();
    const qmp::Json& held = json["held"];
    undo.held = {held["stopped"].get<bool>(), held["settings"].get<bool>(),
                 held["saving"].get<bool>(), held["before"].get<std::string>(),
                 held["saved"].get<std::string>()};
    for (const auto& file : json["files"]) {
        undo.files.emplace_back(file[0].get<std::string>(), file[1].get<std::string>());
    }
    for (const auto& command : json["commands"]) {
        undo.commands.push_back(command.get<std::string>());
    }
    return undo;
}

int send_signal(int process, int number) {
    return static_cast<int>(raw_syscall(SYS_pidfd_send_signal, process, number, nullptr, 0U));
}

// If standard error hangs, SIGALRM ends this process instead of leaving it behind.
void say(const std::string& text) {
    sigset_t alarm;
    ::sigemptyset(&alarm);
    ::sigaddset(&alarm, SIGALRM);
    ::signal(SIGALRM, SIG_DFL);
    ::sigprocmask(SIG_UNBLOCK, &alarm, nullptr);
    ::alarm(kLongestWrite);
    output::to_stderr(text, Importance::kImportant);
}

std::string outcome_of(const Undo& undo, const Result<PutRight>& done) {
    if (!done) return "the guest cannot be restored: " + done.error().message();
    if (!done->continued) {
        return "the guest cannot be restored: " + done->continued.error().message();
    }
    const GiveBackResult& guest = done->guest;
    if (undo.held.stopped && guest.guest == GivenBack::kElsewhere) {
        return fmt::format(
            "another client of QEMU has handed over the guest, which stays in the state '{}'",
            guest.state);
    }
    if (undo.held.stopped && guest.guest == GivenBack::kLeft) {
        return fmt::format("another client of QEMU has changed the guest's state, which stays '{}'",
                           guest.state);
    }
    return done->commands ? "the guest was restored"
                          : "the guest was restored, but not all of QEMU's settings: " +
                                done->commands.error().message();
}

void put_right(const Undo& undo, const std::string& qmp, bool has_process) {
    for (const auto& [path, content] : undo.files) static_cast<void>(write_knob(path, content));
    if (undo.wake && has_process) send_signal(kProcess, SIGCONT);
    if (!undo.held.stopped && undo.commands.empty()) return;
    const auto guest_stays = [has_process](std::chrono::milliseconds time) {
        return has_process && !readable_within(kProcess, time);
    };
    const auto done = put_qemu_right(qmp, undo.held, undo.commands, guest_stays);
    say(fmt::format("migrate: guardian: {}\n", outcome_of(undo, done)));
}

// Body of the child. It is a fork of a process that may have threads, so it touches none of their
// locks. It ends if it runs out of memory: an exception must not continue in the parent's
// functions.
[[noreturn]] void guard(int socket, const ProcessClaim& claim, const std::string& qmp,
                        std::string message, std::string last) noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    static_cast<void>(::setsid());
    // The child keeps no descriptor of the main process except the claim's. So when the main
    // process is killed, its ports are free and its peers see the end of their connections.
    keep_only(std::array{socket, claim ? claim.process() : -1, claim ? claim.lock() : -1});
    const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(nowhere, STDIN_FILENO);
    ::dup2(nowhere, STDOUT_FILENO);
    ::close(nowhere);

    std::size_t last_bytes = 0;
    while (true) {
        const ssize_t size = ::recv(kSocket, message.data(), message.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) break;
        std::swap(message, last);
        last_bytes = static_cast<std::size_t>(size);
    }
    try {
        last.resize(last_bytes);
        if (!last.empty()) put_right(decode(last), qmp, static_cast<bool>(claim));
    } catch (...) {
        ::_exit(1);
    }
    ::_exit(0);
}

Status send_to_child(int socket, const std::string& message) {
    if (message.size() > kMaxMessage) {
        return make_error(
            "tell the process that guards the guest: the steps that restore it take {} bytes, and "
            "at most {} are supported",
            message.size(), kMaxMessage);
    }
    while (::send(socket, message.data(), message.size(), MSG_NOSIGNAL) < 0) {
        if (errno == EINTR) continue;
        return Error::system("tell the process that guards the guest",
                             errno == EAGAIN ? ETIMEDOUT : errno);
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Guardian>> Guardian::start(ProcessClaim claim, const std::string& qmp) {
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        return Error::system("make a socket pair", errno);
    }
    UniqueFd ours(pair[0]);
    const UniqueFd theirs(pair[1]);
    const timeval longest{kAnswer.count(), 0};
    if (::setsockopt(ours.get(), SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest) != 0) {
        return Error::system("set the timeout of a socket", errno);
    }
    // The buffers are allocated here, where lack of memory is an error of the start.
    std::string message(kMaxMessage, '\0');
    std::string last(kMaxMessage, '\0');
    const pid_t child = ::fork();
    if (child < 0) return start_error("the process that guards the guest", errno);
    if (child == 0) guard(theirs.get(), claim, qmp, std::move(message), std::move(last));
    return std::unique_ptr<Guardian>(new Guardian(std::move(ours), std::move(claim), child));
}

Guardian::~Guardian() {
    // After act() the child may take long, so do not wait for it.
    if (!socket_) return;
    if (!entrust({})) return;
    socket_.reset();
    const UniqueFd child(static_cast<int>(raw_syscall(SYS_pidfd_open, child_, 0U)));
    if (child && readable_within(child.get(), kAnswer)) {
        static_cast<void>(::waitpid(child_, nullptr, 0));
    } else {
        end_child();
    }
}

void Guardian::end_child() {
    // The child carries out the last Undo when the socket closes, so it must be gone by then.
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
    }
    socket_.reset();
}

Status Guardian::entrust(const Undo& undo) {
    Status told = send_to_child(socket_.get(), encode(undo));
    // An earlier Undo may be wrong by now, so it must not be carried out.
    if (!told && socket_) end_child();
    return told;
}

Status Guardian::signal(int number) const {
    if (send_signal(claim_.process(), number) == 0) return {};
    return Error::system("signal the guest's process", errno);
}

void Guardian::act() { socket_.reset(); }

bool Guardian::alive() const { return !ends_within(std::chrono::milliseconds(0)); }

bool Guardian::ends_within(std::chrono::milliseconds time) const {
    return claim_ && readable_within(claim_.process(), time);
}

Status write_knob(const std::string& path, const std::string& content) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) return Error::system("open " + path, errno);
    if (::write(file.get(), content.data(), content.size()) ==
        static_cast<ssize_t>(content.size())) {
        return {};
    }
    return Error::system("write to " + path, errno);
}

}  // namespace migrate::guest
