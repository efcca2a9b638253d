// SPDX-License-Identifier: Apache-2.0
// The kinds of memory that a guest can have. They differ in how fresh pages are made.
#pragma once

namespace migrate::memory {

enum class BackingKind {
    kPrivate,      // private anonymous memory of 4 KiB pages
    kPrivateHuge,  // private anonymous memory for which the host gives huge pages
    kShared,       // tmpfs or a memfd of 4 KiB pages
    kSharedHuge,   // tmpfs or a memfd for which the host gives huge pages
    kHugetlb,      // a file of hugetlbfs
    kDisk,         // a file of any other file system
};

}  // namespace migrate::memory
