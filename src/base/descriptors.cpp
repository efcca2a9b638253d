// SPDX-License-Identifier: Apache-2.0
#include "base/descriptors.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <vector>

namespace migrate {
namespace {

// The descriptors that the program was started with, in ascending order. Set once, before there is
// a second thread.
struct Inherited {
    bool known = false;
    std::vector<int> numbers;
};
Inherited& inherited() {
    static Inherited instance;
    return instance;
}

bool is_open(int number) { return ::fcntl(number, F_GETFD) >= 0; }

int descriptor_limit() {
    rlimit limit{};
    constexpr rlim_t kMost = 1 << 20;
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    return static_cast<int>(std::min(limit.rlim_cur, kMost));
}

std::vector<int> open_descriptors() {
    std::vector<int> numbers;
    DIR* const folder = ::opendir("/proc/self/fd");
    if (folder == nullptr) {  // no /proc here
        for (int number = 0; number < descriptor_limit(); ++number) {
            if (is_open(number)) numbers.push_back(number);
        }
        return numbers;
    }
    while (const dirent* entry = ::readdir(folder)) {
        char* end = nullptr;
        const long number = std::strtol(entry->d_name, &end, 10);
        if (*end != '\0' || end == entry->d_name || number == ::dirfd(folder)) continue;
        numbers.push_back(static_cast<int>(number));
    }
    ::closedir(folder);
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

// open() gives the lowest free number, so in this order each descriptor gets its own number.
Status open_missing_standard_descriptors(const std::vector<int>& open) {
    for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
        if (std::binary_search(open.begin(), open.end(), number)) continue;
        // Without O_CLOEXEC: programs that this one starts inherit 0 to 2.
        const int flags = number == STDIN_FILENO ? O_RDONLY : O_WRONLY;
        if (::open("/dev/null", flags) == number) continue;
        return Error::system("open /dev/null in place of a closed standard descriptor", errno);
    }
    return {};
}

}  // namespace

Status adopt_descriptors() {
    inherited() = {true, open_descriptors()};
    const std::vector<int>& open = inherited().numbers;
    for (const int number : open) {
        if (number < kFirstKept) continue;
        const int flags = ::fcntl(number, F_GETFD);
        if (flags >= 0) static_cast<void>(::fcntl(number, F_SETFD, flags | FD_CLOEXEC));
    }
    return open_missing_standard_descriptors(open);
}

Status check_inherited(int number) {
    if (!inherited().known) {
        if (is_open(number)) return {};
        return Error::system(fmt::format("use descriptor {}", number), errno).as(ErrorKind::kUsage);
    }
    if (number == STDOUT_FILENO || number == STDERR_FILENO) {
        return make_error(ErrorKind::kUsage,
                          "cannot use descriptor {}: it is {}, where this program writes its own "
                          "text; pass another one",
                          number, number == STDOUT_FILENO ? "standard output" : "standard error");
    }
    const std::vector<int>& open = inherited().numbers;
    if (std::binary_search(open.begin(), open.end(), number)) return {};
    return make_error(ErrorKind::kUsage,
                      "cannot use descriptor {}: the program was started without it", number);
}

void close_descriptors_from(int first) {
    if (::close_range(static_cast<unsigned>(first), ~0U, 0) == 0) return;
    // The kernel is older than 5.9, or a sandbox does not know the call.
    const int limit = descriptor_limit();
    for (int number = first; number < limit; ++number) ::close(number);
}

namespace internal {

void keep_only(const int* kept, int count) {
    // Moved via numbers above the target range, since a descriptor may already be at the target of
    // another one.
    std::array<int, kMostKept> moved{};
    const auto used = static_cast<std::size_t>(std::min(count, kMostKept));
    for (std::size_t i = 0; i < used; ++i) {
        moved.at(i) = kept[i] < 0 ? -1 : ::fcntl(kept[i], F_DUPFD_CLOEXEC, kFirstKept + kMostKept);
    }
    for (std::size_t i = 0; i < used; ++i) {
        const int to = kFirstKept + static_cast<int>(i);
        if (moved.at(i) < 0) {
            ::close(to);
        } else {
            ::dup3(moved.at(i), to, O_CLOEXEC);
        }
    }
    close_descriptors_from(kFirstKept + static_cast<int>(used));
}

}  // namespace internal
}  // namespace migrate
