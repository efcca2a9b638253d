#include "accel/softdsa/preload/world.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "accel/softdsa/preload/faults.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

std::atomic<World*> world{nullptr};

void after_fork() {
    if (World* const here = World::instance()) here->forked();
}

}  // namespace

SignalsBlocked::SignalsBlocked() {
    const std::uint64_t all = ~trapped_signals();
    const int error = errno;
    raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &mask_, sizeof all);
    errno = error;
}

SignalsBlocked::~SignalsBlocked() {
    const int error = errno;
    raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask_, nullptr, sizeof mask_);
    errno = error;
}

World::World(Catalog catalog) : catalog_(std::move(catalog)) {
    for (const DeviceConfig& config : catalog_.devices) devices_.push_back(new Device(config));
}

World* World::instance() { return world.load(std::memory_order_acquire); }

void World::create() {
    Catalog catalog = read_catalog();
    if (!catalog.error.empty()) {
        std::fprintf(stderr, "softdsa: %s\n", catalog.error.c_str());
        std::_Exit(2);
    }
    if (catalog.devices.empty()) return;
    auto* const created = new World(std::move(catalog));
    ::pthread_atfork(nullptr, nullptr, after_fork);
    world.store(created, std::memory_order_release);
}

std::optional<std::size_t> World::node_of(int fd) const {
    struct stat status {};
    const int error = errno;
    const bool known = ::fstat(fd, &status) == 0;
    errno = error;
    if (!known) return std::nullopt;
    for (std::size_t i = 0; i < catalog_.nodes.size(); ++i) {
        const Node& candidate = catalog_.nodes[i];
        if (candidate.inode == status.st_ino && candidate.file_system == status.st_dev) return i;
    }
    return std::nullopt;
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
    for (Device* const device : devices_) {
        const int error = state == State::kNew ? device->start() : device->restart_after_fork();
        if (error != 0) {
            std::fprintf(stderr, "softdsa: the devices cannot start: errno %d\n", error);
            std::_Exit(2);
        }
    }
    state_.store(State::kRunning, std::memory_order_release);
}

Device& World::device(std::size_t index) const { return *devices_[node(index).device]; }

void World::forked() {
    portals_.forget(0, UINT64_MAX);  // not inherited (MADV_DONTFORK)
    starting_.clear();
    if (state_.load() == State::kRunning) state_.store(State::kForked);
}

}  // namespace migrate::accel::softdsa::preload
