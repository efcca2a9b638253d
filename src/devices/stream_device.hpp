// SPDX-License-Identifier: Apache-2.0
// A device's state as a stream of bytes from, or into, files and descriptors that another program
// opened. Invariants: a file gets its name only when it is committed; a descriptor that another
// program opened is never closed, so that its number never means anything else and the next sender
// can use it, too.
#pragma once

#include <memory>
#include <string>

#include "base/fd.hpp"
#include "devices/device.hpp"

namespace migrate::devices {

// Takes the open descriptor of that number for the rest of the process's life; kUsage if there is
// none. Call it before this program opens anything, which might get the number.
Status take_descriptor(int number);

// Reads from a regular file, a pipe, a socket …, until its end. Opens it at once: kUsage if that
// fails. save() waits for a FIFO's writer.
Result<std::unique_ptr<DeviceSource>> open_stream_source(const std::string& path);
// Reads from a duplicate of a descriptor that was taken.
Result<std::unique_ptr<DeviceSource>> duplicate_stream_source(int number);

// Writes into a FIFO or /dev/null, or else into a new file, which gets its name when it is
// committed. kUsage if the path cannot be one of these (replacement_file.hpp).
Result<std::unique_ptr<DeviceSink>> open_stream_sink(const std::string& path);
Result<std::unique_ptr<DeviceSink>> duplicate_stream_sink(int number);

}  // namespace migrate::devices
