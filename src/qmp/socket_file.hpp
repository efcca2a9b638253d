// A listening unix socket and its file. Invariant: no file is ever removed but a socket that nobody
// listens on, and the one that was made here.
#pragma once

#include <sys/stat.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::qmp {

class SocketFile {
  public:
    // Listens on "unix:PATH", with a file of mode 0600. A socket nobody listens on any more is
    // replaced; one that answers, and any other file, is kUsage. Two programs that start on one
    // path at the same moment are not kept apart.
    static Result<SocketFile> create(std::string_view address);

    SocketFile(SocketFile&&) noexcept = default;
    SocketFile& operator=(SocketFile&&) = delete;
    // Removes the file if it is still the one made here.
    ~SocketFile();

    const std::string& path() const { return path_; }
    // The listening socket: at most once.
    UniqueFd take_listener() { return std::move(listener_); }

  private:
    SocketFile(UniqueFd listener, std::string path, UniqueFd identity, const struct stat& file)
        : listener_(std::move(listener)),
          path_(std::move(path)),
          identity_(std::move(identity)),
          device_(file.st_dev),
          inode_(file.st_ino) {}

    UniqueFd listener_;
    std::string path_;
    // Keeps the inode's number from being given to another file; empty in what was moved from.
    UniqueFd identity_;
    dev_t device_;
    ino_t inode_;
};

}  // namespace migrate::qmp
