// SPDX-License-Identifier: Apache-2.0
#include "base/regular_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/file_kind.hpp"

namespace migrate {
namespace {

Status check_regular(const struct stat& status, const std::string& path) {
    if (S_ISREG(status.st_mode)) return {};
    return make_error(ErrorKind::kUsage, "{} is {}, not a regular file", path,
                      file_kind(status.st_mode));
}

}  // namespace

Result<UniqueFd> open_regular_file(const std::string& path, int flags) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
        return Error::system(fmt::format("open {}", path), errno).as(ErrorKind::kUsage);
    }
    MIGRATE_TRY(check_regular(status, path));
    // The path may lead to something else by now: O_NONBLOCK, so that open() does not wait for a
    // FIFO's other end.
    UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file || ::fstat(file.get(), &status) != 0) {
        return Error::system(fmt::format("open {}", path), errno).as(ErrorKind::kUsage);
    }
    MIGRATE_TRY(check_regular(status, path));
    return file;
}

}  // namespace migrate
