// SPDX-License-Identifier: Apache-2.0
#include "base/file_identity.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <fstream>

namespace migrate {

Result<FileIdentity> identify(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return Error::system("examine a file", errno);
    return FileIdentity{status.st_dev, status.st_ino};
}

std::string boot_id() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    if (!file || !std::getline(file, id)) return {};
    return id;
}

}  // namespace migrate
