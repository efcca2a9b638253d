// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/run_watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace migrate::guest {
namespace {

// QEMU's events (qapi/run-state.json, block-core.json, machine.json, qdev.json) after which a
// paused guest no longer matches its copy.
constexpr std::array<std::pair<std::string_view, std::string_view>, 15> kSigns{{
    {"RESUME", "another client of QEMU let it run"},
    {"RESET", "it was reset"},
    {"SHUTDOWN", "it was shut down"},
    {"POWERDOWN", "it was asked to power down"},
    {"SUSPEND", "it was suspended"},
    {"SUSPEND_DISK", "it was suspended to disk"},
    {"WAKEUP", "it was woken up"},
    {"GUEST_PANICKED", "it panicked"},
    {"GUEST_CRASHLOADED", "its crash kernel was started"},
    {"GUEST_PVSHUTDOWN", "it was shut down"},
    {"WATCHDOG", "its watchdog expired"},
    {"BLOCK_IO_ERROR", "a disk of it failed"},
    {"DEVICE_DELETED", "a device was unplugged"},
    {"MEMORY_DEVICE_SIZE_CHANGE", "its memory changed its size"},
    {"MEMORY_FAILURE", "its memory failed"},
}};

// The guest's memory and devices are no longer those of the guest that is moved, or it has ended.
constexpr std::array<std::string_view, 7> kUpsets{
    "RESET",    "SHUTDOWN",      "GUEST_PANICKED", "GUEST_CRASHLOADED", "GUEST_PVSHUTDOWN",
    "WATCHDOG", "MEMORY_FAILURE"};

std::string migration_status(const qmp::Json& event) {
    const auto data = event.find("data");
    if (data == event.end() || !data->is_object()) return {};
    const auto status = data->find("status");
    return status != data->end() && status->is_string() ? status->get<std::string>()
                                                        : std::string();
}

}  // namespace

void RunWatch::see(const qmp::Json& event) {
    const auto member = event.find("event");
    if (member == event.end() || !member->is_string()) return;
    const std::string& name = member->get_ref<const std::string&>();
    if (name == "MIGRATION") {
        const std::string status = migration_status(event);
        migrated_ = true;
        migrating_ = status != "completed" && status != "failed" && status != "cancelled";
    }
    if (name == "STOP") {
        stopped_by_migration_ = migrating_;
        if (until_stop_) begin();
        return;
    }
    const auto* sign = std::find_if(kSigns.begin(), kSigns.end(),
                                    [&](const auto& known) { return known.first == name; });
    if (sign == kSigns.end()) return;
    if (name == "RESUME") {
        ran_ = true;
        stopped_by_migration_ = false;
    }
    if (name == "RESET") reset_ = true;
    if (name == "DEVICE_DELETED") unplugged_ = true;
    std::string text = fmt::format("{} (QEMU's event {})", sign->second, name);
    const bool upsets = std::find(kUpsets.begin(), kUpsets.end(), name) != kUpsets.end();
    if (upsets && upset_.empty()) upset_ = text;
    note(std::move(text));
}

void RunWatch::begin() {
    until_stop_ = false;
    ran_ = false;
    reset_ = false;
    migrated_ = false;
    sign_.clear();
}

void RunWatch::begin_at_stop() {
    begin();
    until_stop_ = true;
}

void RunWatch::miss() {
    until_stop_ = false;
    note("the connection to QEMU broke, and it cannot be known what happened meanwhile");
}

void RunWatch::note(std::string sign) {
    if (sign_.empty()) sign_ = std::move(sign);
}

}  // namespace migrate::guest
