// SPDX-License-Identifier: Apache-2.0
// A plain client of the software DSA device: memory of its own, descriptors, and their answers.
#pragma once

#include <sys/mman.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "accel/softdsa/device.hpp"
#include "accel/softdsa/operations.hpp"
#include "base/fd.hpp"
#include "base/splitmix64.hpp"
#include "base/units.hpp"
#include "catch.hpp"
#include "tests/accel/mapped_pages.hpp"

namespace migrate::accel::softdsa {

using dsa::address_of;
using dsa::CompletionRecord;
using dsa::CompletionStatus;
using dsa::Descriptor;
using dsa::Opcode;

inline constexpr std::uint32_t kAnswer =
    dsa::kFlagCompletionAddressValid | dsa::kFlagRequestCompletion;

inline void fill_random(std::byte* to, std::size_t bytes, std::uint64_t seed) {
    for (std::size_t i = 0; i < bytes; ++i) to[i] = static_cast<std::byte>(splitmix64(seed + i));
}

inline std::uint8_t code(CompletionStatus status) { return static_cast<std::uint8_t>(status); }

inline Descriptor make(Opcode opcode, std::uint64_t source, std::uint64_t destination,
                       std::uint32_t size, std::uint32_t flags = 0) {
    Descriptor descriptor;
    descriptor.set(opcode, flags | kAnswer);
    descriptor.source = source;
    descriptor.destination = destination;
    descriptor.size = size;
    return descriptor;
}

// The status, once there is one; 0: none came within ten seconds.
inline std::uint8_t wait_for(const CompletionRecord& record) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (record.status.load(std::memory_order_acquire) == 0) {
        if (std::chrono::steady_clock::now() > deadline) return 0;
        std::this_thread::yield();
    }
    return record.status.load(std::memory_order_acquire);
}

inline std::unique_ptr<Device> started(const DeviceConfig& config) {
    auto device = std::make_unique<Device>(config);
    REQUIRE(device->start() == 0);
    return device;
}

inline DeviceConfig with_faults(const std::string& plan) {
    ParsedFaultPlan parsed = parse_fault_plan(plan);
    REQUIRE(parsed.error.empty());
    DeviceConfig config;
    config.faults = parsed.plan;
    return config;
}

// Submits to queue 0 until it is taken, and waits for the answer.
inline std::uint8_t run(Device& device, Descriptor descriptor, CompletionRecord& record) {
    record.status = 0;
    descriptor.completion_address = address_of(&record);
    while (!device.enqcmd(0, descriptor)) std::this_thread::yield();
    return wait_for(record);
}

// Descriptors side by side with their records, as a batch of them needs.
struct Batch {
    explicit Batch(std::size_t count) : children(count), records(count) {
        for (std::size_t i = 0; i < count; ++i)
            children[i].completion_address = address_of(&records[i]);
    }
    void set(std::size_t i, const Descriptor& child) {
        children[i] = child;
        children[i].completion_address = address_of(&records[i]);
    }
    Descriptor descriptor() const {
        return make(Opcode::kBatch, address_of(children.data()), 0,
                    static_cast<std::uint32_t>(children.size()));
    }
    std::vector<Descriptor> children;
    std::vector<CompletionRecord> records;
};

}  // namespace migrate::accel::softdsa
