#include "memory/replacement_file.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/log.hpp"
#include "memory/file_kind.hpp"

namespace migrate::memory {
namespace {

constexpr int kAttempts = 100;  // at a hidden name nobody else uses

// The last component only; the kernel follows the links among the folders.
Result<std::filesystem::path> follow_links(const std::string& path) {
    std::filesystem::path at(path);
    std::error_code error;
    for (int i = 0; i < 40; ++i) {  // as many as the kernel follows, path_resolution(7)
        if (!std::filesystem::is_symlink(std::filesystem::symlink_status(at, error))) return at;
        const std::filesystem::path target = std::filesystem::read_symlink(at, error);
        if (error) return Error::system(fmt::format("follow the link {}", path), error.value());
        at = target.is_absolute() ? target : at.parent_path() / target;
    }
    return Error::system(fmt::format("follow the link {}", path), ELOOP);
}

Status check_target(int folder, const std::string& name, const std::string& path) {
    struct stat status {};
    if (::fstatat(folder, name.c_str(), &status, 0) != 0) {
        if (errno == ENOENT) return {};
        return Error::system(fmt::format("examine {}", path), errno);
    }
    if (S_ISREG(status.st_mode)) return {};
    return make_error(ErrorKind::kUsage, "{} is {}, not a regular file", path,
                      file_kind(status.st_mode));
}

}  // namespace

Result<ReplacementFile> ReplacementFile::create(std::string_view given) {
    std::string path(given);
    MIGRATE_ASSIGN(const std::filesystem::path target, follow_links(path));
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

Result<UniqueFd> ReplacementFile::open_temporary() {
    constexpr mode_t kNewFile = 0666;  // the kernel takes the umask off
    UniqueFd file(::openat(folder_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kNewFile));
    if (!file) {
        // EISDIR and ENOENT: kernels or file systems that do not know the flag, open(2).
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
        UniqueFd file(
            ::openat(folder_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
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
    // A file's name has at most 255 bytes.
    return fmt::format(".{}.migrate-{:08x}", name_.substr(0, 230), random);
}

// Before a byte is in the file, so that nobody reads there what the old mode kept from them.
Status ReplacementFile::copy_attributes(int fd) const {
    struct stat old {};
    if (::fstatat(folder_.get(), name_.c_str(), &old, 0) != 0) return {};
    // Only root may give files away; others keep what they own.
    if (::fchown(fd, old.st_uid, old.st_gid) != 0) {
        log::debug("{}: the new file does not get the old one's owner", path_);
    }
    if (::fchmod(fd, old.st_mode & 07777U) != 0) {
        return Error::system(fmt::format("give the new {} the mode of the old one", path_), errno);
    }
    return {};
}

Status ReplacementFile::link_hidden(int fd) {
    // By way of /proc because AT_EMPTY_PATH needs a privilege, open(2).
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
    if (hidden_.empty()) MIGRATE_TRY(link_hidden(fd));
    if (::renameat(folder_.get(), hidden_.c_str(), folder_.get(), name_.c_str()) != 0) {
        return Error::system(fmt::format("put the complete file in place as {}", path_), errno);
    }
    hidden_.clear();
    // EINVAL: a file system whose folders need no sync.
    if (::fsync(folder_.get()) != 0 && errno != EINVAL) {
        return Error::system(fmt::format("make the name {} durable", path_), errno);
    }
    return {};
}

}  // namespace migrate::memory
