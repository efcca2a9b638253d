// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/engine.hpp"

#include <sched.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "accel/softdsa/injected_outcomes.hpp"
#include "accel/softdsa/user_memory.hpp"
#include "base/splitmix64.hpp"

namespace migrate::accel::softdsa {
namespace {

using dsa::CompletionStatus;
using dsa::Descriptor;
using dsa::Opcode;

// A sleep ends late by up to this time, so an answer that is due sooner is awaited without
// sleeping.
constexpr std::uint64_t kSleepSlackNs = 80'000;
// Longest delay of a descriptor that others overtake.
constexpr std::uint64_t kReorderNs = 200'000;

std::uint64_t page_of(std::uint64_t address) { return address - address % user_memory::kPageBytes; }

void add_to(Service& service, const Timing& timing, std::uint64_t bytes) {
    const auto transfer = static_cast<std::uint64_t>(static_cast<double>(bytes) * 1e9 /
                                                     static_cast<double>(timing.bytes_per_second));
    service.transfer += transfer;
    service.engine += std::max(timing.descriptor_ns, transfer);
}

}  // namespace

Wiring::Wiring(const DeviceConfig& config) {
    for (const QueueConfig& queue : config.queues)
        queues.push_back(std::make_unique<WorkQueue>(queue.size));
}

void Wiring::ring_all() {
    for (Doorbell& doorbell : doorbells) doorbell.ring_all();
}

DeviceState::DeviceState(const DeviceConfig& configuration, const Sharing& share)
    : config(configuration),
      sharing(share),
      own(share.devices == nullptr ? std::make_unique<SharedDevice>() : nullptr),
      shared(own ? *own : share.devices->device(share.index)),
      place(share.place),
      faults(configuration.faults),
      counts(configuration.queues.size()),
      wiring(std::make_unique<Wiring>(configuration)) {
    if (!own) return;
    own->set_groups(config.groups.value_or(Groups::together(std::max(config.engines, 1U))));
    for (std::size_t i = 0; i < config.queues.size(); ++i) {
        own->queues[i].configure(config.queues[i]);
        own->queues[i].enable();
    }
}

void DeviceState::finish(std::size_t queue, std::uint64_t position) {
    wiring->queues[queue]->finish(position);
    shared.queues[queue].end(place);
}

Engine::Engine(DeviceState& state, std::size_t number)
    : state_(state),
      wiring_(*state.wiring),
      number_(number),
      answers_(number >= kMostEngines),
      next_(number % state.config.queues.size()) {
    std::uint32_t longest = 0;
    for (const QueueConfig& queue : state.config.queues)
        longest = std::max(longest, queue.max_batch);
    list_.resize(longest);
    writes_.reserve(user_memory::kMostPieces);
}

bool Engine::ended() const {
    return wiring_.stopping.load(std::memory_order_acquire) ||
           state_.shared.halted.load(std::memory_order_acquire);
}

void Engine::run() {
    while (true) {
        // Read the value before checking anything that is signalled by it, including the stop.
        const std::size_t group = this->group();
        Doorbell& doorbell = wiring_.doorbell(group);
        const std::uint32_t seen = doorbell.value();
        if (wiring_.stopping.load(std::memory_order_acquire)) return;
        // After a change of the groups all doorbells are rung: once this finds the old group here,
        // it does not sleep through that.
        if (group != this->group()) continue;
        if (state_.shared.halted.load(std::memory_order_acquire)) {
            drop_all();
            doorbell.wait(seen, kNever);
            continue;
        }
        // Engines without a group stay out of the way: there may be many of them.
        if (group != SharedGroup::kNone) answers_ = true;
        const bool freed = answers_ && free_room();
        const bool answered = answers_ && answer_one();
        if (take_one(group) || answered || freed) continue;
        const std::uint64_t now = now_ns();
        const std::uint64_t due = answers_ ? wiring_.held.next_due(now) : kNever;
        if (due == kNever) answers_ = number_ >= kMostEngines;
        if (due != kNever && due < now + kSleepSlackNs)
            ::sched_yield();
        else
            doorbell.wait(seen, due == kNever ? due : due - kSleepSlackNs / 2);
    }
}

std::size_t Engine::group() const {
    return number_ < kMostEngines ? state_.shared.engines[number_].index() : SharedGroup::kNone;
}

// Takes a descriptor from the queues of the group, from each as many in a row as its priority says.
bool Engine::take_one(std::size_t group) {
    if (group == SharedGroup::kNone) return false;
    // The first queue twice: its turn may be over.
    for (std::size_t i = 0; i <= wiring_.queues.size(); ++i) {
        const std::size_t queue = next_;
        const SharedQueue& shared = state_.shared.queues[queue];
        WorkQueue::Entry entry;
        if (taken_ >= shared.priority() || shared.group.index() != group ||
            !wiring_.queues[queue]->take(entry)) {
            next_ = (next_ + 1) % wiring_.queues.size();
            taken_ = 0;
            continue;
        }
        ++taken_;
        // With timing, a descriptor leaves the queue when the modelled device begins with it.
        if (!state_.config.timing.enabled) state_.shared.queues[queue].give_room(state_.place);
        process(queue, entry);
        return true;
    }
    return false;
}

void Engine::execute(const WorkQueue::Entry& entry, std::size_t queue) {
    process(queue, entry);
    // A drain waits for what other threads execute; the last of them answers it.
    while (answer_one()) {
    }
}

bool Engine::answer_one() {
    const auto finished = [this](const Answer& answer) {
        return wiring_.queues[answer.queue]->finished_before(answer.position);
    };
    std::optional<Answer> answer = wiring_.held.take(now_ns(), finished);
    if (!answer) return false;
    for (const CompletionWrite& record : answer->writes) write(answer->queue, record);
    if (answer->begins_ns != 0) state_.shared.queues[answer->queue].give_room(state_.place);
    state_.finish(answer->queue, answer->position);
    return true;
}

// A device that is reset after a halt does not go on where it stopped.
void Engine::drop_all() {
    for (std::size_t queue = 0; queue < wiring_.queues.size(); ++queue) {
        WorkQueue::Entry entry;
        while (wiring_.queues[queue]->take(entry)) {
            state_.shared.queues[queue].give_room(state_.place);
            state_.finish(queue, entry.position);
        }
    }
    const auto any = [](const Answer& /*answer*/) { return true; };
    while (const std::optional<Answer> answer = wiring_.held.take(kNever, any)) {
        if (answer->begins_ns != 0) state_.shared.queues[answer->queue].give_room(state_.place);
        state_.finish(answer->queue, answer->position);
    }
}

bool Engine::free_room() {
    const std::optional<std::size_t> queue =
        state_.config.timing.enabled ? wiring_.held.take_begun(now_ns()) : std::nullopt;
    if (queue) state_.shared.queues[*queue].give_room(state_.place);
    return queue.has_value();
}

void Engine::process(std::size_t queue, const WorkQueue::Entry& entry) {
    Task task{.entry = entry,
              .queue = state_.shared.queues[queue].config(),
              .answer = {.queue = queue, .position = entry.position, .writes = {}},
              .service = {}};
    task.answer.drains = entry.descriptor.opcode() == Opcode::kDrain;
    QueueCounts& counts = state_.counts[queue];
    if (const auto late = state_.faults.next(FaultKind::kLate, queue)) {
        task.delay = late->value;
        count(counts.injected);
    }
    if (const auto reorder = state_.faults.next(FaultKind::kReorder, queue)) {
        task.shuffles = true;
        task.delay += reorder->random % kReorderNs;
        count(counts.injected);
    }
    task.holds = task.answer.drains || task.delay != 0 || state_.config.timing.enabled;
    if (entry.descriptor.opcode() == Opcode::kBatch) {
        batch(task);
    } else if (Outcome unused;
               !state_.faults.empty() || check_pages(task, {&entry.descriptor, 1}, unused) == 0) {
        answer(task, entry.descriptor, work(task, entry.descriptor, Place::kQueue, 0));
    }
    finish(task);
}

void Engine::finish(Task& task) {
    count(state_.counts[task.answer.queue].device_time_ns, task.service.engine);
    if (task.holds)
        hold(task);
    else
        state_.finish(task.answer.queue, task.answer.position);
}

void Engine::hold(Task& task) {
    const Timing& timing = state_.config.timing;
    const bool from_queue = state_.config.engines != 0;
    std::uint64_t due = task.delay == 0 ? 0 : now_ns() + task.delay;
    if (timing.enabled) {
        const ModelledTime::Span span = state_.shared.time.execute(
            state_.shared.engines_of(task.answer.queue), task.entry.submitted_ns, task.service);
        due = std::max(due, span.ends + timing.latency_ns + task.delay);
        if (from_queue) task.answer.begins_ns = span.begins;
    }
    task.answer.due_ns = due;
    wiring_.held.hold(std::move(task.answer));
    if (!from_queue) wiring_.doorbell(SharedGroup::kNone).ring_one();  // the thread that answers
}

void Engine::batch(Task& task) {
    const std::size_t queue = task.answer.queue;
    const Descriptor& descriptor = task.entry.descriptor;
    QueueCounts& counts = state_.counts[queue];
    count(counts.batches);
    Outcome outcome = check(descriptor, task.queue, Place::kQueue);
    if (const auto forced = state_.faults.next(FaultKind::kBatchStatus, queue)) {
        outcome = garbage(static_cast<std::uint8_t>(forced->value), forced->random);
        count(counts.injected);
    }
    if (!outcome.failed()) {
        constexpr std::size_t kWords = sizeof(Descriptor) / sizeof(std::uint64_t);
        std::size_t readable =
            user_memory::read_words(descriptor.source, list_.data(), descriptor.size * kWords) /
            kWords;
        if (const auto fault = state_.faults.next(FaultKind::kListFault, queue)) {
            const std::uint64_t at =
                fault->value == kAnyValue ? fault->random % descriptor.size : fault->value;
            if (at < readable) {
                readable = at;
                count(counts.injected);
            }
        }
        outcome = children(task, readable);
    }
    if (outcome.failed()) count(counts.errors);
    answer(task, descriptor, outcome);
}

// Returns the outcome of the batch itself; descriptors from `readable` on cannot be read.
Outcome Engine::children(Task& task, std::size_t readable) {
    const std::size_t queue = task.answer.queue;
    const Descriptor& batch = task.entry.descriptor;
    std::size_t bad = SIZE_MAX;
    std::uint64_t bad_random = 0;
    if (const auto fault = state_.faults.next(FaultKind::kBadChild, queue)) {
        bad_random = fault->random;
        bad = fault->value == kAnyValue ? bad_random % batch.size : fault->value;
    }
    Outcome outcome;
    std::uint32_t done = 0;
    const bool plain = !task.shuffles && state_.faults.empty();
    if (task.shuffles) shuffle(task, readable);
    for (std::size_t at = 0; at < readable; ++at) {
        const std::size_t i = task.shuffles ? order_[at] : at;
        if (const std::size_t checked =
                plain ? check_pages(task, std::span(list_).subspan(i, readable - i), outcome) : 0;
            checked != 0) {
            if (ended()) return outcome;
            done += static_cast<std::uint32_t>(checked);
            at += checked - 1;
            continue;
        }
        const Descriptor& child = list_[i];
        // A fence after a failure ends the batch: the rest is not executed.
        if ((child.flags() & dsa::kFlagFence) != 0 && outcome.failed()) break;
        const std::uint8_t forced = i == bad ? random_error(bad_random) : std::uint8_t{0};
        const Outcome result = work(task, child, Place::kBatch, forced);
        if (ended()) return outcome;
        const bool answered = answer(task, child, result);
        if (result.failed() || !answered) outcome = outcome_of(CompletionStatus::kBatchFailed);
        ++done;
    }
    if (outcome.failed()) outcome.result = 1;
    if (done == readable && readable < batch.size) {
        outcome = outcome_of(CompletionStatus::kBatchPageFault);
        outcome.fault_address = page_of(batch.source + readable * sizeof(Descriptor));
    }
    outcome.bytes_completed = done;
    return outcome;
}

std::size_t Engine::check_pages(Task& task, std::span<const Descriptor> list, Outcome& batch) {
    const std::size_t queue = task.answer.queue;
    const std::span<const Outcome> outcomes = page_checks_.execute(list, task.queue);
    std::uint64_t bytes = 0;
    writes_.clear();
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const Descriptor& child = list[i];
        bytes += outcomes[i].transferred;
        add_to(task.service, state_.config.timing, outcomes[i].transferred);
        // A check that succeeds is answered on request only; check() found the address then.
        if ((child.flags() & dsa::kFlagRequestCompletion) == 0) continue;
        const CompletionWrite record{child.completion_address, encode(outcomes[i], child.opcode())};
        if (record.address % record.record.size() != 0) {
            count(state_.counts[queue].unwritten);
            batch = outcome_of(CompletionStatus::kBatchFailed);
        } else if (task.holds) {
            task.answer.writes.push_back(record);
        } else {
            writes_.push_back(record);
        }
    }
    count(state_.counts[queue].work, outcomes.size());
    count(state_.counts[queue].bytes, bytes);
    if (!write_all(queue)) batch = outcome_of(CompletionStatus::kBatchFailed);
    return outcomes.size();
}

// Writes the collected records; returns false if one could not be written.
bool Engine::write_all(std::size_t queue) {
    QueueCounts& counts = state_.counts[queue];
    bool all = true;
    std::span<const CompletionWrite> rest = writes_;
    while (!rest.empty()) {
        if (ended()) return false;
        const std::size_t written = user_memory::write_records(rest);
        count(written == 0 ? counts.unwritten : counts.records, std::max<std::size_t>(written, 1));
        all = all && written != 0;
        rest = rest.subspan(std::max<std::size_t>(written, 1));
    }
    return all;
}

// Sets a random order in which no child passes a fence.
void Engine::shuffle(const Task& task, std::size_t readable) {
    order_.resize(readable);
    std::iota(order_.begin(), order_.end(), 0);
    std::uint64_t random = task.delay ^ task.entry.position;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < readable; ++i) {
        if ((list_[i].flags() & dsa::kFlagFence) != 0) begin = i;
        random = splitmix64(random);
        // The fenced child itself stays the first of its section.
        const std::size_t first = (list_[begin].flags() & dsa::kFlagFence) != 0 ? begin + 1 : begin;
        if (i > first) std::swap(order_[i], order_[first + random % (i - first + 1)]);
    }
}

Outcome Engine::work(Task& task, const Descriptor& descriptor, Place place,
                     std::uint8_t forced_status) {
    const std::size_t queue = task.answer.queue;
    QueueCounts& counts = state_.counts[queue];
    if (state_.faults.happens(FaultKind::kHaltAfter, queue)) {
        count(counts.injected);
        state_.shared.halted.store(true, std::memory_order_release);
        return {};
    }
    const Outcome outcome = carry_out(task, descriptor, place, forced_status);
    count(counts.work);
    count(counts.bytes, outcome.transferred);
    if (outcome.failed() &&
        outcome.status != static_cast<std::uint8_t>(CompletionStatus::kSuccessFalsePredicate))
        count(counts.errors);
    add_to(task.service, state_.config.timing, outcome.transferred);
    return outcome;
}

Outcome Engine::carry_out(const Task& task, const Descriptor& descriptor, Place place,
                          std::uint8_t forced_status) {
    const std::size_t queue = task.answer.queue;
    FaultInjector& faults = state_.faults;
    QueueCounts& counts = state_.counts[queue];
    const std::optional<Fault> status = faults.next(FaultKind::kStatus, queue);
    const std::optional<Fault> fault = faults.next(FaultKind::kFaultByte, queue);
    const std::optional<Fault> wrong = faults.next(FaultKind::kWrong, queue);
    if (status && forced_status == 0) forced_status = static_cast<std::uint8_t>(status->value);
    const Outcome refused = check(descriptor, task.queue, place);
    if (refused.failed()) return refused;

    const std::uint64_t random = status ? status->random : descriptor.source;
    if (forced_status != 0) {
        count(counts.injected);
        if (!is_partial(forced_status)) return garbage(forced_status, random);
    }
    std::uint64_t fault_at = UINT64_MAX;
    const std::uint32_t size = std::max(descriptor.size, 1U);
    if (forced_status != 0)
        fault_at = random % size;
    else if (fault)
        fault_at = fault->value == kAnyValue ? fault->random % size : fault->value;
    if (wrong) {
        count(counts.injected);
        if (!answers_by_record(descriptor.opcode())) return {};
    }
    Outcome outcome = operator_.execute(descriptor, fault_at);
    if (forced_status == 0 && fault && outcome.failed()) count(counts.injected);
    if (forced_status != 0) outcome = with_status(outcome, forced_status);
    return wrong ? falsified(outcome, descriptor, wrong->random) : outcome;
}

// Returns false if the record could not be written.
bool Engine::answer(Task& task, const Descriptor& descriptor, const Outcome& outcome) {
    const std::size_t queue = task.answer.queue;
    QueueCounts& counts = state_.counts[queue];
    const std::uint32_t flags = descriptor.flags();
    if ((flags & dsa::kFlagCompletionAddressValid) == 0) return true;
    if ((flags & dsa::kFlagRequestCompletion) == 0 && !outcome.failed()) return true;
    const bool unreachable = state_.faults.happens(FaultKind::kRecordFault, queue);
    const bool dropped = state_.faults.happens(FaultKind::kDrop, queue);
    if (unreachable || dropped) {
        count(counts.injected);
        count(counts.unwritten);
        return !unreachable;
    }
    const CompletionWrite record{descriptor.completion_address,
                                 encode(outcome, descriptor.opcode())};
    if (!task.holds) return write(queue, record);
    task.answer.writes.push_back(record);
    return record.address % record.record.size() == 0;
}

// The device cannot write a record to an unaligned or unmapped address; a real device would report
// that in its error register (0x1b, 0x1a).
bool Engine::write(std::size_t queue, const CompletionWrite& record) {
    const bool written = !ended() && record.address % record.record.size() == 0 &&
                         user_memory::write_record(record.address, record.record);
    QueueCounts& counts = state_.counts[queue];
    count(written ? counts.records : counts.unwritten);
    return written;
}

}  // namespace migrate::accel::softdsa
