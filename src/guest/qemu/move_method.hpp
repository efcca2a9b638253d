// SPDX-License-Identifier: Apache-2.0
// The two ways to move a QEMU guest.
#pragma once

#include "base/enum_names.hpp"

namespace migrate::guest {

enum class MoveMethod {
    // Memory backends in shared files are sent; QEMU's own migration saves the devices and all the
    // other memory (x-ignore-shared).
    kSharedFiles,
    // All RAM blocks are sent, wherever they are; QEMU saves its devices alone.
    kRamBlocks,
};
constexpr auto enum_names(MoveMethod) {
    return names_of_enum<MoveMethod>(
        {{MoveMethod::kSharedFiles, "shared-files"}, {MoveMethod::kRamBlocks, "ram-blocks"}});
}
constexpr MoveMethod method_of(bool devices_alone) {
    return devices_alone ? MoveMethod::kRamBlocks : MoveMethod::kSharedFiles;
}

}  // namespace migrate::guest
