// The same shape, by the QEMU that is installed: two paused machines without devices, the guest's
// memory in the same image or of the same kind, driven over QMP.
#pragma once

#include <string>

#include "base/error.hpp"
#include "bench/json.hpp"
#include "bench/plan.hpp"
#include "bench/transfer.hpp"

namespace migrate::bench {

// Why QEMU cannot run here, or "".
std::string qemu_missing();

// As run_transfer; "send" and "recv" are QEMU's answers to query-migrate, "peer" its version. CPU
// time is that of the whole processes from the command `migrate` to its end.
Result<Json> run_qemu(const PlannedVariant& planned, const RunPlace& place);

}  // namespace migrate::bench
