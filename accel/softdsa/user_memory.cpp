#include "accel/softdsa/user_memory.hpp"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::user_memory {
namespace {

void* pointer(std::uint64_t address) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses come as integers here
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
}

// Returns the bytes copied, or -1 with errno.
long transfer(long call, std::span<const iovec> here, std::span<const iovec> there) {
    return raw_syscall(call, ::getpid(), here.data(), here.size(), there.data(), there.size(), 0UL);
}

// A short count may end before the page that fails, because the kernel promises only whole iovecs.
std::size_t copy(long call, std::uint64_t address, std::byte* here, std::size_t bytes) {
    std::size_t done = 0;
    bool by_page = false;
    while (done < bytes) {
        const std::uint64_t at = address + done;
        std::size_t wanted = bytes - done;
        if (by_page) wanted = std::min<std::size_t>(wanted, kPageBytes - at % kPageBytes);
        const iovec local{here + done, wanted};
        const iovec remote{pointer(at), wanted};
        const long copied = transfer(call, {&local, 1}, {&remote, 1});
        if (copied > 0) done += static_cast<std::size_t>(copied);
        if (copied <= 0 && by_page) break;
        by_page = true;
    }
    return done;
}

}  // namespace

int probe() {
    char from = 1;
    char to = 0;
    const iovec local{&to, 1};
    const iovec remote{&from, 1};
    return transfer(SYS_process_vm_readv, {&local, 1}, {&remote, 1}) == 1 ? 0 : errno;
}

std::size_t read(std::uint64_t address, void* to, std::size_t bytes) {
    return copy(SYS_process_vm_readv, address, static_cast<std::byte*>(to), bytes);
}

std::size_t write(std::uint64_t address, const void* from, std::size_t bytes) {
    return copy(SYS_process_vm_writev, address,
                const_cast<std::byte*>(static_cast<const std::byte*>(from)), bytes);
}

std::size_t resident(std::uint64_t address, std::size_t bytes) {
    std::array<unsigned char, 64> in_core{};
    const std::uint64_t end = address + bytes;
    std::uint64_t page = address - address % kPageBytes;
    while (page < end) {
        const std::uint64_t pages =
            std::min<std::uint64_t>((end - page + kPageBytes - 1) / kPageBytes, in_core.size());
        std::uint64_t known = pages;
        // A hole anywhere makes the whole call fail, so query one page at a time then.
        if (raw_syscall(SYS_mincore, pointer(page), pages * kPageBytes, in_core.data()) != 0) {
            known = 1;
            if (raw_syscall(SYS_mincore, pointer(page), kPageBytes, in_core.data()) != 0)
                in_core[0] = 0;
        }
        for (std::uint64_t i = 0; i < known; ++i, page += kPageBytes) {
            if ((in_core[i] & 1U) == 0) return page > address ? page - address : 0;
        }
    }
    return bytes;
}

bool write_record(std::uint64_t address, const std::array<std::byte, 32>& record) {
    auto* bytes = const_cast<std::byte*>(record.data());
    const std::array<iovec, 2> local{iovec{bytes + 1, record.size() - 1}, iovec{bytes, 1}};
    const std::array<iovec, 2> remote{iovec{pointer(address + 1), record.size() - 1},
                                      iovec{pointer(address), 1}};
    return transfer(SYS_process_vm_writev, local, remote) == static_cast<long>(record.size());
}

}  // namespace migrate::accel::softdsa::user_memory
