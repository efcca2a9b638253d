// SPDX-License-Identifier: Apache-2.0
#include "e2e/events_file.hpp"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>

#include "base/wait.hpp"
#include "e2e/process.hpp"

namespace migrate::e2e {

EventsFile::EventsFile()
    : path_(folder_ / "events"), changes_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    constexpr std::uint32_t kChanges = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE;
    if (::inotify_add_watch(changes_.get(), folder_.path().c_str(), kChanges) < 0) std::abort();
}

bool EventsFile::await(std::string_view text) const {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point until = Clock::now() + kDeadline;
    while (read_file(path_).find(text) == std::string::npos) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
        if (left.count() <= 0 || !readable_within(changes_.get(), left)) return false;
        std::array<char, 4096> changes{};
        if (::read(changes_.get(), changes.data(), changes.size()) < 0) std::abort();
    }
    return true;
}

}  // namespace migrate::e2e
