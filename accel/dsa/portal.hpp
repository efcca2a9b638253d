// The way one descriptor takes to a work queue: what real and software devices differ in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "accel/dsa/descriptor.hpp"

namespace migrate::accel::dsa {

enum class QueueMode : std::uint8_t { kShared, kDedicated };

constexpr std::string_view name_of(QueueMode mode) {
    return mode == QueueMode::kShared ? "shared" : "dedicated";
}

// The smaller of the device's and the queue's, each at least 1.
struct QueueLimits {
    QueueMode mode = QueueMode::kShared;
    std::uint32_t entries = 1;         // descriptors the queue holds; a shared one: its threshold
    std::uint32_t batch = 1;           // descriptors of a batch; below 2: no batches
    std::uint32_t transfer_bytes = 1;  // of one descriptor
};

// Any number of threads may submit at once.
class Portal {
  public:
    Portal() = default;
    Portal(const Portal&) = delete;
    Portal& operator=(const Portal&) = delete;
    virtual ~Portal() = default;

    // As in accel-path, without its prefix: "/dev/dsa/wq0.0".
    virtual const std::string& name() const = 0;
    virtual const QueueLimits& limits() const = 0;
    // The node the device is nearest to; -1: any.
    virtual int numa_node() const = 0;
    // How a descriptor gets there, for people.
    virtual std::string_view access() const { return "a call in this process"; }
    // No hardware stands behind it: no saving may be claimed.
    virtual bool is_software() const = 0;
    // One attempt, without waiting: how many of the descriptors, from the first on, the queue took.
    // A dedicated queue says nothing, and loses what it has no room for: the caller counts what is
    // outstanding there.
    virtual std::size_t submit(std::span<const Descriptor> descriptors) = 0;
};

}  // namespace migrate::accel::dsa
