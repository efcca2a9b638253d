// SPDX-License-Identifier: Apache-2.0
// Code that runs inside other programs' calls must leave their errno alone.
#pragma once

#include <cerrno>

namespace migrate::accel::softdsa {

// Restores errno at the end of its scope.
class ErrnoKept {
  public:
    ErrnoKept() = default;
    ErrnoKept(const ErrnoKept&) = delete;
    ErrnoKept& operator=(const ErrnoKept&) = delete;
    ~ErrnoKept() { errno = error_; }

  private:
    int error_ = errno;
};

}  // namespace migrate::accel::softdsa
