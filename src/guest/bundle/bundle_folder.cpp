// SPDX-License-Identifier: Apache-2.0
#include "guest/bundle/bundle_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/file_kind.hpp"
#include "base/replacement_file.hpp"

namespace migrate::guest {
namespace {

constexpr std::size_t kIdDigits = 16;
constexpr std::size_t kMostRegionDigits = 5;
constexpr mode_t kFolderMode = S_IRWXU;

bool consists_of(std::string_view text, std::string_view allowed) {
    return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

Error unusable_folder(const std::string& path, int code) {
    if (code == ENOTDIR) {
        return make_error(ErrorKind::kUsage, "{} is not a folder: a bundle is a folder of its own",
                          path);
    }
    return Error::system(fmt::format("open the folder {}", path), code).as(ErrorKind::kUsage);
}

}  // namespace

bool is_bundle_name(std::string_view name) {
    if (name == kManifestName) return true;
    const std::size_t dot = std::min(name.find('.'), name.size());
    const std::string_view what = name.substr(0, dot);
    const std::string_view id = name.substr(std::min(dot + 1, name.size()));
    if (id.size() != kIdDigits || !consists_of(id, "0123456789abcdef")) return false;
    if (what == "devices" || what == "manifest") return true;
    constexpr std::string_view kMemory = "memory-";
    const std::string_view number = what.substr(std::min(kMemory.size(), what.size()));
    return what.starts_with(kMemory) && number.size() <= kMostRegionDigits &&
           consists_of(number, "0123456789");
}

Result<std::string> new_bundle_id() {
    std::uint64_t id = 0;
    if (::getrandom(&id, sizeof id, 0) == sizeof id) return fmt::format("{:016x}", id);
    return Error::system("draw a random number", errno);
}

Status make_bundle_folder(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) return {};
    if (::mkdir(path.c_str(), kFolderMode) != 0) {
        if (errno == EEXIST) return {};
        return Error::system(fmt::format("make the folder {}", path), errno).as(ErrorKind::kUsage);
    }
    const std::string above = path + "/..";
    const UniqueFd parent(::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent) return Error::system(fmt::format("open the folder of {}", path), errno);
    return sync_names(parent.get(), fmt::format("the names in {}", above));
}

Result<BundleFolder> BundleFolder::open(const std::string& path, Use use) {
    UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return unusable_folder(path, errno);
    const bool writes = use == Use::kWrite;
    if (writes && ::faccessat(folder.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
        return Error::system(fmt::format("create files in {}", path), errno).as(ErrorKind::kUsage);
    }
    if (::flock(folder.get(), (writes ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return Error::system(fmt::format("lock {}", path), errno);
        return make_error(ErrorKind::kRefused, "another migrate {} the bundle {}: wait for its end",
                          writes ? "uses" : "writes", path);
    }
    return BundleFolder(path, std::move(folder));
}

std::string BundleFolder::path_of(std::string_view name) const {
    return fmt::format("{}{}{}", path_, path_.ends_with('/') ? "" : "/", name);
}

// The path may lead to another folder by now.
Result<std::vector<std::string>> BundleFolder::names() const {
    std::vector<std::string> names;
    std::error_code error;
    auto entries =
        std::filesystem::directory_iterator(fmt::format("/proc/self/fd/{}", folder_.get()), error);
    for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
        names.push_back(entries->path().filename().string());
    }
    if (error) return Error::system(fmt::format("list {}", path_), error.value());
    std::sort(names.begin(), names.end());
    return names;
}

bool BundleFolder::has(const std::string& name) const {
    struct stat status {};
    return ::fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 ||
           errno != ENOENT;
}

Result<UniqueFd> BundleFolder::open_file(const std::string& name) const {
    const auto check = [&](const struct stat& status) -> Status {
        if (S_ISREG(status.st_mode)) return {};
        return make_error("{} is {}, not a regular file", path_of(name),
                          S_ISLNK(status.st_mode) ? "a symbolic link" : file_kind(status.st_mode));
    };
    struct stat status {};
    const auto failed = [&] { return Error::system(fmt::format("open {}", path_of(name)), errno); };
    if (::fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return failed();
    // Opening some devices has effects.
    MIGRATE_TRY(check(status));
    // The name may belong to something else by now: O_NONBLOCK, so that open() does not wait for a
    // FIFO's other end.
    UniqueFd file(::openat(folder_.get(), name.c_str(),
                           O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file || ::fstat(file.get(), &status) != 0) return failed();
    MIGRATE_TRY(check(status));
    return file;
}

Result<UniqueFd> BundleFolder::create_file(const std::string& name) const {
    UniqueFd file(::openat(folder_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                           kPrivateFileMode));
    if (file) return file;
    return Error::system(fmt::format("create {}", path_of(name)), errno);
}

Result<std::string> BundleFolder::read(const std::string& name, std::uint64_t most) const {
    MIGRATE_ASSIGN(const UniqueFd file, open_file(name));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) {
        return Error::system(fmt::format("examine {}", path_of(name)), errno);
    }
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size > most) {
        return make_error("{} has {} bytes; {} are possible", path_of(name), size, most);
    }
    std::string content(size, '\0');
    std::size_t done = 0;
    while (done < content.size()) {
        const ssize_t got = ::read(file.get(), &content[done], content.size() - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Error::system(fmt::format("read {}", path_of(name)), errno);
        if (got == 0) return make_error("{} was truncated while it was read", path_of(name));
        done += static_cast<std::size_t>(got);
    }
    return content;
}

Result<UniqueFd> BundleFolder::write(const std::string& name, std::string_view content) const {
    MIGRATE_ASSIGN(UniqueFd file, create_file(name));
    MIGRATE_TRY(write_all(file.get(), content, path_of(name)));
    return file;
}

Status BundleFolder::publish_manifest(const std::string& from) const {
    if (::renameat(folder_.get(), from.c_str(), folder_.get(), kManifestName.data()) == 0) {
        return {};
    }
    return Error::system(fmt::format("put {} in place", path_of(kManifestName)), errno);
}

Status BundleFolder::remove(const std::string& name) const {
    if (::unlinkat(folder_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
    return Error::system(fmt::format("remove {}", path_of(name)), errno);
}

Status BundleFolder::sync() const {
    return sync_names(folder_.get(), fmt::format("the names in {}", path_));
}

}  // namespace migrate::guest
