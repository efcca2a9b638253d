#include "cli/output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "base/fd.hpp"

namespace migrate::cli {
namespace {

// Names that other programs took are passed over.
constexpr int kTemporaryNames = 100;

std::string name_of_file(std::string_view what, const std::string& path) {
    return fmt::format("the {} file {}", what, path);
}

// What is at the path: nothing, or a regular file.
Result<std::optional<struct stat>> look_at(const std::string& path, const std::string& name) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) {
        if (errno == ENOENT) return std::optional<struct stat>();
        return Error::system("look at " + name, errno);
    }
    if (!S_ISREG(found.st_mode)) {
        return make_error("{} is not a regular file: it is left alone; name another", name);
    }
    return std::optional(found);
}

Status write_all(int fd, std::string_view text, const std::string& name) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return Error::system(fmt::format("write {}", name), errno);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

struct Temporary {
    UniqueFd fd;
    std::string path;
};

Result<Temporary> create_beside(const std::string& path) {
    for (int i = 0; i < kTemporaryNames; ++i) {
        std::string name = fmt::format("{}.{}.{}", path, ::getpid(), i);
        UniqueFd fd(
            ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
        if (fd) return Temporary{std::move(fd), std::move(name)};
        if (errno != EEXIST) return Error::system(fmt::format("create {}", name), errno);
    }
    return make_error("cannot create a file beside {}: {} names are taken", path, kTemporaryNames);
}

void keep_permissions(int fd, const struct stat& of) {
    // Whoever may not give a file away keeps it, with its permissions.
    if (::fchown(fd, of.st_uid, of.st_gid) != 0) errno = 0;
    ::fchmod(fd, of.st_mode & 0777U);
}

}  // namespace

Result<OutputFile> OutputFile::open(std::string_view what, const std::string& path,
                                    std::string_view first) {
    if (path.empty()) return OutputFile();
    OutputFile file(name_of_file(what, path), path);
    Status status = file.write(first);
    if (!status) return std::move(status).error().as(ErrorKind::kUsage);
    return file;
}

Status OutputFile::write(std::string_view text) const {
    if (path_.empty()) return {};
    MIGRATE_ASSIGN(const auto found, look_at(path_, name_));
    if (found && ::access(path_.c_str(), W_OK) != 0) return Error::system("open " + name_, errno);
    Status status = write_file_at_once(path_, text);
    if (!status) return std::move(status).error().with_context("cannot write " + name_);
    return {};
}

Status write_file_at_once(const std::string& path, std::string_view text) {
    MIGRATE_ASSIGN(const auto found, look_at(path, path));
    MIGRATE_ASSIGN(Temporary temporary, create_beside(path));
    if (found) keep_permissions(temporary.fd.get(), *found);
    Status status = write_all(temporary.fd.get(), text, temporary.path);
    if (status && ::rename(temporary.path.c_str(), path.c_str()) != 0) {
        status = Error::system(fmt::format("rename {} to {}", temporary.path, path), errno);
    }
    if (!status) ::unlink(temporary.path.c_str());
    return status;
}

Status remove_old_file(std::string_view what, const std::string& path) {
    if (path.empty()) return {};
    const std::string name = name_of_file(what, path);
    const auto found = look_at(path, name);
    if (!found) return Error(found.error()).as(ErrorKind::kUsage);
    if (*found && ::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return Error::system("remove " + name, errno).as(ErrorKind::kUsage);
    }
    return {};
}

}  // namespace migrate::cli
