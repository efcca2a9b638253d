// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/device.hpp"

#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "accel/softdsa/engine.hpp"
#include "accel/softdsa/errno_kept.hpp"
#include "accel/softdsa/guarded_memory.hpp"
#include "accel/softdsa/inline_engines.hpp"
#include "accel/softdsa/user_memory.hpp"

namespace migrate::accel::softdsa {
namespace {

void* run_engine(void* argument) {
    const std::unique_ptr<Engine> engine(static_cast<Engine*>(argument));
    ::prctl(PR_SET_NAME, "softdsa_engine");
    engine->run();
    return nullptr;
}

bool in_range(const DeviceConfig& config) {
    if (config.queues.empty() || config.queues.size() > kMostQueues ||
        config.timing.bytes_per_second == 0 || config.engines > kMostEngines)
        return false;
    for (const QueueConfig& queue : config.queues) {
        if (queue.size == 0 || queue.size > kMostQueueSize || queue.threshold > queue.size ||
            queue.max_transfer == 0 || queue.priority == 0)
            return false;
    }
    return true;
}

}  // namespace

struct Device::Implementation {
    Implementation(const DeviceConfig& config, const Sharing& sharing) : state(config, sharing) {}

    int start_engines();
    void stop_engines();

    DeviceState state;
    // Handles instead of std::thread: in the child of a fork there is nothing to join or to detach.
    std::vector<pthread_t> engines;
    // Only without engine threads, once started.
    std::unique_ptr<InlineEngines> in_submitters;
    // A fork may have left their locks held, so they are kept and never used again.
    std::vector<std::unique_ptr<Wiring>> abandoned;
    std::vector<std::unique_ptr<InlineEngines>> abandoned_engines;
};

int Device::Implementation::start_engines() {
    if (const int error = user_memory::probe(); error != 0) return error;
    guarded::enable_by_own_handlers();
    sigset_t all{};
    sigset_t before{};
    ::sigfillset(&all);
    // A guarded read may raise them.
    ::sigdelset(&all, SIGSEGV);
    ::sigdelset(&all, SIGBUS);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    // Without engines, one thread gives the answers that are held.
    const std::size_t threads = std::max(state.config.engines, 1U);
    for (std::size_t i = 0; i < threads && error == 0; ++i) {
        auto engine = std::make_unique<Engine>(state, state.config.engines == 0 ? kMostEngines : i);
        pthread_t thread{};
        error = ::pthread_create(&thread, nullptr, run_engine, engine.get());
        if (error != 0) continue;
        static_cast<void>(engine.release());  // run_engine() owns it
        engines.push_back(thread);
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) stop_engines();
    if (error == 0 && state.config.engines == 0)
        in_submitters = std::make_unique<InlineEngines>(state);
    return error;
}

void Device::Implementation::stop_engines() {
    state.wiring->stopping.store(true, std::memory_order_release);
    state.wiring->ring_all();
    for (const pthread_t engine : engines) ::pthread_join(engine, nullptr);
    engines.clear();
}

Device::Device(const DeviceConfig& config, const Sharing& sharing) {
    if (!in_range(config)) std::abort();
    implementation_ = std::make_unique<Implementation>(config, sharing);
}

Device::~Device() { implementation_->stop_engines(); }

int Device::start() { return implementation_->start_engines(); }

int Device::restart_after_fork(std::size_t place) {
    Implementation& own = *implementation_;
    own.state.place = place;
    own.engines.clear();
    own.abandoned.push_back(std::move(own.state.wiring));
    own.abandoned_engines.push_back(std::move(own.in_submitters));
    own.state.wiring = std::make_unique<Wiring>(own.state.config);
    return own.start_engines();
}

std::size_t Device::queue_count() const { return implementation_->state.config.queues.size(); }

QueueConfig Device::queue(std::size_t index) const {
    return implementation_->state.shared.queues[index].config();
}

std::uint32_t Device::entries(std::size_t index) const {
    return implementation_->state.shared.queues[index].entries();
}

bool Device::works_in_submitter() const noexcept {
    return implementation_->state.config.engines == 0;
}

bool Device::put(std::size_t queue, const dsa::Descriptor& descriptor) noexcept {
    DeviceState& state = implementation_->state;
    QueueCounts& counts = state.counts[queue];
    if (state.shared.halted.load(std::memory_order_acquire)) return false;
    if (state.faults.full(queue)) {
        count(counts.injected);
        return false;
    }
    InlineEngines* const engines = implementation_->in_submitters.get();
    if (works_in_submitter() && engines == nullptr) return false;
    SharedQueue& shared = state.shared.queues[queue];
    if (!shared.begin(state.place)) return false;
    if (!works_in_submitter() && !take_room(queue)) {
        shared.end(state.place);
        return false;
    }
    count(counts.accepted);
    const std::uint64_t now = state.config.timing.enabled ? now_ns() : 0;
    if (works_in_submitter()) {
        engines->execute(queue, descriptor, now);
        return true;
    }
    Wiring& wiring = *state.wiring;
    const std::uint32_t version = state.shared.groups_version();
    if (wiring.groups_version.load() != version) {
        wiring.groups_version.store(version);
        wiring.ring_all();
    }
    wiring.queues[queue]->put(descriptor, now);
    wiring.doorbell(shared.group.index()).ring_one();
    return true;
}

bool Device::take_room(std::size_t queue) noexcept {
    DeviceState& state = implementation_->state;
    if (state.shared.queues[queue].take_room(state.place)) return true;
    // A process that has ended may hold the room.
    if (state.sharing.devices != nullptr) state.sharing.devices->reap();
    return false;
}

bool Device::enqcmd(std::size_t queue, const dsa::Descriptor& descriptor) noexcept {
    const dsa::QueueMode mode = implementation_->state.shared.queues[queue].mode();
    if (mode == dsa::QueueMode::kShared && put(queue, descriptor)) return true;
    count(implementation_->state.counts[queue].refused);
    return false;
}

void Device::movdir64b(std::size_t queue, const dsa::Descriptor& descriptor) noexcept {
    const dsa::QueueMode mode = implementation_->state.shared.queues[queue].mode();
    if (mode == dsa::QueueMode::kDedicated && put(queue, descriptor)) return;
    count(implementation_->state.counts[queue].lost);
}

// Submits one descriptor of a write() as the driver does: returns 0 or an errno.
int Device::write_one(std::size_t queue, std::uint64_t address) noexcept {
    dsa::Descriptor descriptor;
    if (user_memory::read(address, &descriptor, sizeof descriptor) != sizeof descriptor)
        return EFAULT;
    const QueueConfig config = this->queue(queue);
    if (const auto fault = implementation_->state.faults.next(FaultKind::kWriteError, queue)) {
        count(implementation_->state.counts[queue].injected);
        return static_cast<int>(fault->value);
    }
    if (config.refuse_batch_by_write && descriptor.opcode() == dsa::Opcode::kBatch) return EINVAL;
    if (descriptor.completion_address % sizeof(dsa::CompletionRecord) != 0) return EINVAL;
    if (config.mode == dsa::QueueMode::kDedicated) {
        movdir64b(queue, descriptor);
        return 0;
    }
    for (std::uint64_t tries = std::uint64_t{config.write_retries} + 1; tries != 0; --tries)
        if (enqcmd(queue, descriptor)) return 0;
    return EAGAIN;
}

std::ptrdiff_t Device::write(std::size_t queue, const void* descriptors,
                             std::size_t bytes) noexcept {
    const ErrnoKept kept;
    std::size_t done = 0;
    int error = 0;
    while (error == 0 && bytes - done >= sizeof(dsa::Descriptor)) {
        error = write_one(queue, dsa::address_of(descriptors) + done);
        if (error == 0) done += sizeof(dsa::Descriptor);
    }
    return done == 0 ? -error : static_cast<std::ptrdiff_t>(done);
}

int Device::planned_errno(FaultKind kind, std::size_t queue) noexcept {
    const auto fault = implementation_->state.faults.next(kind, queue);
    if (!fault) return 0;
    count(implementation_->state.counts[queue].injected);
    return static_cast<int>(fault->value);
}

int Device::open_error(std::size_t queue) noexcept {
    return planned_errno(FaultKind::kOpenError, queue);
}

int Device::map_error(std::size_t queue) noexcept {
    return planned_errno(FaultKind::kMapError, queue);
}

bool Device::halted() const noexcept { return implementation_->state.shared.halted.load(); }

std::uint32_t Device::occupancy(std::size_t queue) const noexcept {
    return implementation_->state.shared.queues[queue].occupancy();
}

QueueCounters Device::counters(std::size_t queue) const {
    const QueueCounts& counts = implementation_->state.counts[queue];
    return {.accepted = counts.accepted,
            .refused = counts.refused,
            .lost = counts.lost,
            .batches = counts.batches,
            .work = counts.work,
            .bytes = counts.bytes,
            .records = counts.records,
            .unwritten = counts.unwritten,
            .errors = counts.errors,
            .injected = counts.injected,
            .device_time_ns = counts.device_time_ns};
}

}  // namespace migrate::accel::softdsa
