// SPDX-License-Identifier: Apache-2.0
// A file that gets its name in one step when it is complete. Every file that a user names for
// output is written this way: no existing file is ever written to, and a process that has the old
// file open or mapped keeps it. Invariant: until publish() the target stays as it was, and
// destruction leaves nothing in its folder.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/file_identity.hpp"

namespace migrate {

// The mode of every file that the program creates, because it may hold memory of a guest, a key, or
// what a guest does. The kernel applies the umask, which may leave less. A file that replaces
// another one has that one's mode.
inline constexpr mode_t kPrivateFileMode = S_IRUSR | S_IWUSR;

// Checks that `path` may be given to a new file: nothing has the name, or a regular file that has
// no other name. kUsage says what is there instead: a link, a file with several names (hard links),
// a mount point, a folder, a device, a FIFO, a socket.
Status check_replaceable(const std::string& path);

// Makes the names in an open folder durable. Waits for the disk. `names` is for the error
// "make NAMES durable".
Status sync_names(int folder, std::string_view names);

class ReplacementFile {
  public:
    // Checks as much as possible without creating anything: check_replaceable(), and that the
    // folder exists and can be written to. Fails with kUsage.
    static Result<ReplacementFile> create(std::string_view path);

    ReplacementFile(ReplacementFile&& other) noexcept;
    ReplacementFile& operator=(ReplacementFile&&) = delete;
    ReplacementFile(const ReplacementFile&) = delete;
    ReplacementFile& operator=(const ReplacementFile&) = delete;
    ~ReplacementFile();

    // The path as the user gave it.
    const std::string& path() const { return path_; }
    // Returns the file that has the name now; nothing if none has.
    Result<std::optional<FileIdentity>> target() const;
    // Creates an empty file without a name, or with a hidden one if the file system needs a name;
    // open for reading and writing. It has the mode and owner of the file that it replaces, or
    // kPrivateFileMode.
    Result<UniqueFd> open_temporary();
    // Moves the file from open_temporary() to the target's place. Checks the target again.
    Status publish(int fd);
    // The same for a file that survives this process: it has the target's name and `suffix`, in the
    // target's folder. open_beside() opens it for reading and writing, and creates it if there is
    // none; kUsage if something else than a regular file with one name is there. publish_beside()
    // moves it to the target's place.
    Result<UniqueFd> open_beside(std::string_view suffix) const;
    Status publish_beside(std::string_view suffix) const;
    // Succeeds too if there is no such file.
    Status remove_beside(std::string_view suffix) const;
    // Makes the name durable. Waits for the disk.
    Status sync_folder() const;

  private:
    ReplacementFile(std::string path, UniqueFd folder, std::string name)
        : path_(std::move(path)), folder_(std::move(folder)), name_(std::move(name)) {}
    Result<UniqueFd> open_hidden();
    std::string hidden_name() const;
    Status copy_attributes(int fd) const;
    Status link_hidden(int fd);

    std::string path_;
    UniqueFd folder_;
    std::string name_;    // name of the target, in folder_
    std::string hidden_;  // name of the temporary file, in folder_; empty while it has none
};

// Creates the whole file at once: a reader sees all of it or nothing. Not durable.
Status write_whole_file(const std::string& path, std::string_view content);
// Like write(2), but writes everything. `what` names the file: "cannot write WHAT: …".
Status write_all(int fd, std::string_view content, std::string_view what);

}  // namespace migrate
