// SPDX-License-Identifier: Apache-2.0
// Opens the QEMU that a guest leaves.
#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "base/outcome.hpp"
#include "guest/qemu/answer_fields.hpp"
#include "guest/qemu/block_memory.hpp"
#include "guest/qemu/claimed_monitor.hpp"
#include "guest/qemu/disks.hpp"
#include "guest/qemu/machine_parts.hpp"
#include "guest/qemu/qemu_devices.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/qemu/qemu_memory.hpp"
#include "guest/qemu/questions.hpp"

namespace migrate::guest {
namespace {

// A paused guest whose devices were saved alone shows that it was handed over by a descriptor set.
Status check_was_not_moved(Monitor& monitor, const std::string& state) {
    MIGRATE_ASSIGN(const std::vector<std::uint64_t> signs, find_signs(monitor));
    for (const std::uint64_t sign : signs) {
        if (state == "paused") {
            return make_error(
                "its guest was handed over before; if it runs nowhere else, QMP's `cont`, and "
                "`stop` if it is to stay paused, and `remove-fd` with fdset-id {} make it ready "
                "for "
                "another migration",
                sign);
        }
        // It was continued since.
        MIGRATE_TRY(monitor.ask("remove-fd", {{"fdset-id", sign}}));
    }
    return {};
}

Status check_state(Monitor& monitor, std::string& state) {
    const Monitor::Moment moment(monitor, joined({state_questions(), {{"query-fdsets"}}}));
    MIGRATE_ASSIGN(state, monitor.run_state());
    if (state == "postmigrate") {
        return make_error("its guest was migrated before, and QEMU would refuse it later; {}",
                          kHowToRetry);
    }
    if (state != "running" && state != "paused") {
        return make_error("its guest is in the state '{}'; it must be running or paused", state);
    }
    MIGRATE_ASSIGN(const QemuMigration migration, monitor.migration());
    if (migration.in_progress()) {
        return make_error("it is being migrated already (its migration is '{}')", migration.status);
    }
    if (!migration.blocked.empty()) return cannot_be_migrated(migration.blocked);
    return check_was_not_moved(monitor, state);
}

// How the guest's memory is reached.
struct Reached {
    std::unique_ptr<memory::PageSource> source;
    OpenedMemory opened;
    std::optional<DeviceSaver> saver;
};

Result<Reached> reach_blocks(std::string_view uri, Monitor& monitor, QemuBlocks found) {
    MIGRATE_ASSIGN(DeviceSaver saver, DeviceSaver::prepare(monitor));
    MIGRATE_ASSIGN(auto source,
                   memory::open_block_source(uri, std::move(found.blocks), std::move(found.process),
                                             std::move(found.owner)));
    return Reached{std::move(source), std::move(found.opened), std::move(saver)};
}

Result<Reached> reach_files(std::string_view uri, Monitor& monitor, pid_t pid) {
    MIGRATE_ASSIGN(QemuMemory found, find_qemu_memory(monitor, pid, FileAccess::kRead));
    MIGRATE_ASSIGN(auto source, memory::open_shared_source(uri, std::move(found.regions),
                                                           std::move(found.owner)));
    return Reached{std::move(source), std::move(found.opened), std::nullopt};
}

// Prefers RAM blocks. If the process may not be accessed, its shared files may still be.
Result<Reached> reach_memory(std::string_view uri, Monitor& monitor, pid_t pid) {
    auto blocks = find_qemu_blocks(monitor, pid, FileAccess::kRead);
    if (blocks && *blocks) return reach_blocks(uri, monitor, **std::move(blocks));
    if (!blocks && blocks.error().kind() != ErrorKind::kRefused) return std::move(blocks).error();
    auto files = reach_files(uri, monitor, pid);
    if (blocks) return files;
    if (!files) return std::move(blocks).error();
    log::info("{}; the files of its memory are sent", blocks.error().message());
    return files;
}

// The threads of its vCPUs, for the report only: none if QEMU does not tell.
ThreadClocks vcpu_clocks(Monitor& monitor, pid_t pid) {
    const Result<qmp::Json> answer = monitor.ask("query-cpus-fast");
    if (!answer || !answer->is_array()) return {};
    std::vector<std::uint64_t> ids;
    for (const qmp::Json& cpu : *answer) ids.push_back(number_of(cpu, "thread-id"));
    // With one thread for all vCPUs each of them has the same.
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ThreadClocks::find(pid, ids);
}

// The facts about the guest that are asked before it is moved.
struct Examined {
    KnownMachine machine;
    std::size_t cpus = 0;
    ThreadClocks vcpus;
};

Result<Examined> examine(Monitor& monitor, const OpenedMemory& memory,
                         MachineDifferences compared) {
    const Monitor::Moment moment(
        monitor, joined({{machine_type_question()}, machine_questions(), {{"query-block"}}}));
    Examined found{.machine = {.differences = compared}, .cpus = 0, .vcpus = {}};
    if (compared != MachineDifferences::kIgnore) {
        const auto& blocks = memory.blocks;
        MIGRATE_ASSIGN(found.machine.parts, query_machine(monitor, blocks ? &*blocks : nullptr));
    }
    MIGRATE_ASSIGN(found.cpus, monitor.cpu_count());
    found.vcpus = vcpu_clocks(monitor, memory.owner.pid);
    MIGRATE_TRY(report_disks(monitor));
    return found;
}

Result<Machine> open_machine_at(std::string_view uri, const QemuAddress& address) {
    MIGRATE_ASSIGN(ClaimedMonitor claimed, claim_monitor(address));
    auto monitor = std::move(claimed.monitor);
    std::string state;
    MIGRATE_TRY(check_state(*monitor, state));
    MIGRATE_ASSIGN(Reached reached, reach_memory(uri, *monitor, address.pid));
    const memory::MemoryOwner& owner = reached.opened.owner;
    MIGRATE_ASSIGN(Examined found, examine(*monitor, reached.opened, address.differences));
    log::info("QEMU {}, {}: {} with {} vCPUs, moved by {}", monitor->version(), owner.description,
              state, found.cpus, name_of(method_of(reached.saver.has_value())));
    MIGRATE_ASSIGN(auto guardian, Guardian::start(std::move(claimed.claim), monitor->address()));
    auto throttle = Throttle::create(*guardian, owner.pid, found.cpus);
    auto guest = std::make_unique<QemuGuest>(
        std::move(monitor), std::move(guardian), std::move(throttle), std::move(reached.opened),
        state == "running", std::move(reached.saver), std::move(found.machine));
    guest->watch_vcpus(std::move(found.vcpus));
    return Machine{std::move(reached.source), std::move(guest), {}};
}

}  // namespace

Result<Machine> open_qemu_machine(std::string_view uri, const ParsedForm& parsed) {
    const QemuAddress address = qemu_source_address(parsed);
    auto machine = open_machine_at(uri, address);
    if (!machine) return as_refusal(std::move(machine).error().with_context(uri));
    return machine;
}

}  // namespace migrate::guest
