// SPDX-License-Identifier: Apache-2.0
// Another process with private memory, which it writes when it is told to.
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
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
#include "memory/foreign/private_mapping.hpp"
#include "memory/source/block_source.hpp"
#include "memory/userfaultfd.hpp"
#include "tests/catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::memory {

class PrivateProcess {
  public:
    explicit PrivateProcess(std::uint64_t pages)
        : PrivateProcess(must(map_anonymous(pages * kPageSize, HugePages::kOff, "a test")),
                         kPageSize) {}
    // `memory` is private, untouched, and of pages of `unit` bytes.
    PrivateProcess(Mapping memory, std::uint64_t unit)
        : pages_(memory.size() / kPageSize), unit_(unit), memory_(std::move(memory)) {
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
    // Marks a page that is untouched, as a tracker in the process itself would.
    void mark(std::uint64_t page) { REQUIRE(ask('m', page, 0) == 1); }
    // Maps shared memory at the address of a page.
    void map_shared(std::uint64_t page) { REQUIRE(ask('s', page, 0) == 1); }
    void unmap(std::uint64_t page) { REQUIRE(ask('u', page, 0) == 1); }
    // Gives a page an advice, which splits its mapping.
    void advise(std::uint64_t page) { REQUIRE(ask('a', page, 0) == 1); }
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
        owner.private_mappings.push_back(private_mappings_in(
            must(process_mappings(pid_)), address(), address() + pages_ * kPageSize));
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
            if (request.what == 'd') ::madvise(page, unit_, MADV_DONTNEED);
            const auto answer = request.what == 'r'   ? static_cast<unsigned char>(*page)
                                : request.what == 'w' ? request.byte
                                                      : change(request.what, page);
            if (::send(socket, &answer, 1, MSG_NOSIGNAL) != 1) break;
        }
        ::_exit(0);
    }

    // Returns 1 after a success.
    unsigned char change(char what, std::byte* page) {
        constexpr int kFlags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
        bool done = false;
        if (what == 'm') done = protect(page);
        if (what == 's') {
            done = ::mmap(page, unit_, PROT_READ | PROT_WRITE, kFlags, -1, 0) != MAP_FAILED;
        }
        if (what == 'u') done = ::munmap(page, unit_) == 0;
        if (what == 'a') done = ::madvise(page, unit_, MADV_DONTDUMP) == 0;
        return done ? 1 : 0;
    }

    bool protect(std::byte* page) {
        auto faults = open_userfaultfd();
        // The values are those of linux/userfaultfd.h of Linux 6.4.
        constexpr std::uint64_t kUnpopulated = std::uint64_t{1} << 13;
        if (!faults || enable_userfaultfd(*faults, kUnpopulated | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                                                       UFFD_FEATURE_PAGEFAULT_FLAG_WP) != 0) {
            return false;
        }
        const uffdio_range range{reinterpret_cast<std::uintptr_t>(page), unit_};
        uffdio_register watched{.range = range, .mode = UFFDIO_REGISTER_MODE_WP, .ioctls = 0};
        uffdio_writeprotect marked{.range = range, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
        faults_ = *std::move(faults);
        return ::ioctl(faults_.get(), UFFDIO_REGISTER, &watched) == 0 &&
               ::ioctl(faults_.get(), UFFDIO_WRITEPROTECT, &marked) == 0;
    }

    std::uint64_t pages_;
    std::uint64_t unit_;
    Mapping memory_;
    UniqueFd faults_;  // in the other process
    UniqueFd ours_;
    pid_t pid_ = -1;
};

}  // namespace migrate::memory
