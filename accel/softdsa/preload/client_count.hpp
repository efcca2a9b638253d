// SPDX-License-Identifier: Apache-2.0
// How many open files of a queue's node there are, in all processes. Each open file, with its
// copies and mappings, holds a lock of one byte, which the kernel drops with the last of them.
#pragma once

#include <string>

namespace migrate::accel::softdsa::preload {

// Counts the open file `fd` as a client until it is closed in every process and unmapped.
void count_as_client(int fd);
// Returns the number of clients; 0 if the node cannot be read.
unsigned count_clients(const std::string& node);

}  // namespace migrate::accel::softdsa::preload
