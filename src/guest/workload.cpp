// SPDX-License-Identifier: Apache-2.0
#include "guest/workload.hpp"

#include <algorithm>
#include <chrono>

#include "base/log.hpp"
#include "base/own_cpu_time.hpp"
#include "guest/workload_check.hpp"
#include "guest/workload_page.hpp"
#include "memory/pieces.hpp"
#include "memory/sink/populate.hpp"

namespace migrate::guest {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

Workload::Workload(const WorkloadState& state, std::span<std::byte> memory,
                   const memory::PageSource* source)
    : spec_(state.spec),
      memory_(memory),
      source_(source),
      longest_gap_before_(state.longest_gap_us),
      ran_(microseconds(state.run_time_us)),
      gate_(state.spec.threads) {
    for (unsigned i = 0; i < spec_.threads; ++i) {
        vcpus_.push_back(
            std::make_unique<Vcpu>(spec_, i, state.vcpus[i], memory_, gate_, throttle_percent_));
    }
}

Result<std::unique_ptr<Workload>> Workload::create(const WorkloadState& state,
                                                   std::span<std::byte> memory,
                                                   const memory::PageSource* source) {
    std::unique_ptr<Workload> workload(new Workload(state, memory, source));
    MIGRATE_TRY(workload->start_threads());
    return workload;
}

// At the destination the number of threads comes from the peer, and this host may be unable to
// start that many.
Status Workload::start_threads() {
    // vCPU threads must not receive signals: a signal's default action would end the program and
    // its guest.
    const SignalsBlocked blocked;
    threads_.reserve(spec_.threads);
    for (unsigned i = 0; i < spec_.threads; ++i) {
        const auto run = [vcpu = vcpus_[i].get()](const std::stop_token&) -> Status {
            const GuestThread counts_as_guest;
            vcpu->run();
            return {};
        };
        Result<Thread> thread =
            Thread::start(fmt::format("vcpu_{}", i), run,
                          [](const Error& error) { log::error("{}", error.message()); });
        if (!thread) {
            return std::move(thread).error().with_context(
                fmt::format("a guest of {} vCPUs", spec_.threads));
        }
        threads_.push_back(*std::move(thread));
    }
    return {};
}

Workload::~Workload() {
    gate_.stop();
    for (Thread& thread : threads_) thread.join();
}

bool Workload::running() const {
    const MutexLock lock(mutex_);
    return running_;
}

Status Workload::pause() {
    gate_.pause();
    const MutexLock lock(mutex_);
    ran_ = run_time();
    running_ = false;
    return {};
}

Status Workload::resume() {
    const MutexLock lock(mutex_);
    if (running_) return {};
    running_ = true;
    resumed_at_ = Clock::now();
    gate_.resume();
    return {};
}

Status Workload::throttle(unsigned percent) {
    if (percent > 99) return make_error("a throttle of {} percent is out of range 0 … 99", percent);
    throttle_percent_.store(percent, std::memory_order_relaxed);
    return {};
}

nanoseconds Workload::run_time() const {
    return running_ ? ran_ + (Clock::now() - resumed_at_) : ran_;
}

Activity Workload::activity() const {
    Activity activity;
    activity.longest_gap = longest_gap_before_;
    for (const auto& vcpu : vcpus_) {
        activity.bytes_written += vcpu->writes() * kPageSize;
        activity.longest_gap =
            std::max(activity.longest_gap, duration_cast<microseconds>(vcpu->longest_gap()));
    }
    const MutexLock lock(mutex_);
    activity.run_time = duration_cast<microseconds>(run_time());
    return activity;
}

WorkloadState Workload::state() const {
    const Activity felt = activity();
    WorkloadState state;
    state.spec = spec_;
    // Clamps the times, so that a wrong clock does not make another host refuse the state.
    const auto bounded = [](microseconds time) {
        return std::min(static_cast<std::uint64_t>(time.count()), kMaxStateUs);
    };
    state.run_time_us = bounded(felt.run_time);
    state.longest_gap_us = bounded(felt.longest_gap);
    for (const auto& vcpu : vcpus_) state.vcpus.push_back(vcpu->state());
    return state;
}

Result<std::string> Workload::save_state() {
    if (running())
        return make_error("the workload runs; its state can be saved while it is paused");
    return encode_state(state());
}

Status Workload::check() {
    if (running()) return make_error("the workload runs; it can be checked while it is paused");
    return check_memory(state(), memory_, source_);
}

Status fill_memory(const WorkloadSpec& spec, std::span<std::byte> memory) {
    return memory::for_each_piece(
        "fill", spec.filled_pages(), 8 * kMiB / kPageSize, [&](PageRange piece) -> Status {
            const auto bytes = memory.subspan(piece.offset_bytes(), piece.size_bytes());
            const int code = memory::populate(bytes, memory::PopulateFor::kWriting);
            if (code != 0) return Error::system("fill the memory", code);
            for (std::uint64_t page = piece.first; page < piece.end(); ++page) {
                write_page(memory.data() + page * kPageSize, {page, 0}, spec.seed);
            }
            return {};
        });
}

}  // namespace migrate::guest
