// Another process with private memory, which it writes when it is told to.
#pragma once

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/foreign/foreign_mapping.hpp"
#include "memory/source/block_source.hpp"
#include "tests/catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::memory {

class PrivateProcess {
  public:
    explicit PrivateProcess(std::uint64_t pages)
        : pages_(pages),
          memory_(must(map_anonymous(pages * kPageSize, HugePages::kOff, "a test"))) {
        std::array<int, 2> pair{-1, -1};
        REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) == 0);
        ours_.reset(pair[0]);
        const UniqueFd theirs(pair[1]);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) {
            ours_.reset();
            serve(theirs.get());
        }
    }
    ~PrivateProcess() { end(); }
    PrivateProcess(const PrivateProcess&) = delete;
    PrivateProcess& operator=(const PrivateProcess&) = delete;

    pid_t pid() const { return pid_; }
    std::uint64_t pages() const { return pages_; }
    // In the other process; this one has other memory there.
    std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(memory_.data()); }

    // Fills a page with the byte.
    void fill(std::uint64_t page, unsigned char byte) { ask('w', page, byte); }
    // Gives a page back, as a balloon does.
    void discard(std::uint64_t page) { ask('d', page, 0); }
    // The first byte of a page.
    unsigned char byte_of(std::uint64_t page) { return ask('r', page, 0); }
    void end() {
        if (pid_ < 0) return;
        ours_.reset();
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

    MemoryBlock block(std::string name = "ram") const {
        return {.name = std::move(name), .size_bytes = pages_ * kPageSize, .address = address()};
    }
    ProcessMemory access() const { return must(ProcessMemory::open(pid_)); }
    MemoryOwner owner() const {
        MemoryOwner owner;
        owner.pid = pid_;
        owner.description = process_name(pid_);
        owner.outside_writer = "";
        owner.files.emplace_back();
        owner.regions.push_back({{address(), pages_ * kPageSize, 0}});
        return owner;
    }
    std::unique_ptr<PageSource> source() const {
        return must(open_block_source("private:", one(block()), access(), owner()));
    }

  private:
    struct Request {
        char what = 0;
        unsigned char byte = 0;
        std::uint64_t page = 0;
    };

    static std::vector<MemoryBlock> one(MemoryBlock block) {
        std::vector<MemoryBlock> blocks;
        blocks.push_back(std::move(block));
        return blocks;
    }

    unsigned char ask(char what, std::uint64_t page, unsigned char byte) {
        const Request request{what, byte, page};
        REQUIRE(::send(ours_.get(), &request, sizeof request, MSG_NOSIGNAL) == sizeof request);
        unsigned char answer = 0;
        REQUIRE(::recv(ours_.get(), &answer, 1, 0) == 1);
        return answer;
    }

    [[noreturn]] void serve(int socket) {
        Request request;
        while (::recv(socket, &request, sizeof request, 0) == sizeof request) {
            std::byte* const page = memory_.data() + request.page * kPageSize;
            if (request.what == 'w') std::memset(page, request.byte, kPageSize);
            if (request.what == 'd') ::madvise(page, kPageSize, MADV_DONTNEED);
            const auto answer =
                request.what == 'r' ? static_cast<unsigned char>(*page) : request.byte;
            if (::send(socket, &answer, 1, MSG_NOSIGNAL) != 1) break;
        }
        ::_exit(0);
    }

    std::uint64_t pages_;
    Mapping memory_;
    UniqueFd ours_;
    pid_t pid_ = -1;
};

}  // namespace migrate::memory
