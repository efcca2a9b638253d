// SPDX-License-Identifier: Apache-2.0
#include "cli/landlock.hpp"

#include <fcntl.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "base/fd.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::cli {
namespace {

// From include/uapi/linux/landlock.h: Debian 12's header has version 2 of the interface only.
constexpr std::uint64_t kExecute = 1U << 0;
constexpr std::uint64_t kWriteFile = 1U << 1;
constexpr std::uint64_t kRemoveDir = 1U << 4;
constexpr std::uint64_t kRemoveFile = 1U << 5;
constexpr std::uint64_t kMakeChar = 1U << 6;
constexpr std::uint64_t kMakeDir = 1U << 7;
constexpr std::uint64_t kMakeReg = 1U << 8;
constexpr std::uint64_t kMakeSock = 1U << 9;
constexpr std::uint64_t kMakeFifo = 1U << 10;
constexpr std::uint64_t kMakeBlock = 1U << 11;
constexpr std::uint64_t kMakeSym = 1U << 12;
constexpr std::uint64_t kTruncate = 1U << 14;                // version 3
constexpr std::uint64_t kScopeAbstractUnixSocket = 1U << 0;  // version 6
constexpr std::uint64_t kScopeSignal = 1U << 1;              // version 6

// Version 1 denies links and renames from one folder to another without being asked to.
constexpr std::uint64_t kAlwaysHandled = kExecute | kWriteFile | kRemoveDir | kRemoveFile |
                                         kMakeChar | kMakeDir | kMakeReg | kMakeSock | kMakeFifo |
                                         kMakeBlock | kMakeSym;
constexpr std::uint64_t kInFolders = kWriteFile | kRemoveFile | kMakeReg | kMakeSock | kTruncate;
constexpr std::uint64_t kOnFiles = kWriteFile | kTruncate;

struct RulesetAttributes {
    std::uint64_t files = 0;
    std::uint64_t network = 0;  // version 4; not used: the system call filter covers connections
    std::uint64_t scoped = 0;
};

struct __attribute__((packed)) PathRule {
    std::uint64_t allowed = 0;
    std::int32_t parent = -1;
};

constexpr unsigned kGetVersion = 1;
constexpr int kPathRule = 1;

Status allow(const UniqueFd& ruleset, const std::string& path, std::uint64_t rights) {
    const UniqueFd parent(::open(path.c_str(), O_PATH | O_CLOEXEC));
    // The same reason prevents the use of the file, whose error names it.
    if (!parent) return {};
    const PathRule rule{rights, parent.get()};
    if (raw_syscall(SYS_landlock_add_rule, ruleset.get(), kPathRule, &rule, 0U) == 0) return {};
    return Error::system("allow writing to " + path + " (Landlock)", errno);
}

}  // namespace

LandlockSupport find_landlock() {
    const auto version = static_cast<int>(
        raw_syscall(SYS_landlock_create_ruleset, nullptr, std::size_t{0}, kGetVersion));
    if (version > 0) return {version, {}};
    switch (errno) {
        case ENOSYS:
            return {0, "this kernel does not have it"};
        case EOPNOTSUPP:
            return {0, "this kernel was started without it"};
        default:
            // EPERM comes from a container's filter.
            return {0, std::generic_category().message(errno)};
    }
}

Status restrict_files(const WritableFiles& writable, int version) {
    const std::uint64_t handled = kAlwaysHandled | (version >= 3 ? kTruncate : 0);
    const RulesetAttributes attributes{handled, 0,
                                       version >= 6 ? kScopeAbstractUnixSocket | kScopeSignal : 0};
    const UniqueFd ruleset(static_cast<int>(
        raw_syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0U)));
    if (!ruleset) return Error::system("create a Landlock ruleset", errno);
    for (const std::string& folder : writable.folders) {
        MIGRATE_TRY(allow(ruleset, folder, kInFolders & handled));
    }
    for (const std::string& file : writable.files) {
        MIGRATE_TRY(allow(ruleset, file, kOnFiles & handled));
    }
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0) {
        return Error::system("give up new privileges", errno);
    }
    if (raw_syscall(SYS_landlock_restrict_self, ruleset.get(), 0U) == 0) return {};
    return Error::system("restrict the access to files (Landlock)", errno);
}

}  // namespace migrate::cli
