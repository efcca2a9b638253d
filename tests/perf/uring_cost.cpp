// SPDX-License-Identifier: Apache-2.0
// Compares io_uring with plain system calls for the path of a page: read 512 KiB of a file on tmpfs
// in steps of 64 KiB, send them over loopback, and receive them into a buffer that stays in the
// cache. All ways run in turn in one process. Prints one line of JSON for each run.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string_view>
#include <thread>
#include <vector>

#include "base/units.hpp"
#include "perf/uring.hpp"

namespace {

using migrate::Error;
using migrate::kMiB;
using migrate::Mapping;
using migrate::Result;
using migrate::Status;
using migrate::UniqueFd;
using migrate::perf::Uring;

constexpr std::uint64_t kPacket = std::uint64_t{512} * 1024;
constexpr std::uint64_t kStep = std::uint64_t{64} * 1024;
constexpr unsigned kSteps = kPacket / kStep;
constexpr unsigned kSlots = 2;  // packets that a channel holds
constexpr unsigned kRingBuffers = 16;

double seconds_of(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

Result<Mapping> buffer(std::uint64_t bytes) {
    return Mapping::create({.size = bytes,
                            .protection = PROT_READ | PROT_WRITE,
                            .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                            .what = "a buffer"});
}

// The part of the file that a channel sends.
struct Part {
    int file;
    std::uint64_t begin;
    std::uint64_t bytes;
};

Status send_by_calls(int socket, const Part& part) {
    MIGRATE_ASSIGN(const Mapping memory, buffer(kPacket));
    for (std::uint64_t at = 0; at < part.bytes; at += kPacket) {
        for (unsigned step = 0; step < kSteps; ++step) {
            const auto offset = static_cast<off_t>(part.begin + at + step * kStep);
            if (::pread(part.file, memory.data() + step * kStep, kStep, offset) !=
                static_cast<ssize_t>(kStep)) {
                return Error::system("read the file", errno);
            }
        }
        for (std::uint64_t sent = 0; sent < kPacket;) {
            const ssize_t moved =
                ::send(socket, memory.data() + sent, kPacket - sent, MSG_NOSIGNAL);
            if (moved < 0) return Error::system("send", errno);
            sent += static_cast<std::uint64_t>(moved);
        }
    }
    return {};
}

// Reads a packet into a registered buffer and sends it from there, as one chain of entries.
void chain(Uring& ring, int socket, const Part& part, std::uint64_t at, unsigned slot,
           std::byte* memory, bool zero_copy) {
    for (unsigned step = 0; step < kSteps; ++step) {
        io_uring_sqe& read = ring.next();
        read.opcode = IORING_OP_READ_FIXED;
        read.flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
        read.fd = 0;
        read.addr = reinterpret_cast<std::uint64_t>(memory + step * kStep);
        read.len = kStep;
        read.off = part.begin + at + step * kStep;
        read.buf_index = static_cast<std::uint16_t>(slot);
        read.user_data = kSlots;
    }
    io_uring_sqe& send = ring.next();
    send.opcode = zero_copy ? IORING_OP_SEND_ZC : IORING_OP_SEND;
    send.fd = socket;
    send.addr = reinterpret_cast<std::uint64_t>(memory);
    send.len = kPacket;
    send.msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
    if (zero_copy) {
        send.ioprio = IORING_RECVSEND_FIXED_BUF;
        send.buf_index = static_cast<std::uint16_t>(slot);
    }
    send.user_data = slot;
}

// Takes completions until `slot` may be used again.
Status await_slot(Uring& ring, std::array<int, kSlots>& pending, unsigned slot) {
    while (pending.at(slot) != 0) {
        while (const auto completion = ring.take()) {
            if (completion->res < 0) return Error::system("a chained call", -completion->res);
            const bool notified = (completion->flags & IORING_CQE_F_NOTIF) != 0;
            if (completion->user_data == kSlots) {
                if (completion->res != kStep) return Error("a short read");
            } else {
                if (!notified && completion->res != kPacket) return Error("a short send");
                // A zero-copy send has a second completion, for its memory.
                if ((completion->flags & IORING_CQE_F_MORE) == 0)
                    --pending.at(completion->user_data);
            }
        }
        if (pending.at(slot) != 0) MIGRATE_TRY(ring.submit(1));
    }
    return {};
}

Status send_by_ring(int socket, const Part& part, bool zero_copy) {
    MIGRATE_ASSIGN(Uring ring, Uring::create(64));
    MIGRATE_ASSIGN(const Mapping memory, buffer(kSlots * kPacket));
    std::array<iovec, kSlots> buffers{};
    for (unsigned slot = 0; slot < kSlots; ++slot) {
        buffers.at(slot) = {memory.data() + slot * kPacket, kPacket};
    }
    MIGRATE_TRY(ring.register_buffers(buffers));
    MIGRATE_TRY(ring.register_file(part.file));
    std::array<int, kSlots> pending{};
    unsigned slot = 0;
    for (std::uint64_t at = 0; at < part.bytes; at += kPacket) {
        MIGRATE_TRY(await_slot(ring, pending, slot));
        // Two chains at a time could send in the wrong order.
        for (unsigned other = 0; other < kSlots && !zero_copy; ++other) {
            MIGRATE_TRY(await_slot(ring, pending, other));
        }
        chain(ring, socket, part, at, slot, memory.data() + slot * kPacket, zero_copy);
        pending.at(slot) = 1;
        MIGRATE_TRY(ring.submit(zero_copy ? kSteps + 1 : 1));
        slot = (slot + 1) % kSlots;
    }
    for (unsigned left = 0; left < kSlots; ++left) MIGRATE_TRY(await_slot(ring, pending, left));
    return {};
}

Status receive_by_calls(int socket, std::uint64_t bytes) {
    MIGRATE_ASSIGN(const Mapping memory, buffer(kPacket));
    for (std::uint64_t got = 0; got < bytes;) {
        const ssize_t moved = ::recv(socket, memory.data(), kPacket, MSG_WAITALL);
        if (moved <= 0) return Error::system("receive", errno);
        got += static_cast<std::uint64_t>(moved);
    }
    return {};
}

// Gives a buffer back to the kernel.
void provide(io_uring_buf_ring* buffers, const Mapping& memory, std::uint16_t id) {
    // Not `bufs`: in C++ its offset is not 0.
    io_uring_buf& entry =
        reinterpret_cast<io_uring_buf*>(buffers)[buffers->tail & (kRingBuffers - 1)];
    entry.addr = reinterpret_cast<std::uint64_t>(memory.data() + id * kStep);
    entry.len = kStep;
    entry.bid = id;
    std::atomic_ref(buffers->tail)
        .store(static_cast<std::uint16_t>(buffers->tail + 1), std::memory_order_release);
}

Status receive_by_ring(int socket, std::uint64_t bytes) {
    MIGRATE_ASSIGN(Uring ring, Uring::create(64));
    MIGRATE_ASSIGN(const Mapping memory, buffer(kRingBuffers * kStep));
    MIGRATE_ASSIGN(const Mapping list, buffer(4096));
    auto* const buffers = reinterpret_cast<io_uring_buf_ring*>(list.data());
    MIGRATE_TRY(ring.register_buffer_ring(buffers, kRingBuffers, 0));
    for (std::uint16_t id = 0; id < kRingBuffers; ++id) provide(buffers, memory, id);
    bool armed = false;
    for (std::uint64_t got = 0; got < bytes;) {
        if (!armed) {
            io_uring_sqe& receive = ring.next();
            receive.opcode = IORING_OP_RECV;
            receive.fd = socket;
            receive.flags = IOSQE_BUFFER_SELECT;
            receive.ioprio = IORING_RECV_MULTISHOT;
            receive.buf_group = 0;
            armed = true;
        }
        MIGRATE_TRY(ring.submit(1));
        // The end of the stream may come with the last bytes.
        for (auto completion = ring.take(); completion && got < bytes; completion = ring.take()) {
            armed = (completion->flags & IORING_CQE_F_MORE) != 0;
            if (completion->res == -ENOBUFS) continue;
            if (completion->res <= 0) return Error::system("receive", -completion->res);
            got += static_cast<std::uint64_t>(completion->res);
            provide(buffers, memory,
                    static_cast<std::uint16_t>(completion->flags >> IORING_CQE_BUFFER_SHIFT));
        }
    }
    return {};
}

struct Connection {
    UniqueFd near;
    UniqueFd far;
};

// With the buffers that a channel of eight has within a host.
Result<Connection> connect_loopback() {
    constexpr int kBuffer = 256 * 1024;
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Connection connection{UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), UniqueFd()};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    ::setsockopt(listener.get(), SOL_SOCKET, SO_RCVBUF, &kBuffer, sizeof kBuffer);
    ::setsockopt(connection.near.get(), SOL_SOCKET, SO_SNDBUF, &kBuffer, sizeof kBuffer);
    if (::bind(listener.get(), any, size) == 0 && ::listen(listener.get(), 1) == 0 &&
        ::getsockname(listener.get(), any, &size) == 0 &&
        ::connect(connection.near.get(), any, size) == 0) {
        connection.far = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
    if (!connection.far) return Error::system("connect over loopback", errno);
    return connection;
}

struct Way {
    std::string_view name;
    std::function<Status(int, const Part&)> send;
    std::function<Status(int, std::uint64_t)> receive;
};

Status run(const Way& way, int file, std::uint64_t bytes, unsigned channels, unsigned turn) {
    std::vector<Status> results(2 * channels);
    const double began = seconds_of(CLOCK_MONOTONIC);
    const double used = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    {
        std::vector<std::jthread> threads;
        std::vector<Connection> connections;
        for (unsigned i = 0; i < channels; ++i) {
            MIGRATE_ASSIGN(auto connection, connect_loopback());
            connections.push_back(std::move(connection));
        }
        const std::uint64_t share = bytes / channels / kPacket * kPacket;
        for (unsigned i = 0; i < channels; ++i) {
            const Part part{file, i * share, share};
            const int near = connections[i].near.get();
            const int far = connections[i].far.get();
            // A side that fails must not leave the other one waiting.
            threads.emplace_back([&, i, part, near] {
                results[2 * i] = way.send(near, part);
                ::shutdown(near, SHUT_WR);
            });
            threads.emplace_back([&, i, part, far] {
                results[2 * i + 1] = way.receive(far, part.bytes);
                ::shutdown(far, SHUT_RDWR);
            });
        }
        threads.clear();
    }
    for (Status& result : results) MIGRATE_TRY(std::move(result));
    fmt::print("{{\"turn\":{},\"way\":\"{}\",\"ms\":{:.0f},\"cpu-ms\":{:.0f}}}\n", turn, way.name,
               1000 * (seconds_of(CLOCK_MONOTONIC) - began),
               1000 * (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - used));
    return {};
}

Result<UniqueFd> random_file(std::uint64_t bytes) {
    UniqueFd file(::memfd_create("uring_cost", MFD_CLOEXEC));
    std::vector<std::uint64_t> words(kPacket / 8);
    std::uint64_t state = 1;
    for (std::uint64_t at = 0; file && at < bytes; at += kPacket) {
        for (std::uint64_t& word : words) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            word = state;
        }
        if (::pwrite(file.get(), words.data(), kPacket, static_cast<off_t>(at)) !=
            static_cast<ssize_t>(kPacket)) {
            return Error::system("fill the file", errno);
        }
    }
    if (!file) return Error::system("make a file", errno);
    return file;
}

Status measure(std::uint64_t mib, unsigned channels, unsigned turns) {
    const auto ring = [](int socket, const Part& part) {
        return send_by_ring(socket, part, false);
    };
    const auto zero_copy = [](int socket, const Part& part) {
        return send_by_ring(socket, part, true);
    };
    const std::array<Way, 5> ways{
        {{"pread, send / recv", send_by_calls, receive_by_calls},
         {"io_uring / recv", ring, receive_by_calls},
         {"io_uring SEND_ZC / recv", zero_copy, receive_by_calls},
         {"pread, send / io_uring multishot", send_by_calls, receive_by_ring},
         {"io_uring / io_uring multishot", ring, receive_by_ring}}};
    MIGRATE_ASSIGN(const UniqueFd file, random_file(mib * kMiB));
    for (unsigned turn = 0; turn <= turns; ++turn) {
        // Turn 0 warms up.
        for (const Way& way : ways) MIGRATE_TRY(run(way, file.get(), mib * kMiB, channels, turn));
    }
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    const auto number = [&](int index, unsigned long otherwise) {
        return argc > index ? std::strtoul(argv[index], nullptr, 10) : otherwise;
    };
    const auto mib = number(1, 1024);
    const auto channels = static_cast<unsigned>(number(2, 8));
    const auto turns = static_cast<unsigned>(number(3, 7));
    if (mib == 0 || channels == 0 || channels > 255 || argc > 4) {
        fmt::print(stderr, "Usage: uring_cost [MIB=1024] [CHANNELS=8] [TURNS=7]\n");
        return 2;
    }
    const Status status = measure(mib, channels, turns);
    if (status) return 0;
    fmt::print(stderr, "{}\n", status.error().message());
    return 1;
}
