// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/world.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "accel/softdsa/errno_kept.hpp"
#include "accel/softdsa/preload/faults.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

constexpr const char* kControlFolder = "/sys/bus/dsa/softdsa/control";
constexpr const char* kNodeFolder = "/sys/bus/dsa/softdsa/nodes";

std::atomic<World*> world{nullptr};

// Maps the file, of zeros at first, in which the devices have their shared part. Returns null with
// errno if that fails.
SharedDevices* map_shared(const std::string& path, struct stat& status) {
    const int fd =
        static_cast<int>(raw_syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDWR | O_CLOEXEC, 0));
    if (fd < 0) return nullptr;
    constexpr auto kBytes = static_cast<off_t>(sizeof(SharedDevices));
    void* mapped = MAP_FAILED;
    if (::fstat(fd, &status) == 0 && (status.st_size >= kBytes || ::ftruncate(fd, kBytes) == 0))
        mapped = ::mmap(nullptr, sizeof(SharedDevices), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const ErrnoKept kept;
    raw_syscall(SYS_close, fd);
    return mapped == MAP_FAILED ? nullptr : static_cast<SharedDevices*>(mapped);
}

void after_fork() {
    if (World* const here = World::instance()) here->forked();
}

}  // namespace

SignalsBlocked::SignalsBlocked() {
    const ErrnoKept kept;
    const std::uint64_t all = ~trapped_signals();
    raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &mask_, sizeof all);
}

SignalsBlocked::~SignalsBlocked() {
    const ErrnoKept kept;
    raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask_, nullptr, sizeof mask_);
}

World::World(Tree tree, Catalog catalog, SharedDevices& shared, dev_t tree_device)
    : tree_(std::move(tree)),
      catalog_(std::move(catalog)),
      shared_(shared),
      configuration_(tree_, shared_),
      tree_device_(tree_device) {
    configuration_.adopt();
}

World* World::instance() { return world.load(std::memory_order_acquire); }

void World::create() {
    Tree tree(kControlFolder, kNodeFolder);
    Catalog catalog = read_catalog(tree);
    if (!catalog.error.empty()) {
        std::fprintf(stderr, "softdsa: %s\n", catalog.error.c_str());
        std::_Exit(2);
    }
    if (catalog.devices.empty()) return;
    struct stat status {};
    SharedDevices* const shared = map_shared(tree.file("shared"), status);
    if (shared == nullptr) {
        std::fprintf(stderr, "softdsa: cannot map %s: errno %d\n", tree.file("shared").c_str(),
                     errno);
        std::_Exit(2);
    }
    auto* const created = new World(std::move(tree), std::move(catalog), *shared, status.st_dev);
    ::pthread_atfork(nullptr, nullptr, after_fork);
    world.store(created, std::memory_order_release);
}

World::OpenFile World::look_at(int fd) const {
    const ErrnoKept kept;
    struct stat status {};
    OpenFile file;
    if (::fstat(fd, &status) != 0) return file;
    file.in_tree = status.st_dev == tree_device_;
    for (std::size_t i = 0; i < catalog_.nodes.size() && !file.node; ++i) {
        const Node& candidate = catalog_.nodes[i];
        if (candidate.inode == status.st_ino && candidate.file_system == status.st_dev)
            file.node = i;
    }
    return file;
}

bool World::concerns(const char* path) const {
    const ErrnoKept kept;
    struct stat status {};
    return ::stat(path, &status) == 0 &&
           (status.st_dev == tree_device_ || status.st_dev == catalog_.nodes.front().file_system);
}

bool World::is_dedicated(std::size_t index) const {
    const Node& at = node(index);
    return shared_.device(at.device).queues[at.queue].mode() == dsa::QueueMode::kDedicated;
}

void World::start() {
    if (state_.load(std::memory_order_acquire) == State::kRunning) return;
    const SignalsBlocked blocked;
    while (starting_.test_and_set(std::memory_order_acquire)) ::sched_yield();
    start_devices();
    starting_.clear(std::memory_order_release);
}

void World::start_devices() {
    const State state = state_.load(std::memory_order_acquire);
    if (state == State::kRunning) return;
    const std::size_t place = join();
    for (std::size_t i = devices_.size(); i < catalog_.devices.size(); ++i) {
        const Sharing sharing{.devices = &shared_, .index = i, .place = place};
        devices_.push_back(new Device(catalog_.devices[i], sharing));
    }
    for (Device* const device : devices_) {
        const int error =
            state == State::kNew ? device->start() : device->restart_after_fork(place);
        if (error != 0) {
            std::fprintf(stderr, "softdsa: the devices cannot start: errno %d\n", error);
            std::_Exit(2);
        }
    }
    state_.store(State::kRunning, std::memory_order_release);
}

std::size_t World::join() {
    const std::size_t place = shared_.join();
    if (place == kMostProcesses) {
        std::fprintf(stderr, "softdsa: %zu processes use the devices, and no more can\n",
                     kMostProcesses);
        std::_Exit(2);
    }
    return place;
}

Device& World::device(std::size_t index) const { return *devices_[node(index).device]; }

void World::forked() {
    portals_.forget(0, UINT64_MAX);  // not inherited (MADV_DONTFORK)
    starting_.clear();
    if (state_.load() == State::kRunning) state_.store(State::kForked);
}

}  // namespace migrate::accel::softdsa::preload
