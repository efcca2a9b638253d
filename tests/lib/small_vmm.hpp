// SPDX-License-Identifier: Apache-2.0
// A guest for tests of the C API in one process: memory, callbacks that can be told to fail, and a
// session with both.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "catch.hpp"
#include "lib/migrate/migrate.h"
#include "tests/support/must.hpp"

namespace migrate::lib {

struct EndSession {
    void operator()(migrate_session* session) const { migrate_free(session); }
};
using Session = std::unique_ptr<migrate_session, EndSession>;

inline Mapping private_memory(std::uint64_t size) {
    return must(Mapping::create({.size = size,
                                 .protection = PROT_READ | PROT_WRITE,
                                 .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                 .what = "memory"}));
}

inline UniqueFd make_memfd(std::uint64_t size) {
    UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    REQUIRE(::ftruncate(file.get(), static_cast<off_t>(size)) == 0);
    return file;
}

inline migrate_region region_at(const char* name, std::span<std::byte> memory) {
    migrate_region region{};
    region.struct_size = sizeof region;
    region.name = name;
    region.address = memory.data();
    region.size = memory.size();
    region.fd = -1;
    return region;
}

// The guest is a text; each callback may be replaced by one that fails.
struct SmallVmm {
    std::string state = "the state";
    std::string loaded;
    std::string calls;  // the first letter of each callback that was called
    std::function<int(char* error)> pausing;
    std::function<int(char* error)> resuming;
    std::function<int(migrate_buffer* buffer, char* error)> saving;
    std::function<int(char* error)> loading;

    migrate_guest guest(const char* kind = "small") {
        migrate_guest guest{};
        guest.struct_size = sizeof guest;
        guest.opaque = this;
        guest.kind = kind;
        guest.pause = [](void* opaque, char* error) {
            auto& vmm = *static_cast<SmallVmm*>(opaque);
            vmm.calls += 'p';
            return vmm.pausing ? vmm.pausing(error) : 0;
        };
        guest.resume = [](void* opaque, char* error) {
            auto& vmm = *static_cast<SmallVmm*>(opaque);
            vmm.calls += 'r';
            return vmm.resuming ? vmm.resuming(error) : 0;
        };
        guest.save_state = [](void* opaque, migrate_buffer* buffer, char* error) {
            auto& vmm = *static_cast<SmallVmm*>(opaque);
            vmm.calls += 's';
            return vmm.saving ? vmm.saving(buffer, error)
                              : migrate_buffer_append(buffer, vmm.state.data(), vmm.state.size());
        };
        guest.load_state = [](void* opaque, const void* bytes, std::size_t size, char* error) {
            auto& vmm = *static_cast<SmallVmm*>(opaque);
            vmm.calls += 'l';
            vmm.loaded.assign(static_cast<const char*>(bytes), size);
            return vmm.loading ? vmm.loading(error) : 0;
        };
        return guest;
    }
};

inline void must_set(migrate_session* session, const char* option) {
    INFO(option);
    const int result = migrate_set_option(session, option);
    INFO(migrate_error(session));
    REQUIRE(result == 0);
}

// A session with this guest; regions and options are to be added.
inline Session make_session(migrate_side side, SmallVmm* vmm) {
    Session session(migrate_new(side));
    REQUIRE(session != nullptr);
    if (vmm != nullptr) {
        const migrate_guest guest = vmm->guest();
        REQUIRE(migrate_set_guest(session.get(), &guest) == 0);
    }
    return session;
}

struct Outcomes {
    migrate_outcome sent;
    migrate_outcome received;
};

// Runs a sender against a receiver, which listens on a port that the kernel chooses.
inline Outcomes run_both(migrate_session* sender, migrate_session* receiver) {
    must_set(receiver, "listen=127.0.0.1:0");
    const int opened = migrate_open(receiver);
    INFO(migrate_error(receiver));
    REQUIRE(opened == 0);
    must_set(sender, (std::string("connect=") + migrate_address(receiver)).c_str());
    // However busy the host is, a guest is switched over.
    must_set(sender, "downtime-limit=1000s");
    REQUIRE(migrate_start(receiver) == 0);
    const migrate_outcome sent = migrate_run(sender);
    // A receiver goes on waiting for a sender after it refused one.
    if (sent == MIGRATE_REFUSED) migrate_cancel(receiver, "refused");
    return {sent, migrate_wait(receiver, -1)};
}

}  // namespace migrate::lib
