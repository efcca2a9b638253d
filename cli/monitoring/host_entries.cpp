// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/host_entries.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "base/replacement_file.hpp"
#include "base/wait.hpp"

namespace migrate::cli {
namespace {

constexpr const char* kHostFolder = "/run/migrate";
constexpr const char* kUsersFolder = "/run/user";
constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
// A file that is being written is read again at most this often.
constexpr int kReadings = 16;

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// The folder for the file of this process; empty if there is none.
std::string own_folder() {
    const std::string unit = environment("RUNTIME_DIRECTORY");
    // Several folders are separated by colons, systemd.exec(5).
    if (!unit.empty()) return unit.substr(0, unit.find(':'));
    if (::geteuid() == 0) return kHostFolder;
    const std::string user = environment("XDG_RUNTIME_DIR");
    return user.empty() ? "" : user + "/migrate";
}

// Returns the names in a folder, without hidden ones.
std::vector<std::string> names_in(int folder) {
    std::vector<std::string> names;
    UniqueFd copy(::openat(folder, ".", kOpenFolder));
    DIR* const opened = copy ? ::fdopendir(copy.get()) : nullptr;
    if (opened == nullptr) return names;
    static_cast<void>(copy.release());
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(opened, ::closedir);
    while (const dirent* entry = ::readdir(listing.get())) {
        if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    return names;
}

std::optional<std::string> read_once(int fd) {
    std::string text(kMostEntryBytes, '\0');
    const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
    if (size < 0) return std::nullopt;
    text.resize(static_cast<std::size_t>(size));
    return text;
}

// Reads until two readings are the same: the process may write meanwhile.
std::optional<std::string> read_steadily(int fd) {
    std::optional<std::string> text = read_once(fd);
    for (int i = 0; text && i < kReadings; ++i) {
        std::optional<std::string> again = read_once(fd);
        if (again == text) return text;
        text = std::move(again);
    }
    return text;
}

// Returns the migration that a file describes. Removes the file of a dead process.
std::optional<RunningMigration> read_entry(int folder, const std::string& name) {
    const UniqueFd file(
        ::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    if (::flock(file.get(), LOCK_SH | LOCK_NB) == 0) {
        static_cast<void>(::unlinkat(folder, name.c_str(), 0));
        return std::nullopt;
    }
    const std::optional<std::string> text = read_steadily(file.get());
    return text ? parse_running(*text) : std::nullopt;
}

void add_entries(int folder, std::vector<RunningMigration>& found) {
    for (const std::string& name : names_in(folder)) {
        std::optional<RunningMigration> running = read_entry(folder, name);
        if (running) found.push_back(*std::move(running));
    }
}

// Adds those of the folder, and of the folders in it: each instance of a unit has its own.
void add_folder(const std::string& path, std::vector<RunningMigration>& found) {
    const UniqueFd folder(::open(path.c_str(), kOpenFolder));
    if (!folder) return;
    add_entries(folder.get(), found);
    for (const std::string& name : names_in(folder.get())) {
        const UniqueFd inner(::openat(folder.get(), name.c_str(), kOpenFolder));
        if (inner) add_entries(inner.get(), found);
    }
}

// Opens the folder, and makes it if it is missing. An Error if others could put files there.
Result<UniqueFd> open_own_folder(const std::string& path) {
    if (path.empty()) {
        return Error(ErrorKind::kFailed, "neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set");
    }
    // Others may see who runs a migration; the files have a mode of their own.
    constexpr mode_t kFolderMode = S_IRWXU | S_IRGRP | S_IXGRP | S_IROTH | S_IXOTH;
    if (::mkdir(path.c_str(), kFolderMode) != 0 && errno != EEXIST) {
        return Error::system("make " + path, errno);
    }
    UniqueFd folder(::open(path.c_str(), kOpenFolder));
    struct stat status {};
    if (!folder || ::fstat(folder.get(), &status) != 0) return Error::system("open " + path, errno);
    if (status.st_uid != ::geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return make_error(ErrorKind::kFailed, "{} does not belong to this user alone", path);
    }
    return folder;
}

Status write_padded(int fd, std::string json) {
    // Always of the same size, so that nothing of a longer text remains.
    json.resize(kMostEntryBytes - 1, ' ');
    json += '\n';
    const ssize_t written = ::pwrite(fd, json.data(), json.size(), 0);
    if (written == static_cast<ssize_t>(json.size())) return {};
    return Error::system("write the entry for 'migrate status'", written < 0 ? errno : ENOSPC);
}

}  // namespace

Result<HostEntry> HostEntry::create(const RunningMigration& first) {
    MIGRATE_ASSIGN(UniqueFd folder, open_own_folder(own_folder()));
    std::vector<RunningMigration> others;
    add_entries(folder.get(), others);
    // It gets its name when it is complete and locked.
    UniqueFd file(::openat(folder.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kPrivateFileMode));
    if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        return Error::system("make the entry for 'migrate status'", errno);
    }
    MIGRATE_TRY(write_padded(file.get(), to_json(first)));
    // The process id alone may be that of a dead process.
    const auto now = WaitClock::now().time_since_epoch().count();
    std::string name = fmt::format("{}-{:x}", first.pid, now);
    const std::string source = fmt::format("/proc/self/fd/{}", file.get());
    if (::linkat(AT_FDCWD, source.c_str(), folder.get(), name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
        return Error::system("name the entry for 'migrate status'", errno);
    }
    return HostEntry(std::move(folder), std::move(file), std::move(name));
}

Status HostEntry::write(const std::string& json) const { return write_padded(file_.get(), json); }

void HostEntry::remove() const { static_cast<void>(::unlinkat(folder_.get(), name_.c_str(), 0)); }

std::vector<RunningMigration> running_migrations() {
    std::vector<RunningMigration> found;
    const std::string unit = environment("RUNTIME_DIRECTORY");
    if (!unit.empty()) {
        add_folder(own_folder(), found);
    } else {
        add_folder(kHostFolder, found);
        const std::string user = environment("XDG_RUNTIME_DIR");
        if (::geteuid() != 0 && !user.empty()) add_folder(user + "/migrate", found);
    }
    const UniqueFd users(::open(kUsersFolder, kOpenFolder));
    if (unit.empty() && ::geteuid() == 0 && users) {
        for (const std::string& name : names_in(users.get())) {
            add_folder(fmt::format("{}/{}/migrate", kUsersFolder, name), found);
        }
    }
    std::sort(found.begin(), found.end(),
              [](const auto& one, const auto& other) { return one.pid < other.pid; });
    return found;
}

std::string status_lines(const std::vector<RunningMigration>& running) {
    if (running.empty()) return "no migration runs here\n";
    std::string text;
    for (const RunningMigration& one : running) text += to_line(one);
    return text;
}

std::string status_json(const std::vector<RunningMigration>& running) {
    std::string text;
    for (const RunningMigration& one : running) {
        text += fmt::format("{}{}", text.empty() ? "" : ",\n ", to_json(one));
    }
    return fmt::format("[{}]\n", text);
}

}  // namespace migrate::cli
