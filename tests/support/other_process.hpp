// SPDX-License-Identifier: Apache-2.0
// A process of a test that prepares something and then waits until its object ends.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <tuple>

#include "base/fd.hpp"
#include "base/raw_syscall.hpp"
#include "catch.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate {

class OtherProcess {
  public:
    // The thread that waits. With kSecond the main thread has ended.
    enum class Waits { kFirst, kSecond };

    // Returns once `prepare` has. The process has none of the test's descriptors but `kept`.
    explicit OtherProcess(const std::function<void()>& prepare, int kept = -1,
                          Waits waits = Waits::kFirst) {
        UniqueFd theirs;
        std::tie(ours_, theirs) = unix_socket_pair(SOCK_SEQPACKET);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) serve(theirs.get(), kept, prepare, waits);
        char word = 0;
        CHECK(::recv(ours_.get(), &word, 1, 0) == 1);
    }
    ~OtherProcess() { end(); }
    OtherProcess(const OtherProcess&) = delete;
    OtherProcess& operator=(const OtherProcess&) = delete;

    pid_t pid() const { return pid_; }
    void end() {
        if (pid_ < 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

  private:
    [[noreturn]] static void serve(int socket, int kept, const std::function<void()>& prepare,
                                   Waits waits) {
        for (int fd = 3; fd < 1024; ++fd) {
            if (fd != socket && fd != kept) ::close(fd);
        }
        prepare();
        if (waits == Waits::kFirst) await_end(socket);
        std::thread([socket] {
            const std::string maps = "/proc/" + std::to_string(::getpid()) + "/maps";
            while (std::ifstream(maps).peek() != std::ifstream::traits_type::eof()) ::sched_yield();
            await_end(socket);
        }).detach();
        // This thread alone.
        raw_syscall(SYS_exit, 0);
        ::_exit(1);
    }
    [[noreturn]] static void await_end(int socket) {
        char word = 'r';
        ::send(socket, &word, 1, 0);
        while (::recv(socket, &word, 1, 0) < 0 && errno == EINTR) {
        }
        ::_exit(0);
    }

    UniqueFd ours_;
    pid_t pid_ = -1;
};

// Runs `look` in a process of the user nobody and returns its words, of at most 8191 bytes. Only
// root may call it.
inline std::string as_nobody(const std::function<std::string()>& look) {
    const Pipe pipe;
    const OtherProcess nobody(
        [&] {
            if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
            const std::string words = look();
            if (::write(pipe.writer.get(), words.data(), words.size()) < 0) ::_exit(1);
        },
        pipe.writer.get());
    std::string words(8192, '\0');
    const ssize_t size = ::read(pipe.reader.get(), words.data(), words.size());
    words.resize(static_cast<std::size_t>(size < 0 ? 0 : size));
    return words;
}

}  // namespace migrate
