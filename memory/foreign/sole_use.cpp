// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/sole_use.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/log.hpp"

namespace migrate::memory {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kBetweenLooks{1};

std::string names_of(const std::vector<UsedFile>& files) {
    std::string names;
    for (const UsedFile& file : files) names += (names.empty() ? "" : ", ") + file.path;
    return names;
}

}  // namespace

Result<std::unique_ptr<SoleUse>> SoleUse::create(std::vector<UsedFile> files,
                                                 const std::vector<int>& descriptors, pid_t owner,
                                                 UnseenProcesses unseen) {
    std::unique_ptr<SoleUse> use(new SoleUse(std::move(files), owner, unseen));
    // Watch first: a process that opens a file during the look is then noticed later.
    use->watch(descriptors);
    MIGRATE_TRY(use->look());
    return use;
}

// inotify reports every open() of an inode, whichever path leads to it.
void SoleUse::watch(const std::vector<int>& descriptors) {
    UniqueFd opens(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    bool watches = bool(opens);
    for (const int fd : descriptors) {
        const std::string path = fmt::format("/proc/self/fd/{}", fd);
        watches = watches && ::inotify_add_watch(opens.get(), path.c_str(), IN_OPEN) >= 0;
    }
    if (watches) {
        opens_ = std::move(opens);
    } else {
        log::debug(
            "{}: {}", names_of(files_),
            Error::system("watch who opens it; processes are looked at every second instead", errno)
                .message());
    }
}

bool SoleUse::may_have_changed() {
    if (opens_) {
        std::array<char, 4096> events{};
        bool opened = false;
        while (::read(opens_.get(), events.data(), events.size()) > 0) opened = true;
        return opened;
    }
    const Clock::rep now = Clock::now().time_since_epoch().count();
    Clock::rep due = next_look_.load(std::memory_order_relaxed);
    const Clock::rep next = now + Clock::duration(kBetweenLooks).count();
    return now >= due && next_look_.compare_exchange_strong(due, next);
}

Status SoleUse::check_again() {
    if (!is_refused_.load(std::memory_order_relaxed) && !may_have_changed()) return {};
    return look();
}

Status SoleUse::look() {
    const MutexLock lock(mutex_);
    if (refused_) return *refused_;
    const auto refuse = [this](std::string reason) REQUIRES(mutex_) -> Status {
        refused_ = Error(ErrorKind::kRefused, std::move(reason));
        is_refused_.store(true, std::memory_order_relaxed);
        return *refused_;
    };
    Result<FileUsers> users = find_users(files_, owner_);
    if (!users) {
        users = FileUsers{.user = {}, .unseen = users.error().message(), .hidden = {}};
    }
    if (!users->user.empty()) {
        return refuse(fmt::format(
            "{}; the guest's memory is written only if no other process uses it: give each QEMU a "
            "mem-path of its own",
            users->user));
    }
    if (!users->unseen.empty() && unseen_ == UnseenProcesses::kRefuse) {
        return refuse(fmt::format(
            "whether another process uses {} is not known: {}; run migrate as root, or add "
            "unseen-processes=allow to the sink if no other guest can have this memory",
            names_of(files_), users->unseen));
    }
    if (std::exchange(told_, true)) return {};
    for (const std::string& what : {users->unseen, users->hidden}) {
        if (what.empty()) continue;
        log::warning("some processes could not be checked for use of {}: {}", names_of(files_),
                     what);
    }
    return {};
}

}  // namespace migrate::memory
