// SPDX-License-Identifier: Apache-2.0
// The process that guards a guest has something to say, and nobody reads it.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.hpp"
#include "guest/external/guardian.hpp"
#include "tests/catch.hpp"
#include "tests/support/forked.hpp"
#include "tests/support/pipe.hpp"

namespace migrate::guest {
namespace {

// In a child whose standard error is `err`: a guard that cannot put its guest right, which it says.
int run_guard_with(int err) {
    ::dup2(err, STDERR_FILENO);
    // It is waited for as a child of this one.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    {
        auto guardian = Guardian::start(ProcessClaim(), "unix:/no/such/folder/qmp");
        if (!guardian) return 1;
        if (!(*guardian)->entrust({.commands = {R"({"execute":"cont"})"}})) return 2;
        (*guardian)->act();
    }
    while (::wait(nullptr) >= 0 || errno == EINTR) {
    }
    return 0;
}

bool guard_ends(int err) {
    return exit_code_of_fork([err] { return run_guard_with(err); }) == 0;
}

TEST_CASE("the guardian reports the result on standard error") {
    Pipe pipe;
    CHECK(guard_ends(pipe.writer.get()));
    CHECK(pipe.read_all().find("the guest cannot be restored") != std::string::npos);
}

TEST_CASE("the guardian ends even if its standard error blocks") {
    const Pipe pipe;
    pipe.fill();
    CHECK(guard_ends(pipe.writer.get()));
}

}  // namespace
}  // namespace migrate::guest
