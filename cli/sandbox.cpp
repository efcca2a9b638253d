// SPDX-License-Identifier: Apache-2.0
#include "cli/sandbox.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <vector>

#include "base/denial_note.hpp"
#include "cli/landlock.hpp"
#include "cli/output_paths.hpp"
#include "guest/bundle/bundle_folder.hpp"

namespace migrate::cli {
namespace {

constexpr const char* kDenialNote =
    "if the receiver's sandbox forbids this, --sandbox off permits it";

Error cannot_confine(const Error& reason) {
    return make_error(
        ErrorKind::kUsage,
        "cannot confine the receiver: {}; --sandbox off lets it run without a sandbox",
        reason.message());
}

bool is_fifo(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode);
}

WritableFiles writable_files(const std::vector<std::string>& outputs) {
    // /dev/userfaultfd makes a userfaultfd where the system call is denied. /proc/self has switches
    // of this process only: the names of its threads, its soft-dirty bits.
    WritableFiles writable{{"/proc/self"}, {"/dev/null", "/dev/userfaultfd"}};
    for (const std::string& path : outputs) {
        if (is_fifo(path)) {
            writable.files.push_back(path);
            continue;
        }
        const std::filesystem::path file(path);
        writable.folders.push_back(file.has_parent_path() ? file.parent_path().string() : ".");
    }
    return writable;
}

// Landlock forbids a process every access to the memory of processes outside, as ptrace(2) does.
constexpr std::string_view kQemuReason = "it would keep the receiver from QEMU's memory";

}  // namespace

Result<Sandbox> Sandbox::begin(const Settings& settings) {
    if (!settings.get<"sandbox">()) return Sandbox({}, "off");
    MIGRATE_ASSIGN(const std::vector<std::string> outputs, written_paths(settings));
    MIGRATE_ASSIGN(const ParsedForm sink, parse_form_of<"sink">(settings.get<"sink">()));
    // Landlock allows what lies in folders that exist.
    if (sink.is("bundle")) MIGRATE_TRY(guest::make_bundle_folder(sink.operand.value.text));
    const SyscallNeeds needs{.creates_files = !outputs.empty(),
                             .connects = settings.get<"repeat">() != 0,
                             .uses_qemu = sink.is("qemu")};
    LandlockSupport landlock = find_landlock();
    if (needs.uses_qemu) landlock = {0, std::string(kQemuReason)};
    if (landlock.version != 0) {
        const Status restricted = restrict_files(writable_files(outputs), landlock.version);
        if (!restricted) return cannot_confine(restricted.error());
    }
    set_denial_note(kDenialNote);
    Sandbox sandbox(needs, landlock.version != 0
                               ? "seccomp and Landlock"
                               : fmt::format("seccomp, without Landlock: {}", landlock.reason));
    sandbox.on_ = true;
    return sandbox;
}

Status Sandbox::complete() const {
    if (!on_) return {};
    const Status forbidden = forbid_syscalls(needs_);
    if (!forbidden) return cannot_confine(forbidden.error());
    return {};
}

}  // namespace migrate::cli
