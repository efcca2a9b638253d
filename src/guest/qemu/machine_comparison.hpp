// SPDX-License-Identifier: Apache-2.0
// Compares the machines of two QEMUs, or of one QEMU at two times.
#pragma once

#include <string_view>
#include <vector>

#include "base/config/choices.hpp"
#include "base/error.hpp"
#include "base/machine_part.hpp"

namespace migrate::guest {

// The sender's machine, which comes from the peer, and that of the QEMU here, which `qemu` names.
// kRefused with the first differences, on either side, and the options that remove them; only a
// warning if `differences` is not kRefuse. Devices are compared if both sides list theirs. CPU
// features may be more here, and not fewer.
Status compare_machines(const std::vector<MachinePart>& sender,
                        const std::vector<MachinePart>& here, std::string_view qemu,
                        MachineDifferences differences = MachineDifferences::kRefuse);

// An Error, or a warning, names the first parts that were added, removed or changed in the same
// QEMU.
Status check_same_machine(const std::vector<MachinePart>& then, const std::vector<MachinePart>& now,
                          MachineDifferences differences = MachineDifferences::kRefuse);

}  // namespace migrate::guest
