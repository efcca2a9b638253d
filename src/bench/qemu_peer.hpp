// SPDX-License-Identifier: Apache-2.0
// A transfer of the same shape by a QEMU: two paused machines without devices, whose
// memory is the same image or of the same kind, driven over QMP.
#pragma once

#include <string>

#include "base/error.hpp"
#include "bench/json.hpp"
#include "bench/plan.hpp"
#include "bench/transfer.hpp"

namespace migrate::bench {

// Empty, or why the installed QEMU cannot run here.
std::string qemu_missing();

// QEMU 10: the program that MIGRATE_BENCH_QEMU names, or the one that scripts/fetch-test-systems
// unpacks into the user's cache.
Peer qemu_10();

// The run as run_transfer() gives it, with QEMU's answers to query-migrate as "send" and "recv",
// and its version as "peer". CPU time is that of the whole processes from the command `migrate` to
// its end.
Result<Json> run_qemu(const PlannedVariant& planned, const RunPlace& place);

}  // namespace migrate::bench
