// SPDX-License-Identifier: Apache-2.0
// Guests of a FakeQemu.
#pragma once

#include <memory>
#include <utility>

#include "guest/fake_qemu.hpp"
#include "guest/qemu/qemu_guest.hpp"

namespace migrate::guest {

// A guest whose devices QEMU's own migration saves, as with QEMU 7.2.
inline std::unique_ptr<QemuGuest> guest_of(const FakeQemu& qemu) {
    auto monitor = must(Monitor::connect(qemu.path(), must(Monitor::dial(qemu.path()))));
    auto guardian = must(Guardian::start({}, monitor->address()));
    auto throttle = Throttle::create(*guardian, 0, 1);
    return std::make_unique<QemuGuest>(std::move(monitor), std::move(guardian), std::move(throttle),
                                       OpenedMemory{}, true);
}

// A guest whose devices are saved alone, as with QEMU 10.
inline std::unique_ptr<QemuGuest> block_guest_of(const FakeQemu& qemu, bool running = true) {
    auto monitor = must(Monitor::connect(qemu.path(), must(Monitor::dial(qemu.path()))));
    auto saver = must(DeviceSaver::prepare(*monitor));
    auto guardian = must(Guardian::start({}, monitor->address()));
    auto throttle = Throttle::create(*guardian, 0, 1);
    OpenedMemory memory;
    memory.layout.bytes = FakeQemu::kMemoryBytes;
    return std::make_unique<QemuGuest>(std::move(monitor), std::move(guardian), std::move(throttle),
                                       std::move(memory), running, std::move(saver));
}

}  // namespace migrate::guest
