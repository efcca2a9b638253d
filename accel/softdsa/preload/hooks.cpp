// SPDX-License-Identifier: Apache-2.0
// Functions that replace those of the C library. They behave like the library's own except for work
// queues and for the signals by which descriptors arrive. Source: Linux drivers/dma/idxd/cdev.c for
// open, mmap and write on a queue's node.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "accel/softdsa/errno_kept.hpp"
#include "accel/softdsa/preload/attribute_files.hpp"
#include "accel/softdsa/preload/client_count.hpp"
#include "accel/softdsa/preload/faults.hpp"
#include "accel/softdsa/preload/next_symbol.hpp"
#include "accel/softdsa/preload/world.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

constinit NextSymbol<int(const char*, int, mode_t)> next_open("open");
constinit NextSymbol<int(int, const char*, int, mode_t)> next_openat("openat");
constinit NextSymbol<int(int)> next_close("close");
constinit NextSymbol<void*(void*, std::size_t, int, int, int, off_t)> next_mmap("mmap");
constinit NextSymbol<int(void*, std::size_t)> next_munmap("munmap");
constinit NextSymbol<void*(void*, std::size_t, std::size_t, int, void*)> next_mremap("mremap");
constinit NextSymbol<ssize_t(int, const void*, std::size_t)> next_write("write");
constinit NextSymbol<ssize_t(int, const void*, std::size_t, off_t)> next_pwrite("pwrite");
constinit NextSymbol<ssize_t(int, const iovec*, int)> next_writev("writev");
constinit NextSymbol<sighandler_t(int, sighandler_t)> next_signal("signal");
constinit NextSymbol<int(int, const sigset_t*, sigset_t*)> next_sigprocmask("sigprocmask");
constinit NextSymbol<int(int, const sigset_t*, sigset_t*)> next_pthread_sigmask("pthread_sigmask");

constexpr std::size_t kPortalBytes = 4096;

// These functions tell whether this address space opened the node; a forked child's is another one.
// The kernel keeps a file's owner with the open file, through dup(), fork() and exec().
pid_t own_id() { return static_cast<pid_t>(raw_syscall(SYS_getpid)); }
void take_ownership(int fd) { raw_syscall(SYS_fcntl, fd, F_SETOWN, own_id()); }
bool is_owner(int fd) {
    const auto owner = static_cast<pid_t>(raw_syscall(SYS_fcntl, fd, F_GETOWN));
    if (owner == 0) take_ownership(fd);  // opened past the hook: fopen(), a raw system call
    return owner == 0 || owner == own_id();
}

int refuse_open(int fd, int error) {
    next_close(fd);
    errno = error;
    return -1;
}

// Does what the driver does when a node is opened; `fd` is the descriptor of the file behind it.
int opened(int fd, int folder, const char* path, int flags) {
    World* const world = World::instance();
    if (world == nullptr || (flags & O_PATH) != 0) return fd;
    if (fd < 0) return errno == EROFS ? open_attribute(*world, folder, path, flags) : fd;
    const World::OpenFile file = world->look_at(fd);
    if (file.in_tree) refresh_attribute(*world, fd);
    const auto node = file.node;
    if (!node) return fd;
    world->start();
    if (const int error = world->device(*node).open_error(world->node(*node).queue)) {
        return refuse_open(fd, error);
    }
    // The lock lives as long as the open file, including its mappings, just as the queue's user
    // does.
    if (world->is_dedicated(*node) && ::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return refuse_open(fd, EBUSY);
    }
    take_ownership(fd);
    count_as_client(fd);
    return fd;
}

mode_t mode_argument(int flags, va_list arguments) {
    const bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    return creates ? va_arg(arguments, mode_t) : 0;
}

// Returns 0, or the error with which the driver refuses to map the queue of `node`.
int map_refusal(World& world, std::size_t node, int fd, std::size_t bytes) {
    if (!is_owner(fd)) return EPERM;
    if (const int error = world.device(node).map_error(world.node(node).queue)) return error;
    return bytes > kPortalBytes ? EINVAL : 0;
}

void* map(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) {
    World* const world = World::instance();
    if (world == nullptr) return next_mmap(address, bytes, protection, flags, fd, offset);
    const bool of_file = fd >= 0 && (flags & MAP_ANONYMOUS) == 0;
    const auto node = of_file ? world->look_at(fd).node : std::nullopt;
    if (node) {
        world->start();
        if (const int error = map_refusal(*world, *node, fd, bytes)) {
            errno = error;
            return MAP_FAILED;
        }
    }
    void* const mapped = next_mmap(address, bytes, protection, flags, fd, offset);
    if (mapped == MAP_FAILED) return mapped;
    const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
    world->portals().forget(begin, bytes);
    if (node) {
        world->portals().insert(begin, *node);
        ::madvise(mapped, bytes, MADV_DONTFORK);  // the driver's VM_DONTCOPY
    }
    return mapped;
}

void forget(const void* address, std::size_t bytes) {
    if (World* const world = World::instance()) {
        world->portals().forget(reinterpret_cast<std::uintptr_t>(address), bytes);
    }
}

// Returns the answer of the work queue or attribute that `fd` is open on; nothing for other files.
std::optional<ssize_t> write_to_device(int fd, const void* data, std::size_t bytes) {
    World* const world = World::instance();
    if (world == nullptr) return std::nullopt;
    const World::OpenFile file = world->look_at(fd);
    if (file.in_tree) return write_attribute(*world, fd, {static_cast<const char*>(data), bytes});
    const auto node = file.node;
    if (!node) return std::nullopt;
    world->start();
    Device& device = world->device(*node);
    // A device without engines must not be interrupted by a handler that submits, too.
    std::optional<SignalsBlocked> blocked;
    if (device.works_in_submitter()) blocked.emplace();
    const std::ptrdiff_t written =
        is_owner(fd) ? device.write(world->node(*node).queue, data, bytes) : -EPERM;
    blocked.reset();
    if (written >= 0) return written;
    errno = static_cast<int>(-written);
    return -1;
}

ssize_t write_each(int fd, const iovec* pieces, int count) {
    ssize_t total = 0;
    for (int i = 0; i < count; ++i) {
        const auto written = write_to_device(fd, pieces[i].iov_base, pieces[i].iov_len);
        if (!written) return next_writev(fd, pieces, count);
        if (*written < 0) return total > 0 ? total : -1;
        total += *written;
        if (static_cast<std::size_t>(*written) < pieces[i].iov_len) break;
    }
    return total;
}

// Performs signal() with the flags of the variant.
sighandler_t exchange_handler(int signal, sighandler_t handler, int flags) {
    struct sigaction action {};
    struct sigaction old {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    exchange_action(signal, &action, &old);
    return old.sa_handler;
}

// Returns the set without the signals that must not be blocked, stored in `copy`; a set to unblock
// is unchanged.
const sigset_t* blockable(int how, const sigset_t* set, sigset_t& copy) {
    if (set == nullptr || how == SIG_UNBLOCK || !fault_handlers_installed()) return set;
    copy = without_trapped(*set);
    return &copy;
}

[[gnu::constructor]] void set_up() {
    const ErrnoKept kept;
    World::create();
    if (World::instance() != nullptr) install_fault_handlers();
}

}  // namespace
}  // namespace migrate::accel::softdsa::preload

// NOLINTBEGIN(*-reserved-identifier,readability-identifier-naming): the C library's names
#define SOFTDSA_HOOK extern "C" [[gnu::visibility("default")]]

namespace preload = migrate::accel::softdsa::preload;

SOFTDSA_HOOK int open(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = preload::mode_argument(flags, arguments);
    va_end(arguments);
    return preload::opened(preload::next_open(path, flags, mode), AT_FDCWD, path, flags);
}

SOFTDSA_HOOK int open64(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = preload::mode_argument(flags, arguments);
    va_end(arguments);
    return preload::opened(preload::next_open(path, flags, mode), AT_FDCWD, path, flags);
}

SOFTDSA_HOOK int openat(int folder, const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = preload::mode_argument(flags, arguments);
    va_end(arguments);
    return preload::opened(preload::next_openat(folder, path, flags, mode), folder, path, flags);
}

SOFTDSA_HOOK int openat64(int folder, const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = preload::mode_argument(flags, arguments);
    va_end(arguments);
    return preload::opened(preload::next_openat(folder, path, flags, mode), folder, path, flags);
}

// Variants that _FORTIFY_SOURCE uses for open() without a mode.
SOFTDSA_HOOK int __open_2(const char* path, int flags) { return open(path, flags, 0); }
SOFTDSA_HOOK int __open64_2(const char* path, int flags) { return open(path, flags, 0); }
SOFTDSA_HOOK int __openat_2(int folder, const char* path, int flags) {
    return openat(folder, path, flags, 0);
}
SOFTDSA_HOOK int __openat64_2(int folder, const char* path, int flags) {
    return openat(folder, path, flags, 0);
}

SOFTDSA_HOOK void* mmap(void* address, std::size_t bytes, int protection, int flags, int fd,
                        off_t offset) noexcept {
    return preload::map(address, bytes, protection, flags, fd, offset);
}
SOFTDSA_HOOK void* mmap64(void* address, std::size_t bytes, int protection, int flags, int fd,
                          off64_t offset) noexcept {
    return preload::map(address, bytes, protection, flags, fd, offset);
}

SOFTDSA_HOOK int munmap(void* address, std::size_t bytes) noexcept {
    preload::forget(address, bytes);
    return preload::next_munmap(address, bytes);
}

SOFTDSA_HOOK void* mremap(void* address, std::size_t bytes, std::size_t new_bytes, int flags,
                          ...) noexcept {
    va_list arguments;
    va_start(arguments, flags);
    void* const target = (flags & MREMAP_FIXED) != 0 ? va_arg(arguments, void*) : nullptr;
    va_end(arguments);
    preload::forget(address, bytes);
    void* const moved = preload::next_mremap(address, bytes, new_bytes, flags, target);
    if (moved != MAP_FAILED) preload::forget(moved, new_bytes);
    return moved;
}

SOFTDSA_HOOK ssize_t write(int fd, const void* data, std::size_t bytes) {
    const auto written = preload::write_to_device(fd, data, bytes);
    return written ? *written : preload::next_write(fd, data, bytes);
}
SOFTDSA_HOOK ssize_t pwrite(int fd, const void* data, std::size_t bytes, off_t offset) {
    const auto written = preload::write_to_device(fd, data, bytes);
    return written ? *written : preload::next_pwrite(fd, data, bytes, offset);
}
SOFTDSA_HOOK ssize_t pwrite64(int fd, const void* data, std::size_t bytes, off64_t offset) {
    return pwrite(fd, data, bytes, offset);
}
SOFTDSA_HOOK ssize_t writev(int fd, const iovec* pieces, int count) {
    if (count <= 0) return preload::next_writev(fd, pieces, count);
    return preload::write_each(fd, pieces, count);
}

SOFTDSA_HOOK int sigaction(int signal, const struct sigaction* action,
                           struct sigaction* old) noexcept {
    if (!preload::fault_handlers_installed()) return preload::real_sigaction(signal, action, old);
    if (preload::is_trapped(signal)) return preload::exchange_action(signal, action, old);
    if (action == nullptr) return preload::real_sigaction(signal, action, old);
    struct sigaction copy = *action;
    copy.sa_mask = preload::without_trapped(copy.sa_mask);
    return preload::real_sigaction(signal, &copy, old);
}

SOFTDSA_HOOK sighandler_t signal(int signal, sighandler_t handler) noexcept {
    if (!preload::fault_handlers_installed() || !preload::is_trapped(signal)) {
        return preload::next_signal(signal, handler);
    }
    return preload::exchange_handler(signal, handler, SA_RESTART);
}
SOFTDSA_HOOK sighandler_t bsd_signal(int number, sighandler_t handler) noexcept {
    return signal(number, handler);
}
SOFTDSA_HOOK sighandler_t ssignal(int number, sighandler_t handler) noexcept {
    return signal(number, handler);
}

SOFTDSA_HOOK int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
    sigset_t copy;
    return preload::next_sigprocmask(how, preload::blockable(how, set, copy), old);
}
SOFTDSA_HOOK int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept {
    sigset_t copy;
    return preload::next_pthread_sigmask(how, preload::blockable(how, set, copy), old);
}
// NOLINTEND(*-reserved-identifier,readability-identifier-naming)
