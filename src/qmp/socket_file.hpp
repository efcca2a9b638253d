// SPDX-License-Identifier: Apache-2.0
// A listening unix socket and its file. Invariant: it removes no file except a socket without a
// listener, and the file that it made.
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
    // Listens on "unix:PATH", with a file of mode 0600. A socket without a listener is replaced; a
    // socket that answers, and any other file, is kUsage. Two programs that start on one path at
    // the same moment are not kept apart.
    static Result<SocketFile> create(std::string_view address);

    SocketFile(SocketFile&&) noexcept = default;
    SocketFile& operator=(SocketFile&&) = delete;
    // Removes the file if it is still the one made here.
    ~SocketFile();

    const std::string& path() const { return path_; }
    // Returns the listening socket. Call at most once.
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
    // Keeps the inode number from being given to another file; empty in a moved-from object.
    UniqueFd identity_;
    dev_t device_;
    ino_t inode_;
};

}  // namespace migrate::qmp
