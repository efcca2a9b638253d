// The software devices of this process. Each process has its own; they start when the first queue
// is opened or a descriptor arrives, and again in the child of a fork.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "accel/softdsa/device.hpp"
#include "accel/softdsa/preload/catalog.hpp"
#include "accel/softdsa/preload/portal_map.hpp"

namespace migrate::accel::softdsa::preload {

class World {
  public:
    // Nothing before the constructor of this library ran, and where with-softdsa made no devices.
    static World* instance();

    // The queue whose node the descriptor is open on.
    std::optional<std::size_t> node_of(int fd) const;
    const Node& node(std::size_t index) const { return catalog_.nodes[index]; }
    PortalMap& portals() { return portals_; }
    const Catalog& catalog() const { return catalog_; }

    // Ends the process with a message where the devices cannot run. May be called in the handler of
    // a fault, since what faulted was no function of a library.
    void start();
    // The device of a queue; only after start().
    Device& device(std::size_t node) const;
    // Only for the child of a fork.
    void forked();

    static void create();

  private:
    explicit World(Catalog catalog);
    void start_devices();

    Catalog catalog_;
    PortalMap portals_;
    std::vector<Device*> devices_;  // never destroyed: threads run in them until the process ends
    enum class State : std::uint8_t { kNew, kRunning, kForked };
    std::atomic<State> state_{State::kNew};
    std::atomic_flag starting_;  // held with all signals blocked
};

// Blocks what another process or a timer may send while it lives; errno stays.
class SignalsBlocked {
  public:
    SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;
    ~SignalsBlocked();

  private:
    std::uint64_t mask_ = 0;  // as the kernel has it
};

}  // namespace migrate::accel::softdsa::preload
