// A transfer of the same shape by the installed QEMU: two paused machines without devices, whose
// memory is the same image or of the same kind, driven over QMP.
#pragma once

#include <string>

#include "base/error.hpp"
#include "bench/json.hpp"
#include "bench/plan.hpp"
#include "bench/transfer.hpp"

namespace migrate::bench {

// Empty, or why QEMU cannot run here.
std::string qemu_missing();

// The run as run_transfer() gives it, with QEMU's answers to query-migrate as "send" and "recv",
// and its version as "peer". CPU time is that of the whole processes from the command `migrate` to
// its end.
Result<Json> run_qemu(const PlannedVariant& planned, const RunPlace& place);

}  // namespace migrate::bench
