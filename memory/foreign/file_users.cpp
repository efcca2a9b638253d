// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/file_users.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/foreign/foreign_mapping.hpp"

namespace migrate::memory {
namespace {

constexpr ino_t kFirstPidNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO, linux/proc_ns.h

struct CloseFolder {
    void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

Folder open_folder(int at, const char* name) {
    UniqueFd fd(::openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return {};
    DIR* folder = ::fdopendir(fd.get());
    if (folder != nullptr) static_cast<void>(fd.release());
    return Folder(folder);
}

// Returns 0 or an errno.
int read_file(int at, const char* name, std::string& text) {
    text.clear();
    const UniqueFd file(::openat(at, name, O_RDONLY | O_CLOEXEC));
    if (!file) return errno;
    constexpr std::size_t kStep = std::size_t{64} * 1024;
    while (true) {
        const std::size_t used = text.size();
        text.resize(used + kStep);
        const ssize_t size = ::read(file.get(), text.data() + used, kStep);
        text.resize(used + static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
        if (size == 0) return 0;
        if (size < 0 && errno != EINTR) return errno;
    }
}

bool has_ended(int error) { return error == ENOENT || error == ESRCH; }

struct MapsLine {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    FileIdentity file;
};

std::string_view next_word(std::string_view& line) {
    const std::size_t from = std::min(line.find_first_not_of(' '), line.size());
    const std::size_t to = std::min(line.find(' ', from), line.size());
    const std::string_view word = line.substr(from, to - from);
    line.remove_prefix(to);
    return word;
}

std::uint64_t parse(std::string_view digits, int base) {
    std::uint64_t value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    return value;
}

// Parses "START-END PERMS OFFSET MAJOR:MINOR INODE   PATH" (proc(5)).
MapsLine parse_line(std::string_view line) {
    const std::string_view range = next_word(line);
    const std::size_t dash = std::min(range.find('-'), range.size());
    next_word(line);
    next_word(line);
    const std::string_view device = next_word(line);
    const std::size_t colon = std::min(device.find(':'), device.size());
    const auto minor = device.substr(std::min(colon + 1, device.size()));
    return {parse(range.substr(0, dash), 16),
            parse(range.substr(std::min(dash + 1, range.size())), 16),
            {makedev(static_cast<unsigned>(parse(device.substr(0, colon), 16)),
                     static_cast<unsigned>(parse(minor, 16))),
             parse(next_word(line), 10)}};
}

template <typename Visit>
void each_line(std::string_view text, Visit visit) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        visit(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

// A process in /proc, or one of its threads.
class Examined {
  public:
    Examined(int folder, std::span<const UsedFile> files, std::string& buffer)
        : folder_(folder), files_(files), buffer_(buffer) {}

    struct Use {
        std::string path;
        std::string_view how;  // "mapped", "open for writing", "open"
    };
    // Returns nothing if the process does not use the files, or if error() says why that is not
    // known.
    std::optional<Use> find() {
        if (auto use = find_mapping()) return use;
        if (error_ == 0) return find_descriptor(Descriptors::kForWriting);
        if (has_ended(error_)) return std::nullopt;
        // If its maps cannot be read, examine its descriptors: a VMM keeps that of its guest's
        // memory open.
        return find_descriptor(Descriptors::kAll);
    }
    int error() const { return error_; }
    bool has_memory() const { return has_memory_; }

  private:
    enum class Descriptors { kForWriting, kAll };

    std::optional<Use> find_mapping() {
        error_ = read_file(folder_, "maps", buffer_);
        if (error_ != 0) return std::nullopt;
        has_memory_ = !buffer_.empty();
        std::optional<Use> use;
        each_line(buffer_, [&](std::string_view line) {
            if (use) return;
            const FileIdentity file = parse_line(line).file;
            for (const UsedFile& used : files_) {
                if (file == used.by_maps || file == used.by_stat) use = {used.path, "mapped"};
            }
        });
        return use;
    }

    std::optional<Use> find_descriptor(Descriptors which) {
        const Folder descriptors = open_folder(folder_, "fd");
        error_ = descriptors ? 0 : errno;
        if (!descriptors) return std::nullopt;
        const int at = ::dirfd(descriptors.get());
        while (const dirent* entry = ::readdir(descriptors.get())) {
            if (!number_in_proc(entry->d_name)) continue;
            struct statx status {};
            // Cached attributes suffice, so do not wait for a file server that does not answer.
            if (::statx(at, entry->d_name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                        STATX_TYPE | STATX_INO, &status) != 0) {
                continue;  // closed meanwhile
            }
            const FileIdentity file{makedev(status.stx_dev_major, status.stx_dev_minor),
                                    status.stx_ino};
            for (const UsedFile& used : files_) {
                if (file != used.by_stat) continue;
                if (which == Descriptors::kAll) return Use{used.path, "open"};
                if (is_for_writing(entry->d_name)) return Use{used.path, "open for writing"};
            }
        }
        return std::nullopt;
    }

    // Reads "flags:\t0100002", octal (proc(5)). A descriptor that cannot be examined counts as open
    // for writing.
    bool is_for_writing(const char* descriptor) {
        if (read_file(folder_, fmt::format("fdinfo/{}", descriptor).c_str(), buffer_) != 0) {
            return true;
        }
        bool writes = true;
        each_line(buffer_, [&](std::string_view line) {
            if (!line.starts_with("flags:")) return;
            const std::size_t digits = std::min(line.find_first_of("01234567"), line.size());
            const std::uint64_t flags = parse(line.substr(digits), 8);
            writes = (flags & O_ACCMODE) != O_RDONLY && (flags & O_PATH) == 0;
        });
        return writes;
    }

    int folder_;
    std::span<const UsedFile> files_;
    std::string& buffer_;
    int error_ = 0;
    bool has_memory_ = false;
};

// The facts about a process that every user may read: /proc/PID/status.
class Sizes {
  public:
    Sizes(int process, std::string& buffer) {
        const int error = read_file(process, "status", buffer);
        has_ended_ = has_ended(error);
        known_ = error == 0;
        if (!known_) return;
        each_line(buffer, [this](std::string_view line) {
            // GCC 12 warns that find() here reads beyond the line.
            const auto colon =
                static_cast<std::size_t>(std::find(line.begin(), line.end(), ':') - line.begin());
            const std::string_view name = line.substr(0, colon);
            line.remove_prefix(std::min(line.find_first_of("0123456789"), line.size()));
            for (Field& field : fields_) {
                if (field.name == name) field.bytes = parse(line, 10) * kKiB;
            }
        });
    }

    // A kernel thread has no size, so this returns false for it.
    bool may_use(std::uint64_t bytes, FileMemory memory) const {
        if (!known_) return !has_ended_;
        if (bytes_of("VmSize") < std::max<std::uint64_t>(bytes, 1)) return false;
        switch (memory) {
            case FileMemory::kShmem:
                return bytes_of("RssShmem") != 0;
            case FileMemory::kHugetlb:
                return bytes_of("HugetlbPages") != 0;
            case FileMemory::kOnDisk:
                return true;
        }
        return true;
    }

  private:
    struct Field {
        std::string_view name;
        std::uint64_t bytes = 0;
    };
    std::uint64_t bytes_of(std::string_view name) const {
        return std::find_if(fields_.begin(), fields_.end(),
                            [name](const Field& field) { return field.name == name; })
            ->bytes;
    }

    std::array<Field, 3> fields_{Field{"VmSize"}, Field{"RssShmem"}, Field{"HugetlbPages"}};
    bool known_ = false;
    bool has_ended_ = false;
};

class Search {
  public:
    Search(std::span<const UsedFile> files, pid_t owner) : files_(files), owner_(owner) {}

    Result<FileUsers> run() {
        const Folder proc = open_folder(AT_FDCWD, "/proc");
        if (!proc) return Error::system("read /proc", errno);
        while (const dirent* entry = ::readdir(proc.get())) {
            const auto pid = number_in_proc(entry->d_name);
            if (!pid) continue;
            if (*pid == owner_ || *pid == ::getpid()) continue;
            examine(::dirfd(proc.get()), entry->d_name, *pid);
            if (!found_.user.empty()) return found_;
        }
        if (!proc_shows_all_users()) {
            note_unseen("/proc hides the processes of other users (hidepid)");
        }
        MIGRATE_ASSIGN(found_.hidden, hidden_processes());
        if (unseen_count_ > 1) {
            found_.unseen += fmt::format(", and {} more", unseen_count_ - 1);
        }
        return found_;
    }

  private:
    static Result<std::string> hidden_processes() {
        struct stat status {};
        if (::stat("/proc/self/ns/pid", &status) != 0) {
            return Error::system("examine /proc/self/ns/pid", errno);
        }
        if (status.st_ino == kFirstPidNamespace) return std::string();
        return std::string("migrate runs in a PID namespace of its own, as in a container");
    }

    void examine(int proc, const char* name, pid_t pid) {
        const UniqueFd process(::openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!process) return;  // the process has ended
        Examined examined(process.get(), files_, buffer_);
        auto use = examined.find();
        int error = examined.error();
        // If its first thread ended before the others, only the others show its memory.
        if (!use && !examined.has_memory() && (error == 0 || has_ended(error))) {
            use = examine_threads(process.get(), error);
        }
        if (use) {
            found_.user =
                fmt::format("{} is in use: {} has it {}", use->path, process_name(pid), use->how);
        } else if (error != 0 && !has_ended(error) && may_run_guest(process.get())) {
            note_unseen(Error::system("examine " + process_name(pid), error).message());
        }
    }

    bool may_run_guest(int process) {
        const Sizes sizes(process, buffer_);
        return std::any_of(files_.begin(), files_.end(), [&sizes](const UsedFile& file) {
            return sizes.may_use(file.size_bytes, file.memory);
        });
    }

    std::optional<Examined::Use> examine_threads(int process, int& error) {
        error = 0;
        const Folder threads = open_folder(process, "task");
        if (!threads) return std::nullopt;
        while (const dirent* entry = ::readdir(threads.get())) {
            if (!number_in_proc(entry->d_name)) continue;
            const UniqueFd thread(
                ::openat(::dirfd(threads.get()), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC));
            if (!thread) continue;
            Examined examined(thread.get(), files_, buffer_);
            if (auto use = examined.find()) return use;
            if (examined.error() != 0) error = examined.error();
        }
        return std::nullopt;
    }

    void note_unseen(const std::string& what) {
        if (unseen_count_++ == 0) found_.unseen = what;
    }

    std::span<const UsedFile> files_;
    pid_t owner_;
    FileUsers found_;
    std::size_t unseen_count_ = 0;
    std::string buffer_;
};

}  // namespace

Result<UsedFile> describe_file(int fd, std::span<const std::byte> mapping, std::string path) {
    UsedFile file;
    MIGRATE_ASSIGN(file.by_stat, identify(fd));
    file.size_bytes = mapping.size();
    MIGRATE_ASSIGN(file.memory, file_memory_of(fd, path));
    file.path = std::move(path);
    std::string maps;
    if (const int error = read_file(AT_FDCWD, "/proc/self/maps", maps); error != 0) {
        return Error::system("read /proc/self/maps", error);
    }
    const auto address = reinterpret_cast<std::uintptr_t>(mapping.data());
    bool found = false;
    each_line(maps, [&](std::string_view text) {
        const MapsLine line = parse_line(text);
        if (address < line.start || address >= line.end) return;
        file.by_maps = line.file;
        found = true;
    });
    if (found) return file;
    return make_error("/proc/self/maps does not show the mapping of {}", file.path);
}

Result<FileUsers> find_users(std::span<const UsedFile> files, pid_t owner) {
    std::array<char, 32> self{};
    const ssize_t size = ::readlink("/proc/self", self.data(), self.size());
    if (size < 0) return Error::system("read /proc/self", errno);
    // If they differ, the numbers in /proc are not those of this process's system calls.
    if (number_in_proc({self.data(), static_cast<std::size_t>(size)}) != ::getpid()) {
        return make_error(
            "/proc is that of another PID namespace: mount the one of migrate's own there");
    }
    return Search(files, owner).run();
}

bool may_use_memory(pid_t pid, std::uint64_t bytes, FileMemory memory) {
    const UniqueFd process(
        ::open(fmt::format("/proc/{}", pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!process) return false;
    std::string buffer;
    return Sizes(process.get(), buffer).may_use(bytes, memory);
}

std::optional<int> number_in_proc(std::string_view name) {
    int number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) return std::nullopt;
    return number;
}

bool proc_shows_all_users() { return ::access("/proc/1", F_OK) == 0; }

}  // namespace migrate::memory
