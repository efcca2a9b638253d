// SPDX-License-Identifier: Apache-2.0
// Code that runs in a child of the test.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "catch.hpp"

namespace migrate {

// Runs `body` in a child and returns its exit code, or -1 if a signal ended it.
inline int exit_code_of_fork(const std::function<int()>& body) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(body());
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace migrate
