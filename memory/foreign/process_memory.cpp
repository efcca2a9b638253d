// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/process_memory.hpp"

#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/raw_syscall.hpp"
#include "base/wait.hpp"
#include "memory/foreign/foreign_mapping.hpp"

namespace migrate::memory {
namespace {

Error not_allowed(const std::string& who) {
    return make_error(
        ErrorKind::kRefused,
        "the memory of {} may not be accessed: it belongs to another user, or "
        "kernel.yama.ptrace_scope forbids it; run migrate as root or with CAP_SYS_PTRACE",
        who);
}

using Copy = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long,
                         unsigned long);

// Returns 0 or an errno. A call copies at most 2 GiB, and ends early at memory that it cannot
// access.
int copy_all(Copy copy, pid_t pid, std::byte* here, std::uint64_t there, std::size_t size) {
    while (size != 0) {
        const iovec local{here, size};
        // NOLINTNEXTLINE(performance-no-int-to-ptr): an address in the other process
        const iovec remote{reinterpret_cast<void*>(there), size};
        const ssize_t copied = copy(pid, &local, 1, &remote, 1, 0);
        if (copied < 0 && errno == EINTR) continue;
        if (copied < 0) return errno;
        if (copied == 0) return EFAULT;
        const auto done = static_cast<std::size_t>(copied);
        here += done;
        there += done;
        size -= done;
    }
    return 0;
}

}  // namespace

Result<ProcessMemory> ProcessMemory::open(pid_t pid) {
    const std::string who = process_name(pid);
    UniqueFd process(static_cast<int>(raw_syscall(SYS_pidfd_open, pid, 0U)));
    if (!process) return Error::system("open " + who, errno);
    // Nothing is mapped at address 0: the kernel reports that (EFAULT) only to a process that may
    // access the memory.
    std::array<std::byte, 1> byte{};
    const int code = copy_all(::process_vm_readv, pid, byte.data(), 0, byte.size());
    if (code == EPERM) return not_allowed(who);
    if (code != 0 && code != EFAULT) return Error::system("access the memory of " + who, code);
    return ProcessMemory(pid, std::move(process), who);
}

Status ProcessMemory::check_alive() const {
    if (!readable_within(process_.get(), {})) return {};
    return make_error("{} has ended", description_);
}

Status ProcessMemory::read(std::uint64_t address, std::span<std::byte> to) const {
    const int code = copy_all(::process_vm_readv, pid_, to.data(), address, to.size());
    // Checked after the copy: the number may have passed to another process meanwhile.
    MIGRATE_TRY(check_alive());
    if (code == 0) return {};
    return Error::system(fmt::format("read the memory of {} at {:#x}", description_, address),
                         code);
}

Status ProcessMemory::write(std::uint64_t address, std::span<const std::byte> from) const {
    // Checked before the copy: a number is used again only after a process was waited for, and
    // after all other numbers.
    MIGRATE_TRY(check_alive());
    auto* const content = const_cast<std::byte*>(from.data());
    const int code = copy_all(::process_vm_writev, pid_, content, address, from.size());
    if (code == 0) return {};
    MIGRATE_TRY(check_alive());
    return Error::system(fmt::format("write to the memory of {} at {:#x}", description_, address),
                         code);
}

}  // namespace migrate::memory
