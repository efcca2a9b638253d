// SPDX-License-Identifier: Apache-2.0
// Descriptors that the child of a fork keeps open.
#include "base/descriptors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "base/fd.hpp"
#include "catch.hpp"
#include "tests/support/forked.hpp"

namespace migrate {
namespace {

bool is_open(int number) { return ::fcntl(number, F_GETFD) >= 0; }
bool is_open_above(int number) {
    for (int other = number + 1; other < 1024; ++other) {
        if (is_open(other)) return true;
    }
    return false;
}
bool leads_to(int number, const char* path) {
    struct stat there {};
    struct stat here {};
    return ::fstat(number, &here) == 0 && ::stat(path, &there) == 0 &&
           here.st_rdev == there.st_rdev;
}

TEST_CASE("a child keeps the descriptors that it names, in their order, and no others") {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    CHECK(exit_code_of_fork([&] {
              keep_only(std::array{zero.get(), null.get()});
              return leads_to(3, "/dev/zero") && leads_to(4, "/dev/null") && is_open(2) &&
                             !is_open_above(4)
                         ? 0
                         : 1;
          }) == 0);
}

TEST_CASE("each of the kept descriptors may be where another is to go") {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    CHECK(exit_code_of_fork([&] {
              const int high_null = ::fcntl(null.get(), F_DUPFD, 50);
              const int high_zero = ::fcntl(zero.get(), F_DUPFD, 50);
              ::dup2(high_null, 4);
              ::dup2(high_zero, 3);
              keep_only(std::array{4, 3});
              return leads_to(3, "/dev/null") && leads_to(4, "/dev/zero") ? 0 : 1;
          }) == 0);
}

TEST_CASE("a descriptor that there is not stays closed in the child") {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    CHECK(exit_code_of_fork([&] {
              keep_only(std::array{null.get(), -1});
              return leads_to(3, "/dev/null") && !is_open(4) ? 0 : 1;
          }) == 0);
}

TEST_CASE("closed descriptors 0 to 2 are opened, and the others are kept from programs") {
    for (int closed = 0; closed < 8; ++closed) {
        CHECK(exit_code_of_fork([&] {
                  const int other = ::open("/dev/zero", O_RDWR);
                  for (int number = 0; number <= 2; ++number) {
                      if ((closed & (1 << number)) != 0) ::close(number);
                  }
                  if (!adopt_descriptors()) return 1;
                  for (int number = 0; number <= 2; ++number) {
                      if (!is_open(number)) return 2;
                      const bool was_closed = (closed & (1 << number)) != 0;
                      if (was_closed && !leads_to(number, "/dev/null")) return 3;
                      if (number == 0 && bool(check_inherited(0)) == was_closed) return 4;
                  }
                  if ((::fcntl(other, F_GETFD) & FD_CLOEXEC) == 0) return 5;
                  if (check_inherited(1) || check_inherited(2) || !check_inherited(other)) return 6;
                  const int own = ::open("/dev/zero", O_RDWR | O_CLOEXEC);
                  return check_inherited(own) ? 7 : 0;
              }) == 0);
    }
}

}  // namespace
}  // namespace migrate
