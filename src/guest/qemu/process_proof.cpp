// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/process_proof.hpp"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <string_view>

#include "base/file_identity.hpp"
#include "memory/foreign/foreign_mapping.hpp"

namespace migrate::guest {
namespace {

// QEMU's name for the descriptor.
constexpr std::string_view kProofName = "migrate-proof";

Result<bool> has_open(pid_t pid, const FileIdentity& file) {
    std::error_code failed;
    const std::filesystem::directory_iterator descriptors(fmt::format("/proc/{}/fd", pid), failed);
    if (failed.value() == EACCES) {
        return make_error(ErrorKind::kRefused,
                          "the process of {} may not be examined: it belongs to another user; run "
                          "migrate as root or as QEMU's user",
                          memory::process_name(pid));
    }
    if (failed) {
        return Error::system(fmt::format("examine {}", memory::process_name(pid)), failed.value());
    }
    for (const auto& entry : descriptors) {
        struct stat status {};
        if (::stat(entry.path().c_str(), &status) != 0) continue;  // closed meanwhile
        if (FileIdentity{status.st_dev, status.st_ino} == file) return true;
    }
    return false;
}

}  // namespace

Status check_is_qemu(Monitor& monitor, pid_t pid) {
    const UniqueFd file(::memfd_create("migrate-proof", MFD_CLOEXEC));
    if (!file) return Error::system("create a memfd", errno);
    MIGRATE_ASSIGN(const FileIdentity identity, identify(file.get()));
    MIGRATE_TRY(monitor.give_descriptor(kProofName, file.get()));
    const Result<bool> found = has_open(pid, identity);
    MIGRATE_TRY(monitor.ask("closefd", {{"fdname", kProofName}}));
    MIGRATE_ASSIGN(const bool is_it, found);
    if (is_it) return {};
    return make_error("{} is not the QEMU that answers on {}: say which process it is with pid=PID",
                      memory::process_name(pid), monitor.address());
}

}  // namespace migrate::guest
