// SPDX-License-Identifier: Apache-2.0
// The counters of a device's migration. They are relaxed atomics, exact once the threads have
// ended, as in counters.hpp.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/convergence/convergence.hpp"

namespace migrate::engine {

// The figures of a device on one side; the times of the other side are 0.
struct DeviceReport {
    std::string name;  // name and instance
    std::string kind;
    bool complete = false;     // saved and sent, or loaded
    std::uint64_t bytes = 0;   // bytes of its state, including the configuration
    std::uint64_t chunks = 0;  // including the configuration
    Microseconds save{};       // time in its save functions, without the configuration
    Microseconds load{};       // time in its load functions, without the configuration
    Microseconds config{};     // saving or loading the configuration
    Microseconds wait{};   // sender: wait for room in the queue; receiver: wait for the next chunk
    Microseconds wire{};   // time of sending or receiving, summed over the channels
    Microseconds total{};  // from the start of its thread or turn until it is complete
};

struct DeviceCounters {
    using Clock = std::chrono::steady_clock;
    using Counter = std::atomic<std::uint64_t>;

    Counter bytes{0};
    Counter chunks{0};
    Counter save_us{0};
    Counter load_us{0};
    Counter config_us{0};
    Counter wait_us{0};
    Counter wire_us{0};
    Counter total_us{0};
    std::atomic<bool> complete{false};

    static std::uint64_t us_since(Clock::time_point began) {
        return static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began).count());
    }
    static void add(Counter& counter, std::uint64_t value) {
        counter.fetch_add(value, std::memory_order_relaxed);
    }
    static void add_since(Counter& counter, Clock::time_point began) {
        add(counter, us_since(began));
    }
    void fill(DeviceReport& report) const {
        const auto time = [](const Counter& counter) {
            return Microseconds(static_cast<std::int64_t>(counter.load(std::memory_order_relaxed)));
        };
        report.complete = complete.load(std::memory_order_relaxed);
        report.bytes = bytes.load(std::memory_order_relaxed);
        report.chunks = chunks.load(std::memory_order_relaxed);
        report.save = time(save_us);
        report.load = time(load_us);
        report.config = time(config_us);
        report.wait = time(wait_us);
        report.wire = time(wire_us);
        report.total = time(total_us);
    }
};

// Reports on a side's devices. `devices` holds pointers to objects with an `entry` (id and kind)
// and `counters`.
template <typename Devices>
std::vector<DeviceReport> report_devices(const Devices& devices) {
    std::vector<DeviceReport> reports;
    for (const auto& device : devices) {
        DeviceReport report{.name = device->entry.id.text(),
                            .kind = std::string(name_of(device->entry.kind))};
        device->counters.fill(report);
        reports.push_back(std::move(report));
    }
    return reports;
}

}  // namespace migrate::engine
