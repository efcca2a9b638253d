// SPDX-License-Identifier: Apache-2.0
#include "base/fault_guard.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate {
namespace {

// A mapping whose second page lies beyond the end of its file.
class TruncatedFile {
  public:
    TruncatedFile() : file_(::memfd_create("truncated", MFD_CLOEXEC)) {
        REQUIRE(::ftruncate(file_.get(), 2 * kPageSize) == 0);
        mapping_ = must(Mapping::create({.size = 2 * kPageSize,
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_SHARED,
                                         .fd = file_.get(),
                                         .what = "a file"}));
        mapping_.data()[0] = std::byte{42};
        REQUIRE(::ftruncate(file_.get(), kPageSize) == 0);
    }
    // volatile: the read is the point.
    volatile const std::byte* page(std::uint64_t number) const {
        return mapping_.data() + number * kPageSize;
    }

  private:
    UniqueFd file_;
    Mapping mapping_;
};

TEST_CASE("reading a file truncated under its mapping is an error inside a guard") {
    const TruncatedFile file;
    std::byte value{};
    for (int turn = 0; turn < 3; ++turn) {
        must(guard_reads("the image", [&] { value = *file.page(0); }));
        CHECK(value == std::byte{42});
        const Status status = guard_reads("the image", [&] { value = *file.page(1); });
        CHECK_THAT(message_of(status), Catch::StartsWith("cannot read the image"));
    }
}

TEST_CASE("an inner guard takes the fault and the outer one goes on") {
    const TruncatedFile file;
    std::byte value{};
    bool inner_failed = false;
    const Status outer = guard_reads("outer", [&] {
        inner_failed = !detail::run_guarded(
            [](void* context) {
                static_cast<void>(*static_cast<const TruncatedFile*>(context)->page(1));
            },
            const_cast<TruncatedFile*>(&file));
        value = *file.page(0);
    });
    CHECK(inner_failed);
    CHECK(value == std::byte{42});
    must(outer);
    CHECK_FALSE(guard_reads("outer", [&] { value = *file.page(1); }));
}

TEST_CASE("guards of several threads do not disturb one another") {
    const TruncatedFile file;
    std::atomic<int> wrong{0};
    {
        std::vector<std::jthread> threads;
        threads.reserve(4);
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&, i] {
                for (int turn = 0; turn < 200; ++turn) {
                    const bool bad = (turn + i) % 2 == 0;
                    std::byte value{};
                    const Status status =
                        guard_reads("x", [&] { value = *file.page(bad ? 1 : 0); });
                    if (static_cast<bool>(status) == bad) ++wrong;
                }
            });
        }
    }
    CHECK(wrong == 0);
}

volatile std::sig_atomic_t handed_on = 0;

// The handler is installed once in a process's life, so that what was there before it is tested in
// a new process that runs one hidden case.
int exit_status_of_case(const char* name) {
    const pid_t child = ::fork();
    if (child == 0) {
        // Its report of a failure that is expected would only mislead.
        const int quiet = ::open("/dev/null", O_WRONLY);
        ::dup2(quiet, STDOUT_FILENO);
        ::dup2(quiet, STDERR_FILENO);
        ::execl("/proc/self/exe", "memory_test", name, nullptr);
        ::_exit(127);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status;
}

TEST_CASE("child: a handler set before the first guard", "[.child]") {
    struct sigaction action {};
    // A second signal means that a read faults again and again, which would never end.
    action.sa_handler = [](int) {
        if (handed_on == 1) ::_exit(3);
        handed_on = 1;
    };
    ::sigaction(SIGBUS, &action, nullptr);
    must(guard_reads("x", [] { ::raise(SIGBUS); }));
    CHECK(handed_on == 1);
}

TEST_CASE("child: a fault outside a guard", "[.child]") {
    const TruncatedFile file;
    std::byte value{};
    CHECK_FALSE(guard_reads("x", [&] { value = *file.page(1); }));
    value = *file.page(1);
}

TEST_CASE("a SIGBUS that another process sent goes to the handler there was before") {
    CHECK(exit_status_of_case("child: a handler set before the first guard") == 0);
}

TEST_CASE("a fault outside a guard still ends the process") {
    CHECK(exit_status_of_case("child: a fault outside a guard") != 0);
}

}  // namespace
}  // namespace migrate
