// SPDX-License-Identifier: Apache-2.0
// Lets a write to a file fail as on a full disk.
#pragma once

#include <sys/resource.h>

#include "catch.hpp"

namespace migrate {

// While it lives, no file of this process, nor of a child that it starts, grows beyond that size.
// A larger write raises SIGXFSZ, which ends a process that does not ignore it (IgnoredSignal).
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t bytes) {
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
        const rlimit limit{bytes, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    }
    ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;

  private:
    rlimit before_{};
};

}  // namespace migrate
