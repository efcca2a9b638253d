// SPDX-License-Identifier: Apache-2.0
// Lets a process run out of descriptors.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

#include "base/fd.hpp"
#include "catch.hpp"

namespace migrate {

// While it lives, this process can open `more` descriptors beside those it has. No assertion
// may be made then: the undefined-behaviour sanitizer opens a pipe to look at an object, and
// calls the object invalid when it cannot.
class DescriptorLimit {
  public:
    explicit DescriptorLimit(rlim_t more) {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        // The limit is on the number, and the lowest free one is taken next.
        rlim_t limit = 0;
        for (rlim_t free = 0; free <= more; ++limit) {
            if (::fcntl(static_cast<int>(limit), F_GETFD) < 0) ++free;
        }
        const rlimit lowered{limit - 1, before_.rlim_max};
        std::vector<UniqueFd> opened;
        const bool is_set = ::setrlimit(RLIMIT_NOFILE, &lowered) == 0;
        for (rlim_t i = 0; i < more; ++i) opened.emplace_back(::dup(STDERR_FILENO));
        holds_ = is_set && (more == 0 || opened.back()) && !UniqueFd(::dup(STDERR_FILENO));
    }
    ~DescriptorLimit() { lift(); }
    DescriptorLimit(const DescriptorLimit&) = delete;
    DescriptorLimit& operator=(const DescriptorLimit&) = delete;

    void lift() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    // True: no more than `more` could be opened, and these could.
    [[nodiscard]] bool holds() const { return holds_; }

  private:
    rlimit before_{};
    bool holds_ = false;
};

}  // namespace migrate
