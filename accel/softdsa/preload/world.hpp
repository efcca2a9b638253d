// SPDX-License-Identifier: Apache-2.0
// The software devices of this process. Each process executes its own descriptors, and shares the
// queues with all others of the namespace (SharedDevices). The devices start when the first queue
// is opened or the first descriptor arrives, and again in the child of a fork.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "accel/softdsa/device.hpp"
#include "accel/softdsa/preload/catalog.hpp"
#include "accel/softdsa/preload/configuration.hpp"
#include "accel/softdsa/preload/portal_map.hpp"

namespace migrate::accel::softdsa::preload {

class World {
  public:
    // Returns null before this library's constructor has run, and if with-softdsa made no devices.
    static World* instance();

    // On which file `fd` is open.
    struct OpenFile {
        bool in_tree = false;             // the tree of sysfs
        std::optional<std::size_t> node;  // index of a work queue's node
    };
    OpenFile look_at(int fd) const;
    const Node& node(std::size_t index) const { return catalog_.nodes[index]; }
    PortalMap& portals() { return portals_; }
    const Catalog& catalog() const { return catalog_; }
    const Tree& tree() const { return tree_; }
    Configuration& configuration() { return configuration_; }
    // Returns true if the path leads to a file of the tree of sysfs, or to a work queue's node.
    bool concerns(const char* path) const;
    bool is_dedicated(std::size_t index) const;

    // Ends the process with a message if the devices cannot run. A fault handler may call this,
    // because the faulting instruction was not in a library function.
    void start();
    // Returns the device of a queue; only after start().
    Device& device(std::size_t node) const;
    // Called only in the child of a fork.
    void forked();

    static void create();

  private:
    World(Tree tree, Catalog catalog, SharedDevices& shared, dev_t tree_device);
    void start_devices();
    std::size_t join();

    Tree tree_;
    Catalog catalog_;
    SharedDevices& shared_;
    Configuration configuration_;
    dev_t tree_device_;
    PortalMap portals_;
    std::vector<Device*> devices_;  // never destroyed: threads use them until the process ends
    enum class State : std::uint8_t { kNew, kRunning, kForked };
    std::atomic<State> state_{State::kNew};
    std::atomic_flag starting_;  // held with all signals blocked
};

// Blocks signals that another process or a timer may send, for its lifetime; keeps errno.
class SignalsBlocked {
  public:
    SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;
    ~SignalsBlocked();

  private:
    std::uint64_t mask_ = 0;  // in the kernel's format
};

}  // namespace migrate::accel::softdsa::preload
