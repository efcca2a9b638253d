// SPDX-License-Identifier: Apache-2.0
// The path of a descriptor to a work queue: the difference between real and software devices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "accel/dsa/descriptor.hpp"
#include "base/config/choices.hpp"

namespace migrate::accel::dsa {

using migrate::QueueMode;

// The smaller of the device's and the queue's limit, each at least 1.
struct QueueLimits {
    QueueMode mode = QueueMode::kShared;
    std::uint32_t entries = 1;  // descriptors that the queue holds; for a shared one its threshold
    std::uint32_t batch = 1;    // descriptors per batch; below 2: no batches
    std::uint32_t transfer_bytes = 1;  // bytes per descriptor
};

// Any number of threads may submit at once.
class Portal {
  public:
    Portal() = default;
    Portal(const Portal&) = delete;
    Portal& operator=(const Portal&) = delete;
    virtual ~Portal() = default;

    // The name in accel-path, without its prefix: "/dev/dsa/wq0.0".
    virtual const std::string& name() const = 0;
    virtual const QueueLimits& limits() const = 0;
    // The NUMA node nearest to the device; -1: any.
    virtual int numa_node() const = 0;
    // The way in which descriptors are submitted, for log messages.
    virtual std::string_view access() const { return "a call in this process"; }
    // True if there is no hardware, so that no saving may be claimed.
    virtual bool is_software() const = 0;
    // Returns why the queue takes no work at all, such as "the queue is disabled"; empty: nothing
    // is known. May read files.
    virtual std::string why_closed() const { return {}; }
    // Makes one attempt without waiting; returns how many of the descriptors, from the first on,
    // the queue took. A dedicated queue reports nothing and loses descriptors for which it has no
    // room, so the caller must count those outstanding.
    virtual std::size_t submit(std::span<const Descriptor> descriptors) = 0;
};

}  // namespace migrate::accel::dsa
