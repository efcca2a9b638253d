// SPDX-License-Identifier: Apache-2.0
// A library to preload into a receiver: it tries what the receiver's sandbox forbids, as a sender
// would that has taken the receiver over. It does so twice: in the thread that accepts the first
// connection, which starts after the sandbox is complete, and then in the thread that writes to
// standard error, which may have started before. Each attempt adds a line "THREAD NAME ERRNO" to
// the file that FORBIDDEN_REPORT names; ERRNO 0 means that the kernel did it. FORBIDDEN_FOLDER is a
// folder that is none of the receiver's; it has the files "victim" and "other".
//
// Attempts that would succeed without a sandbox do no harm: they fail for another reason, or touch
// only that folder.
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/raw_syscall.hpp"

namespace {

using migrate::raw_syscall;

// Set before the receiver confines itself.
int report = -1;
const char* folder = nullptr;
std::atomic<int> connection{-1};  // the first one that was accepted
std::atomic<bool> accepted{false};
std::atomic<bool> wrote{false};

__attribute__((constructor)) void open_report() {
    const char* path = std::getenv("FORBIDDEN_REPORT");
    const char* where = std::getenv("FORBIDDEN_FOLDER");
    if (path == nullptr || where == nullptr) return;
    report = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    folder = where;
}

class Attempts {
  public:
    explicit Attempts(const char* thread) : thread_(thread) {}

    // `result` is that of a system call that set errno if it is negative.
    void note(const char* name, long result) const {
        const int error = result < 0 ? errno : 0;
        const std::string line =
            std::string(thread_) + " " + name + " " + std::to_string(error) + "\n";
        (void)!raw_syscall(SYS_write, report, line.data(), line.size());
    }
    void open_with(const char* name, const std::string& path, int flags) const {
        const long fd = raw_syscall(SYS_openat, AT_FDCWD, path.c_str(), flags, 0600);
        note(name, fd);
        if (fd >= 0) ::close(static_cast<int>(fd));
    }

  private:
    const char* thread_;
};

void try_programs(const Attempts& attempts) {
    const char* const none[] = {nullptr};
    // Without a sandbox: ENOENT.
    attempts.note("execve", raw_syscall(SYS_execve, "/no/such/program", none, none));
    attempts.note("execveat",
                  raw_syscall(SYS_execveat, AT_FDCWD, "/no/such/program", none, none, 0));
    // It would go on in this function, twice.
    const long child = raw_syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (child == 0) ::_exit(0);
    attempts.note("clone", child);
    if (child > 0) ::waitpid(static_cast<pid_t>(child), nullptr, 0);
    const long forked = raw_syscall(SYS_fork);
    if (forked == 0) ::_exit(0);
    attempts.note("fork", forked);
    if (forked > 0) ::waitpid(static_cast<pid_t>(forked), nullptr, 0);
}

void try_files(const Attempts& attempts) {
    const std::string base = folder;
    const std::string victim = base + "/victim";
    const std::string made = base + "/made";
    attempts.open_with("create", made, O_WRONLY | O_CREAT | O_EXCL);
    attempts.open_with("create-unnamed", folder, O_RDWR | O_TMPFILE);
    attempts.open_with("write", victim, O_WRONLY);
    attempts.open_with("truncate-open", victim, O_RDONLY | O_TRUNC);
    attempts.note("truncate", raw_syscall(SYS_truncate, victim.c_str(), 0));
    attempts.note("creat", raw_syscall(SYS_creat, made.c_str(), 0600));
    attempts.note("mkdir", raw_syscall(SYS_mkdir, (base + "/folder").c_str(), 0700));
    attempts.note("symlink", raw_syscall(SYS_symlink, "victim", (base + "/symbolic").c_str()));
    attempts.note("mknod", raw_syscall(SYS_mknod, (base + "/fifo").c_str(), S_IFIFO | 0600, 0));
    attempts.note("link", raw_syscall(SYS_link, victim.c_str(), (base + "/hard").c_str()));
    attempts.note("rename",
                  raw_syscall(SYS_rename, (base + "/other").c_str(), (base + "/new").c_str()));
    attempts.note("chmod", raw_syscall(SYS_chmod, victim.c_str(), 0666));
    attempts.note("unlink", raw_syscall(SYS_unlink, victim.c_str()));
}

void try_connections(const Attempts& attempts) {
    const sockaddr_in nowhere{AF_INET, htons(1), {htonl(INADDR_LOOPBACK)}, {}};
    struct Kind {
        const char* name;
        int family;
        int type;
    };
    constexpr Kind kKinds[] = {{"socket-unix", AF_UNIX, SOCK_STREAM},
                               {"socket-udp", AF_INET, SOCK_DGRAM},
                               {"socket-netlink", AF_NETLINK, SOCK_RAW},
                               {"socket-tcp", AF_INET, SOCK_STREAM}};
    for (const auto& [name, family, type] : kKinds) {
        const long fd = raw_syscall(SYS_socket, family, type, 0);
        attempts.note(name, fd);
        if (fd >= 0) ::close(static_cast<int>(fd));
    }
    const int own = connection.load();
    // Without a sandbox: EISCONN or EINVAL.
    attempts.note("connect", raw_syscall(SYS_connect, own, &nowhere, sizeof nowhere));
    attempts.note("fast-open", raw_syscall(SYS_sendto, own, "", std::size_t{0}, MSG_FASTOPEN,
                                           &nowhere, sizeof nowhere));
    attempts.note("bind", raw_syscall(SYS_bind, own, &nowhere, sizeof nowhere));
    attempts.note("listen", raw_syscall(SYS_listen, own, 1));
}

void try_processes(const Attempts& attempts) {
    const int parent = ::getppid();
    attempts.note("kill", raw_syscall(SYS_kill, parent, 0));
    // No process has this number. Without a sandbox: ESRCH.
    attempts.note("ptrace", raw_syscall(SYS_ptrace, PTRACE_PEEKDATA, 0x3FFFFFFF, nullptr, nullptr));
    attempts.note("process_vm_writev",
                  raw_syscall(SYS_process_vm_writev, parent, nullptr, 0UL, nullptr, 0UL, 0UL));
    attempts.note("pidfd_open", raw_syscall(SYS_pidfd_open, parent, 0U));
}

void try_kernel(const Attempts& attempts) {
    // Without a sandbox: EFAULT.
    attempts.note("io_uring_setup", raw_syscall(SYS_io_uring_setup, 1U, nullptr));
    attempts.note("unshare", raw_syscall(SYS_unshare, 0));
    // getpid() by the numbers of x32. Without a sandbox, a kernel without x32 says ENOSYS.
    attempts.note("x32", raw_syscall(0x40000000L | SYS_getpid));
}

void try_all(const char* thread) {
    const int kept = errno;
    const Attempts attempts(thread);
    try_programs(attempts);
    try_connections(attempts);
    try_processes(attempts);
    try_kernel(attempts);
    try_files(attempts);
    attempts.note("end", 0);
    errno = kept;
}

template <typename Function>
Function* next(const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int accept(int listener, sockaddr* address, socklen_t* size) {
    const int fd = next<int(int, sockaddr*, socklen_t*)>("accept")(listener, address, size);
    if (fd >= 0 && report >= 0 && !accepted.exchange(true)) {
        connection = fd;
        try_all("accepting");
    }
    return fd;
}

ssize_t write(int fd, const void* content, size_t size) {
    if (fd == STDERR_FILENO && accepted && !wrote.exchange(true)) try_all("writing");
    return next<ssize_t(int, const void*, size_t)>("write")(fd, content, size);
}

}  // extern "C"
