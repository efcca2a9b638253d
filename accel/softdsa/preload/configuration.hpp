// SPDX-License-Identifier: Apache-2.0
// Enables and disables devices and queues as the Linux driver does: by bind and unbind of its
// drivers, which accel-config writes to. Invariants: one process at a time changes anything; the
// files always state what the shared part of the devices does. Source: Linux drivers/dma/idxd
// (device.c, cdev.c) and <linux/idxd.h> for the values of cmd_status.
#pragma once

#include <string_view>
#include <utility>

#include "accel/softdsa/preload/tree.hpp"
#include "accel/softdsa/shared_device.hpp"

namespace migrate::accel::softdsa::preload {

class Configuration {
  public:
    Configuration(Tree tree, SharedDevices& shared) : tree_(std::move(tree)), shared_(shared) {}

    // Performs the write of `text` to an attribute, bind and unbind included. Returns 0 or an
    // errno: see store_attribute(); ENODEV, EBUSY or ENXIO where a device or queue cannot be
    // enabled or disabled now. Disabling waits until everything in a queue is answered, 10 s at
    // most.
    int store(const AttributeName& name, std::string_view text);
    // Rewrites an attribute whose value changes by itself: clients, occupancy, the state of a
    // device that halted. Does nothing if this user may not.
    void refresh(const AttributeName& name);
    // Makes the shared part agree with the files of a new tree, unless another process did so.
    void adopt();

  private:
    int bind(const Part& driver, const Part& part);
    int unbind(const Part& driver, const Part& part);
    int enable_device(const Part& device);
    int enable_queue(const Part& queue);
    void disable_device(const Part& device);
    void disable_queue(const Part& queue);
    int refuse(const Part& part, const char* command_status, int error) const;
    void set_driver(const Part& part, const std::string& driver) const;
    unsigned clients(const Part& queue) const;

    Tree tree_;
    SharedDevices& shared_;
};

}  // namespace migrate::accel::softdsa::preload
