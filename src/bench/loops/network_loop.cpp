// SPDX-License-Identifier: Apache-2.0
#include "bench/loops/network_loop.hpp"

#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "base/page_buffer.hpp"
#include "base/units.hpp"
#include "bench/host.hpp"
#include "bench/loops/loop_threads.hpp"
#include "memory/userfaultfd.hpp"

namespace migrate::bench {
namespace {

constexpr std::uint64_t kLargestClaim = 64 * kMiB;
struct Header {
    std::uint64_t offset = 0;
    std::array<std::uint64_t, 3> reserved{};  // as large as a small packet header
};

// Ends the process: it has no other work than this loop.
[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::_Exit(1);
}

// The other channels would wait for the one that is missing.
void cannot_start() { die("start a thread"); }

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

sockaddr* generic(sockaddr_in& address) {
    return static_cast<sockaddr*>(static_cast<void*>(&address));
}

Result<UniqueFd> listen_on_loopback(unsigned backlog, sockaddr_in& address) {
    UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!listener) return Error::system("make a socket", errno);
    address = {
        .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t length = sizeof address;
    if (::bind(listener.get(), generic(address), length) != 0 ||
        ::getsockname(listener.get(), generic(address), &length) != 0 ||
        ::listen(listener.get(), static_cast<int>(backlog)) != 0) {
        return Error::system("listen", errno);
    }
    return listener;
}

// Large claims at first, small ones at the end, so that the channels end together.
class Cursor {
  public:
    explicit Cursor(const NetworkLoop& loop) : loop_(loop) {}

    // [first, end) of the next claim; empty at the end.
    std::pair<std::uint64_t, std::uint64_t> claim() {
        std::uint64_t first = next_.load();
        std::uint64_t end = 0;
        do {
            const std::uint64_t left = loop_.bytes - first;
            const std::uint64_t share = left / (2 * loop_.channels) / loop_.chunk * loop_.chunk;
            end = first + std::min(left, std::clamp(share, loop_.chunk, kLargestClaim));
        } while (!next_.compare_exchange_weak(first, end));
        return {first, end};
    }

  private:
    const NetworkLoop& loop_;
    std::atomic<std::uint64_t> next_{0};
};

void send_all(int socket, Header header, std::span<std::byte> payload) {
    std::array<iovec, 2> parts{{{&header, sizeof header}, {payload.data(), payload.size()}}};
    std::size_t at = 0;
    while (at < parts.size()) {
        msghdr message{};
        message.msg_iov = parts.data() + at;
        message.msg_iovlen = parts.size() - at;
        const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
        if (sent < 0) die("sendmsg");
        auto left = static_cast<std::size_t>(sent);
        while (at < parts.size() && left >= parts[at].iov_len) left -= parts[at++].iov_len;
        if (at < parts.size()) {
            parts[at].iov_base = static_cast<std::byte*>(parts[at].iov_base) + left;
            parts[at].iov_len -= left;
        }
    }
}

void send_channel(sockaddr_in address, const NetworkLoop& loop, const Mapping& source,
                  Cursor& cursor) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    if (::connect(socket.get(), generic(address), sizeof address) != 0) die("connect");
    if (::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        die("TCP_NODELAY");
    for (auto [first, end] = cursor.claim(); first < end; std::tie(first, end) = cursor.claim()) {
        for (; first < end; first += loop.chunk) {
            send_all(socket.get(), {.offset = first}, source.bytes().subspan(first, loop.chunk));
        }
    }
    // The receiver closes when it has the last byte.
    if (::shutdown(socket.get(), SHUT_WR) != 0) die("shutdown");
    char nothing = 0;
    if (::read(socket.get(), &nothing, 1) != 0) die("receiver");
}

void receive_chunk(int socket, Receiver receiver, std::span<std::byte> target) {
    const int flags = receiver == Receiver::kTruncate ? MSG_WAITALL | MSG_TRUNC : MSG_WAITALL;
    while (!target.empty()) {
        std::byte* into = receiver == Receiver::kTruncate ? nullptr : target.data();
        const ssize_t received = ::recv(socket, into, target.size(), flags);
        if (received <= 0) die("recv");
        target = target.subspan(static_cast<std::size_t>(received));
    }
}

// The receiver's memory, if it keeps what it receives.
struct Sink {
    Mapping memory;
    UniqueFd faults;  // the userfaultfd that makes its pages, for the receivers that copy
};

void make_pages(const Sink& sink, std::span<std::byte> target, std::span<std::byte> content) {
    uffdio_copy copy{};
    copy.dst = reinterpret_cast<std::uintptr_t>(target.data());
    copy.src = reinterpret_cast<std::uintptr_t>(content.data());
    copy.len = content.size();
    copy.mode = UFFDIO_COPY_MODE_DONTWAKE;
    if (::ioctl(sink.faults.get(), UFFDIO_COPY, &copy) != 0) die("UFFDIO_COPY");
}

void receive_channel(int listener, const NetworkLoop& loop, const Sink& sink) {
    const UniqueFd socket(::accept(listener, nullptr, nullptr));
    if (!socket) die("accept");
    PageBuffer buffer(loop.chunk);
    Header header;
    while (::recv(socket.get(), &header, sizeof header, MSG_WAITALL) == sizeof header) {
        const std::span<std::byte> target =
            sink.memory ? sink.memory.bytes().subspan(header.offset, loop.chunk)
                        : std::span(buffer);
        if (loop.receiver == Receiver::kShared &&
            ::madvise(target.data(), target.size(), MADV_POPULATE_WRITE) != 0) {
            die("MADV_POPULATE_WRITE");
        }
        receive_chunk(socket.get(), loop.receiver, sink.faults ? std::span(buffer) : target);
        if (sink.faults) make_pages(sink, target, buffer);
    }
}

Result<Mapping> make_memory(const NetworkLoop& loop) {
    switch (loop.receiver) {
        case Receiver::kDiscard:
        case Receiver::kTruncate:
            return Mapping{};
        case Receiver::kHuge:
            return private_memory(loop.bytes, PageSizing::kHuge);
        case Receiver::kSmall:
        case Receiver::kSmallCopy:
            return private_memory(loop.bytes, PageSizing::kSmall);
        case Receiver::kShared:
        case Receiver::kSharedCopy:
            break;
    }
    const UniqueFd file(::memfd_create("migrate-loop", MFD_CLOEXEC));
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(loop.bytes)) != 0) {
        return Error::system("make a memfd", errno);
    }
    return Mapping::create({.size = loop.bytes,
                            .protection = PROT_READ | PROT_WRITE,
                            .flags = MAP_SHARED,
                            .fd = file.get(),
                            .what = "a memfd"});
}

Result<Sink> make_sink(const NetworkLoop& loop) {
    Sink sink;
    MIGRATE_ASSIGN(sink.memory, make_memory(loop));
    if (loop.receiver != Receiver::kSmallCopy && loop.receiver != Receiver::kSharedCopy)
        return sink;
    MIGRATE_ASSIGN(sink.faults, memory::open_userfaultfd());
    int code = memory::enable_userfaultfd(sink.faults, UFFD_FEATURE_MISSING_SHMEM);
    if (code == 0) code = memory::register_missing(sink.faults, sink.memory.bytes());
    if (code != 0) return Error::system("use userfaultfd", code);
    return sink;
}

// The receiving process, forked: serves every channel and writes its CPU time to `report`.
[[noreturn]] void run_receiver(int listener, int report, const NetworkLoop& loop) {
    auto sink = make_sink(loop);
    if (!sink) die(sink.error().message().c_str());
    const double before = cpu_seconds();
    const Status received = run_on_threads(
        loop.channels, [&](unsigned) { receive_channel(listener, loop, *sink); }, cannot_start);
    if (!received) die(received.error().message().c_str());
    const double used = cpu_seconds() - before;
    if (::write(report, &used, sizeof used) != sizeof used) die("report");
    std::_Exit(0);
}

}  // namespace

Result<NetworkFigures> run_network_loop(const NetworkLoop& loop) {
    MIGRATE_ASSIGN(const Mapping source, private_memory(loop.bytes, loop.source));
    MIGRATE_TRY(fill_random(source));
    // The fork would otherwise copy the page tables of the whole source.
    if (::madvise(source.data(), source.size(), MADV_DONTFORK) != 0) {
        return Error::system("keep the source from the receiver", errno);
    }
    sockaddr_in address{};
    MIGRATE_ASSIGN(const UniqueFd listener, listen_on_loopback(loop.channels, address));
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return Error::system("make a pipe", errno);
    const UniqueFd report_out(ends[0]);
    UniqueFd report_in(ends[1]);
    MIGRATE_TRY(warm_memory(loop.bytes));

    const pid_t child = ::fork();
    if (child < 0) return Error::system("fork the receiver", errno);
    if (child == 0) {
        // A sender that is killed leaves no receiver behind.
        ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0UL, 0UL, 0UL);
        run_receiver(listener.get(), report_in.get(), loop);
    }
    report_in.reset();

    NetworkFigures figures;
    Cursor cursor(loop);
    const double cpu_before = cpu_seconds();
    const auto start = std::chrono::steady_clock::now();
    MIGRATE_TRY(run_on_threads(
        loop.channels, [&](unsigned) { send_channel(address, loop, source, cursor); },
        cannot_start));
    figures.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    figures.sender_cpu_s = cpu_seconds() - cpu_before;
    const ssize_t got =
        ::read(report_out.get(), &figures.receiver_cpu_s, sizeof figures.receiver_cpu_s);
    ::waitpid(child, nullptr, 0);
    if (got != sizeof figures.receiver_cpu_s) return make_error("the receiver failed");
    return figures;
}

}  // namespace migrate::bench
