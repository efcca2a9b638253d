// SPDX-License-Identifier: Apache-2.0
#include "cli/syscall_filter.hpp"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <type_traits>

namespace migrate::cli {
namespace {

#ifdef MIGRATE_UNDER_SANITIZER
// LeakSanitizer forks and traces the process at its end.
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr std::uint64_t kLow32 = 0xFFFFFFFF;  // the half of a register that the kernel reads
constexpr std::uint64_t kSocketTypes = 0xF;   // SOCK_TYPE_MASK of include/linux/net.h
constexpr auto kUnnamedFile = static_cast<std::uint64_t>(O_TMPFILE & ~O_DIRECTORY);

// A condition on one argument: it has `value` in the bits of `mask`.
scmp_arg_cmp has_bits(unsigned argument, std::uint64_t mask, std::uint64_t value) {
    scmp_arg_cmp condition{};
    condition.arg = argument;
    condition.op = SCMP_CMP_MASKED_EQ;
    condition.datum_a = mask;
    condition.datum_b = value;
    return condition;
}

scmp_arg_cmp compares(unsigned argument, scmp_compare comparison, std::uint64_t value) {
    scmp_arg_cmp condition{};
    condition.arg = argument;
    condition.op = comparison;
    condition.datum_a = value;
    return condition;
}

class Filter {
  public:
    Filter() : context_(::seccomp_init(SCMP_ACT_ALLOW), &::seccomp_release) {
        if (!context_) {
            note(-ENOMEM);
            return;
        }
        // Calls by another convention (32 bits, x32) have other numbers, which the rules do not
        // cover.
        note(::seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)));
        note(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1));
        // A binary tree: a call passes a few comparisons instead of all.
        note(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
    }

    void forbid(std::initializer_list<int> calls) {
        for (const int call : calls) add(SCMP_ACT_ERRNO(EPERM), call, {});
    }
    // Forbids the call if all conditions hold.
    void forbid_if(int call, std::initializer_list<scmp_arg_cmp> conditions) {
        add(SCMP_ACT_ERRNO(EPERM), call, conditions);
    }
    // Answers like a kernel that does not have the call, so that the C library uses an older one.
    void hide(int call) { add(SCMP_ACT_ERRNO(ENOSYS), call, {}); }

    Status load() {
        if (failure_ == 0) note(::seccomp_load(context_.get()));
        if (failure_ == 0) return {};
        return Error::system("load a filter of system calls (seccomp)", failure_);
    }

  private:
    void add(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> conditions) {
        if (failure_ != 0) return;
        note(::seccomp_rule_add_array(context_.get(), action, call,
                                      static_cast<unsigned>(conditions.size()),
                                      std::data(conditions)));
    }
    void note(int result) {
        if (failure_ == 0 && result < 0) failure_ = -result;
    }

    std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, decltype(&::seccomp_release)> context_;
    int failure_ = 0;  // the first errno
};

void forbid_programs(Filter& filter, const SyscallNeeds& needs) {
    filter.forbid({SCMP_SYS(execve), SCMP_SYS(execveat)});
    if (needs.uses_qemu || kSanitized) return;
    filter.forbid({SCMP_SYS(fork), SCMP_SYS(vfork)});
    filter.forbid_if(SCMP_SYS(clone), {has_bits(0, CLONE_THREAD, 0)});
    // Its flags are in memory, where a filter cannot read them. Threads are then made by clone().
    filter.hide(SCMP_SYS(clone3));
}

void forbid_other_processes(Filter& filter, const SyscallNeeds& needs) {
    filter.forbid({SCMP_SYS(process_madvise), SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp),
                   SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo), SCMP_SYS(tkill)});
    if (!kSanitized) filter.forbid({SCMP_SYS(ptrace)});
    if (needs.uses_qemu) return;
    filter.forbid({SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal)});
    const auto self = static_cast<std::uint64_t>(::getpid());
    for (const int call : {SCMP_SYS(kill), SCMP_SYS(tgkill), SCMP_SYS(process_vm_readv)}) {
        filter.forbid_if(call, {compares(0, SCMP_CMP_NE, self)});
    }
}

// Leaves sockets of `families` and of the type SOCK_STREAM.
void forbid_sockets_except(Filter& filter, std::initializer_list<int> families) {
    const int last = AF_INET6;
    filter.forbid_if(SCMP_SYS(socket), {compares(0, SCMP_CMP_GT, last)});
    for (int family = 0; family <= last; ++family) {
        const bool allowed = std::find(families.begin(), families.end(), family) != families.end();
        if (allowed) continue;
        filter.forbid_if(SCMP_SYS(socket),
                         {has_bits(0, kLow32, static_cast<std::uint64_t>(family))});
    }
    for (std::uint64_t type = 0; type <= kSocketTypes; ++type) {
        if (type != SOCK_STREAM) {
            filter.forbid_if(SCMP_SYS(socket), {has_bits(1, kSocketTypes, type)});
        }
    }
}

void forbid_connections(Filter& filter, const SyscallNeeds& needs) {
    filter.forbid({SCMP_SYS(bind), SCMP_SYS(listen)});
    // MSG_FASTOPEN connects, too.
    if (!needs.connects) {
        filter.forbid_if(SCMP_SYS(sendto), {has_bits(3, MSG_FASTOPEN, MSG_FASTOPEN)});
        filter.forbid_if(SCMP_SYS(sendmsg), {has_bits(2, MSG_FASTOPEN, MSG_FASTOPEN)});
        filter.forbid_if(SCMP_SYS(sendmmsg), {has_bits(3, MSG_FASTOPEN, MSG_FASTOPEN)});
    }
    if (needs.connects && needs.uses_qemu) {
        forbid_sockets_except(filter, {AF_UNIX, AF_INET, AF_INET6});
    } else if (needs.connects) {
        forbid_sockets_except(filter, {AF_INET, AF_INET6});
    } else if (needs.uses_qemu) {
        forbid_sockets_except(filter, {AF_UNIX});
    } else {
        filter.forbid({SCMP_SYS(socket), SCMP_SYS(connect)});
    }
}

// Landlock restricts the folders; this also holds where the kernel does not have it.
void forbid_files(Filter& filter, const SyscallNeeds& needs) {
    filter.forbid({SCMP_SYS(creat),     SCMP_SYS(openat2),     SCMP_SYS(open_by_handle_at),
                   SCMP_SYS(mkdir),     SCMP_SYS(mkdirat),     SCMP_SYS(rmdir),
                   SCMP_SYS(mknod),     SCMP_SYS(mknodat),     SCMP_SYS(symlink),
                   SCMP_SYS(symlinkat), SCMP_SYS(truncate),    SCMP_SYS(chmod),
                   SCMP_SYS(fchmodat),  SCMP_SYS(chown),       SCMP_SYS(lchown),
                   SCMP_SYS(fchownat),  SCMP_SYS(setxattr),    SCMP_SYS(lsetxattr),
                   SCMP_SYS(fsetxattr), SCMP_SYS(removexattr), SCMP_SYS(lremovexattr),
                   SCMP_SYS(chroot),    SCMP_SYS(fremovexattr)});
    constexpr unsigned kFlagsOfOpen = 1;
    constexpr unsigned kFlagsOfOpenat = 2;
    const auto forbid_flags = [&filter](std::uint64_t mask, std::uint64_t value) {
        filter.forbid_if(SCMP_SYS(open), {has_bits(kFlagsOfOpen, mask, value)});
        filter.forbid_if(SCMP_SYS(openat), {has_bits(kFlagsOfOpenat, mask, value)});
    };
    forbid_flags(O_TRUNC, O_TRUNC);
    if (needs.creates_files) {
        // New files only.
        forbid_flags(O_CREAT | O_EXCL, O_CREAT);
        return;
    }
    forbid_flags(O_CREAT, O_CREAT);
    forbid_flags(kUnnamedFile, kUnnamedFile);
    filter.forbid({SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(rename), SCMP_SYS(renameat),
                   SCMP_SYS(renameat2), SCMP_SYS(unlink), SCMP_SYS(unlinkat)});
}

// Calls that a receiver never makes and that reach far into the kernel, or past this filter.
void forbid_kernel(Filter& filter) {
    filter.forbid({SCMP_SYS(io_uring_setup),
                   SCMP_SYS(io_uring_enter),
                   SCMP_SYS(io_uring_register),
                   SCMP_SYS(bpf),
                   SCMP_SYS(perf_event_open),
                   SCMP_SYS(mount),
                   SCMP_SYS(umount2),
                   SCMP_SYS(move_mount),
                   SCMP_SYS(open_tree),
                   SCMP_SYS(fsopen),
                   SCMP_SYS(fsconfig),
                   SCMP_SYS(fsmount),
                   SCMP_SYS(fspick),
                   SCMP_SYS(mount_setattr),
                   SCMP_SYS(pivot_root),
                   SCMP_SYS(setns),
                   SCMP_SYS(unshare),
                   SCMP_SYS(swapon),
                   SCMP_SYS(swapoff),
                   SCMP_SYS(init_module),
                   SCMP_SYS(finit_module),
                   SCMP_SYS(delete_module),
                   SCMP_SYS(kexec_load),
                   SCMP_SYS(kexec_file_load),
                   SCMP_SYS(reboot),
                   SCMP_SYS(acct),
                   SCMP_SYS(quotactl),
                   SCMP_SYS(quotactl_fd),
                   SCMP_SYS(add_key),
                   SCMP_SYS(request_key),
                   SCMP_SYS(keyctl),
                   SCMP_SYS(fanotify_init),
                   SCMP_SYS(personality),
                   SCMP_SYS(settimeofday),
                   SCMP_SYS(clock_settime),
                   SCMP_SYS(clock_adjtime),
                   SCMP_SYS(adjtimex),
                   SCMP_SYS(sethostname),
                   SCMP_SYS(setdomainname),
                   SCMP_SYS(syslog),
                   SCMP_SYS(vhangup),
                   SCMP_SYS(iopl),
                   SCMP_SYS(ioperm),
                   SCMP_SYS(modify_ldt)});
    filter.forbid({SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid), SCMP_SYS(setregid),
                   SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setgroups),
                   SCMP_SYS(setfsuid), SCMP_SYS(setfsgid), SCMP_SYS(capset)});
}

}  // namespace

Status forbid_syscalls(const SyscallNeeds& needs) {
    Filter filter;
    forbid_programs(filter, needs);
    forbid_other_processes(filter, needs);
    forbid_connections(filter, needs);
    forbid_files(filter, needs);
    forbid_kernel(filter);
    return filter.load();
}

}  // namespace migrate::cli
