// SPDX-License-Identifier: Apache-2.0
// Threads that run one at a time in time that is made up: as many CPUs as threads, and a DSA device
// whose speed a test sets. The figures depend on the design alone and not on the machine. The
// threads are fibers of one real thread: they change places at every step of a wait, which on a
// busy machine takes milliseconds between real threads.
#pragma once

#include <chrono>
#include <cmath>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "accel/dsa/completion.hpp"
#include "accel/dsa/portal.hpp"
#include "tests/support/fiber.hpp"
#include "tests/support/made_up_device.hpp"

namespace migrate::accel::dsa {

class VirtualMachine;

// Executes descriptors one after the other, and answers each at its time. All migrations on the
// machine share it.
class VirtualDevice {
  public:
    struct Speed {
        double page_ns = 131;     // time for a page
        double latency_ns = 700;  // from the end of the work to the answer
        std::uint32_t entries = 128;
    };
    explicit VirtualDevice(const Speed& speed) : speed_(speed) {}

    bool take(const Descriptor& descriptor, Time::Point now) {
        while (!starts_.empty() && starts_.front() <= now) starts_.pop_front();
        if (starts_.size() >= speed_.entries) return false;
        const std::uint32_t pages = descriptor.opcode() == Opcode::kBatch ? descriptor.size : 1;
        const Time::Point start = std::max(now, free_at_);
        free_at_ = start + std::chrono::nanoseconds(std::llround(speed_.page_ns * pages));
        starts_.push_back(start);
        const auto latency = std::chrono::nanoseconds(std::llround(speed_.latency_ns));
        answers_.push_back({free_at_ + latency, descriptor});
        return true;
    }
    void answer_until(Time::Point now) {
        for (; !answers_.empty() && answers_.front().first <= now; answers_.pop_front()) {
            const auto& [at, descriptor] = answers_.front();
            if (descriptor.opcode() == Opcode::kBatch) {
                for (const Descriptor& child : children_of(descriptor)) answer_by_ends(child);
                answer(descriptor, CompletionStatus::kSuccess, 0, descriptor.size);
            } else {
                answer_by_ends(descriptor);
            }
            for (const auto& listener : listeners) listener(at);
        }
    }
    // Called at the time of each answer.
    std::vector<std::function<void(Time::Point)>> listeners;
    Time::Point next_answer() const {
        return answers_.empty() ? Time::Point::max() : answers_.front().first;
    }

  private:
    // Test pages that are not zero differ in their first or their last byte: reading more of them
    // would only take real time.
    static void answer_by_ends(const Descriptor& child) {
        const auto* page = at<const char>(child.source);
        const bool zero = page[0] == 0 && page[child.size - 1] == 0;
        answer(child, CompletionStatus::kSuccess, zero ? 0 : 1);
    }

    Speed speed_;
    Time::Point free_at_{};
    std::deque<Time::Point> starts_;  // of descriptors that are still in the queue
    std::deque<std::pair<Time::Point, Descriptor>> answers_;
};

class VirtualMachine final : public Time {
  public:
    using Nanoseconds = std::chrono::nanoseconds;

    explicit VirtualMachine(const VirtualDevice::Speed& speed) : device(speed) {}

    Point now() override {
        work(std::exchange(actors_.at(running_)->charged, 0));
        return now_;
    }
    void pass(const std::atomic<std::uint8_t>*, std::uint32_t) override { wait_step(true); }
    // The running thread works for so long before it next asks for the time.
    void charge(double ns) { actors_.at(running_)->charged += ns; }
    void sleep_until(Point until) { go_on_at(std::max(until, now()), false); }
    // Lets time pass up to the next answer, but not for long.
    void wait_step(bool busy) {
        const Point soon = now_ + Nanoseconds(50);
        const Point late = now_ + Nanoseconds(2000);
        go_on_at(std::max(soon, std::min(device.next_answer(), late)), busy);
    }

    // Runs each body in a thread of its own, and returns the CPU time of each.
    std::vector<Nanoseconds> run(const std::vector<std::function<void()>>& bodies) {
        Fiber outside;
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            actors_.push_back(std::make_unique<Actor>());
            actors_[i]->fiber = std::make_unique<Fiber>([&, i] {
                bodies[i]();
                Fiber& self = *actors_[i]->fiber;
                if (!order_.empty()) take_turn();
                self.switch_to(running_ == i ? outside : *actors_[running_]->fiber);
            });
            order_.insert({now_, i});
        }
        take_turn();
        outside.switch_to(*actors_[running_]->fiber);
        std::vector<Nanoseconds> times;
        for (const auto& actor : actors_) times.push_back(actor->cpu);
        return times;
    }
    // Number of the running thread.
    std::size_t running() const { return running_; }

    VirtualDevice device;

  private:
    struct Actor {
        std::unique_ptr<Fiber> fiber;
        double charged = 0;  // ns
        Nanoseconds cpu{};
    };

    void work(double ns) {
        if (ns > 0) go_on_at(now_ + Nanoseconds(std::llround(ns)), true);
    }
    void go_on_at(Point at, bool busy) {
        const std::size_t self = running_;
        if (busy) actors_[self]->cpu += at - now_;
        order_.insert({at, self});
        take_turn();
        if (running_ != self) actors_[self]->fiber->switch_to(*actors_[running_]->fiber);
    }
    void take_turn() {
        now_ = std::max(now_, order_.begin()->first);
        running_ = order_.begin()->second;
        order_.erase(order_.begin());
        device.answer_until(now_);
    }

    Point now_{};
    std::size_t running_ = 0;
    std::vector<std::unique_ptr<Actor>> actors_;
    std::set<std::pair<Point, std::size_t>> order_;
};

// A work queue of the machine's device; submitting costs CPU time.
class VirtualPortal final : public Portal {
  public:
    VirtualPortal(VirtualMachine& machine, double submit_ns, std::uint32_t batch)
        : machine_(machine),
          submit_ns_(submit_ns),
          limits_{.entries = 128, .batch = batch, .transfer_bytes = 1U << 21U} {}

    const std::string& name() const override { return name_; }
    const QueueLimits& limits() const override { return limits_; }
    int numa_node() const override { return -1; }
    bool is_software() const override { return true; }
    std::size_t submit(std::span<const Descriptor> descriptors) override {
        std::size_t taken = 0;
        for (const Descriptor& descriptor : descriptors) {
            const bool batch = descriptor.opcode() == Opcode::kBatch;
            machine_.charge(submit_ns_ * (batch ? descriptor.size : 1));
            if (!machine_.device.take(descriptor, machine_.now())) break;
            ++taken;
        }
        return taken;
    }

  private:
    VirtualMachine& machine_;
    double submit_ns_;
    QueueLimits limits_;
    std::string name_ = "virtual";
};

// The model of accel-completion=thread: channels sleep, and one thread polls while anything is
// outstanding that a channel may wait for; otherwise it looks once in a millisecond.
class VirtualThreadCompletion final : public Completion {
  public:
    explicit VirtualThreadCompletion(VirtualMachine& machine) : machine_(machine) {
        machine.device.listeners.emplace_back([this](Time::Point now) { look(now); });
    }

    void watch(Watch& watch) override {
        watch.state.store(Watch::State::kWatched);
        watch.aside.store(false);
        wake_ = {};  // a new watch wakes the thread
        look(machine_.now());
        watching_.push_back(&watch);
    }
    bool settled(Watch& watch) override {
        look(machine_.now());
        return watch.answered();
    }
    bool await(Watch& watch, Time::Point limit) override {
        while (!settled(watch)) {
            if (machine_.now() >= limit) return false;
            machine_.wait_step(false);
        }
        return true;
    }
    void set_aside(Watch& watch) override {
        look(machine_.now());
        watch.aside.store(true);
    }
    bool forgets() const override { return false; }
    Time& time() override { return machine_; }
    WaiterCost waiter_cost() const override { return cost_; }

  private:
    void look(Time::Point now) {
        Time::Point polled_until = since_;
        for (const Watch* watch : watching_)
            if (!watch->aside.load()) polled_until = std::max(polled_until, watch->polled_until);
        cost_.busy += std::min(now, polled_until) - since_;
        since_ = now;
        if (now > polled_until) {
            // It sleeps.
            if (wake_ == Time::Point()) wake_ = polled_until + kLookInterval;
            if (now < wake_) return;
            wake_ = now + kLookInterval;
        }
        std::erase_if(watching_, [&](Watch* watch) {
            if (watch->status->load() == 0) return false;
            watch->seen = now;
            watch->state.store(Watch::State::kAnswered);
            cost_.pages += watch->pages;
            return true;
        });
    }

    VirtualMachine& machine_;
    static constexpr std::chrono::milliseconds kLookInterval{1};

    std::vector<Watch*> watching_;
    Time::Point since_{};
    Time::Point wake_{};  // while it sleeps: when it looks next
    WaiterCost cost_;
};

}  // namespace migrate::accel::dsa
