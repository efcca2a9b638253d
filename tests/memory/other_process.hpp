// A process of a test that prepares something and then waits until its object ends.
#pragma once

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "base/fd.hpp"
#include "base/raw_syscall.hpp"
#include "catch.hpp"

namespace migrate {

class OtherProcess {
  public:
    // Which of its threads waits. After kSecond the first has ended.
    enum class Waits { kFirst, kSecond };

    // Returns once `prepare` has. The process has none of the test's descriptors but `kept`.
    explicit OtherProcess(const std::function<void()>& prepare, int kept = -1,
                          Waits waits = Waits::kFirst) {
        std::array<int, 2> pair{-1, -1};
        REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) == 0);
        ours_.reset(pair[0]);
        const UniqueFd theirs(pair[1]);
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

}  // namespace migrate
