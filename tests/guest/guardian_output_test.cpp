// The process that guards a guest has something to say, and nobody reads it.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.hpp"
#include "guest/external/guardian.hpp"
#include "tests/catch.hpp"

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
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(run_guard_with(err));
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status == 0;
}

TEST_CASE("a guard says what became of the guest") {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    const UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    CHECK(guard_ends(writer.get()));
    writer.reset();
    std::string text(4096, '\0');
    const ssize_t size = ::read(reader.get(), text.data(), text.size());
    REQUIRE(size > 0);
    CHECK(text.find("the guest cannot be put right") != std::string::npos);
}

TEST_CASE("a guard whose standard error nobody reads ends all the same") {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    const UniqueFd reader(ends[0]);
    const UniqueFd writer(ends[1]);
    const std::string filler(4096, '\n');
    while (::write(ends[1], filler.data(), filler.size()) > 0) {
    }
    ::fcntl(ends[1], F_SETFL, 0);
    CHECK(guard_ends(writer.get()));
}

}  // namespace
}  // namespace migrate::guest
