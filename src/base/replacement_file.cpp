// SPDX-License-Identifier: Apache-2.0
#include "base/replacement_file.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/file_kind.hpp"
#include "base/log.hpp"

namespace migrate {
namespace {

constexpr int kAttempts = 100;  // attempts to find a hidden name that is not in use

// Checks the last component itself, without following a link. `folder` as in openat(2).
Status check_target(int folder, const std::string& name, const std::string& path) {
    struct statx found {};
    constexpr unsigned kWanted = STATX_TYPE | STATX_NLINK;
    if (::statx(folder, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, kWanted, &found) !=
        0) {
        if (errno == ENOENT) return {};
        return Error::system(fmt::format("examine {}", path), errno).as(ErrorKind::kUsage);
    }
    const auto refuse = [&path](std::string_view what) {
        return make_error(ErrorKind::kUsage, "{} is {}", path, what);
    };
    if (S_ISLNK(found.stx_mode)) {
        return refuse("a symbolic link, not a regular file: name the file that it leads to");
    }
    if (!S_ISREG(found.stx_mode)) {
        return refuse(
            fmt::format("{}, not a regular file: name a regular file, or one that does not exist "
                        "yet",
                        file_kind(found.stx_mode)));
    }
    if (found.stx_nlink > 1) {
        return refuse(fmt::format(
            "a file with {} names (hard links): remove this one, or choose another name",
            found.stx_nlink));
    }
    if ((found.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) {
        return refuse("a mount point, which no new file can replace: choose another name");
    }
    return {};
}

}  // namespace

Status check_replaceable(const std::string& path) { return check_target(AT_FDCWD, path, path); }

Result<ReplacementFile> ReplacementFile::create(std::string_view given) {
    std::string path(given);
    const std::filesystem::path target(path);
    std::string name = target.filename().string();
    if (name.empty() || name == "." || name == "..") {
        return make_error(ErrorKind::kUsage, "{} is a folder, not a file", path);
    }
    const std::string folder_path = target.has_parent_path() ? target.parent_path().string() : ".";
    UniqueFd folder(::open(folder_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) {
        return Error::system(fmt::format("open {}, the folder of {}", folder_path, path), errno)
            .as(ErrorKind::kUsage);
    }
    if (::faccessat(folder.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
        return Error::system(fmt::format("create a file in {}", folder_path), errno)
            .as(ErrorKind::kUsage);
    }
    MIGRATE_TRY(check_target(folder.get(), name, path));
    return ReplacementFile(std::move(path), std::move(folder), std::move(name));
}

ReplacementFile::ReplacementFile(ReplacementFile&& other) noexcept
    : path_(std::move(other.path_)),
      folder_(std::move(other.folder_)),
      name_(std::move(other.name_)),
      hidden_(std::exchange(other.hidden_, {})) {}

ReplacementFile::~ReplacementFile() {
    if (!hidden_.empty()) ::unlinkat(folder_.get(), hidden_.c_str(), 0);
}

Result<std::optional<FileIdentity>> ReplacementFile::target() const {
    struct stat status {};
    if (::fstatat(folder_.get(), name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
        return std::optional(FileIdentity{status.st_dev, status.st_ino});
    }
    if (errno == ENOENT) return std::optional<FileIdentity>();
    return Error::system(fmt::format("examine {}", path_), errno);
}

Result<UniqueFd> ReplacementFile::open_temporary() {
    UniqueFd file(::openat(folder_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kPrivateFileMode));
    if (!file) {
        // EISDIR and ENOENT come from kernels or file systems that do not know the flag, open(2).
        const bool lacks_unnamed_files = errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT;
        if (!lacks_unnamed_files) {
            return Error::system(fmt::format("create a temporary file beside {}", path_), errno);
        }
        MIGRATE_ASSIGN(file, open_hidden());
    }
    MIGRATE_TRY(copy_attributes(file.get()));
    return file;
}

Result<UniqueFd> ReplacementFile::open_hidden() {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        std::string name = hidden_name();
        UniqueFd file(::openat(folder_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                               kPrivateFileMode));
        if (file) {
            hidden_ = std::move(name);
            return file;
        }
        if (errno != EEXIST) break;
    }
    return Error::system(fmt::format("create a temporary file beside {}", path_), errno);
}

std::string ReplacementFile::hidden_name() const {
    std::uint32_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random)
        random = static_cast<std::uint32_t>(::getpid());
    // A file name has at most 255 bytes.
    return fmt::format(".{}.migrate-{:08x}", name_.substr(0, 230), random);
}

// Called before the file has content, so that nobody can read from it what the old mode kept from
// them.
Status ReplacementFile::copy_attributes(int fd) const {
    struct stat old {};
    if (::fstatat(folder_.get(), name_.c_str(), &old, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return {};
        return Error::system(fmt::format("examine {}", path_), errno);
    }
    // Only root may give files away; for other users the new file keeps their owner.
    if (::fchown(fd, old.st_uid, old.st_gid) != 0) {
        log::debug("{}: the new file does not get the old one's owner", path_);
    }
    if (::fchmod(fd, old.st_mode & 07777U) != 0) {
        return Error::system(fmt::format("give the new {} the mode of the old one", path_), errno);
    }
    return {};
}

Status ReplacementFile::link_hidden(int fd) {
    // Uses /proc because AT_EMPTY_PATH needs a privilege, open(2).
    const std::string source = fmt::format("/proc/self/fd/{}", fd);
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        std::string name = hidden_name();
        if (::linkat(AT_FDCWD, source.c_str(), folder_.get(), name.c_str(), AT_SYMLINK_FOLLOW) ==
            0) {
            hidden_ = std::move(name);
            return {};
        }
        if (errno != EEXIST) break;
    }
    return Error::system(fmt::format("give the complete file a name beside {}", path_), errno);
}

Status ReplacementFile::publish(int fd) {
    // The target may have become something else since create().
    Status replaceable = check_target(folder_.get(), name_, path_);
    if (!replaceable) return std::move(replaceable).error().as(ErrorKind::kFailed);
    if (hidden_.empty()) MIGRATE_TRY(link_hidden(fd));
    if (::renameat(folder_.get(), hidden_.c_str(), folder_.get(), name_.c_str()) != 0) {
        return Error::system(fmt::format("put the complete file in place as {}", path_), errno);
    }
    hidden_.clear();
    return {};
}

Result<UniqueFd> ReplacementFile::open_beside(std::string_view suffix) const {
    const std::string name = fmt::format("{}{}", name_, suffix);
    const std::string path = fmt::format("{}{}", path_, suffix);
    MIGRATE_TRY(check_target(folder_.get(), name, path));
    constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    UniqueFd file(::openat(folder_.get(), name.c_str(), kFlags));
    if (file) return file;
    if (errno == ENOENT) {
        file = UniqueFd(
            ::openat(folder_.get(), name.c_str(), kFlags | O_CREAT | O_EXCL, kPrivateFileMode));
    }
    if (!file) return Error::system(fmt::format("open {}", path), errno).as(ErrorKind::kUsage);
    MIGRATE_TRY(copy_attributes(file.get()));
    return file;
}

Status ReplacementFile::publish_beside(std::string_view suffix) const {
    Status replaceable = check_target(folder_.get(), name_, path_);
    if (!replaceable) return std::move(replaceable).error().as(ErrorKind::kFailed);
    const std::string name = fmt::format("{}{}", name_, suffix);
    if (::renameat(folder_.get(), name.c_str(), folder_.get(), name_.c_str()) == 0) return {};
    return Error::system(fmt::format("put the complete file in place as {}", path_), errno);
}

Status ReplacementFile::remove_beside(std::string_view suffix) const {
    const std::string name = fmt::format("{}{}", name_, suffix);
    if (::unlinkat(folder_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
    return Error::system(fmt::format("remove {}{}", path_, suffix), errno);
}

Status ReplacementFile::sync_folder() const {
    return sync_names(folder_.get(), fmt::format("the name {}", path_));
}

Status sync_names(int folder, std::string_view names) {
    // EINVAL: the file system's folders need no sync.
    if (::fsync(folder) == 0 || errno == EINVAL) return {};
    return Error::system(fmt::format("make {} durable", names), errno);
}

Status write_whole_file(const std::string& path, std::string_view content) {
    MIGRATE_ASSIGN(ReplacementFile file, ReplacementFile::create(path));
    MIGRATE_ASSIGN(const UniqueFd temporary, file.open_temporary());
    MIGRATE_TRY(write_all(temporary.get(), content, path));
    return file.publish(temporary.get());
}

Status write_all(int fd, std::string_view content, std::string_view what) {
    while (!content.empty()) {
        const ssize_t written = ::write(fd, content.data(), content.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return Error::system(fmt::format("write {}", what), errno);
        content.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace migrate
