// A device's state as a stream of bytes from, or into, anything: files, and descriptors that
// another program opened. Invariants: a file is under its name only once it was committed; a
// descriptor that another program opened is never closed, so that its number never names anything
// else and serves the next sender, too.
#pragma once

#include <memory>
#include <string>

#include "base/fd.hpp"
#include "devices/device.hpp"

namespace migrate::devices {

// Takes the open descriptor of that number for the rest of the process's life; kUsage if there is
// none. Before this program opens anything, which might get the number.
Status take_descriptor(int number);

// From a regular file, a pipe, a socket …, until its end. Opens it at once: kUsage if it cannot be.
// A FIFO's writer is waited for by save().
Result<std::unique_ptr<DeviceSource>> open_stream_source(const std::string& path);
// From a duplicate of a descriptor that was taken.
Result<std::unique_ptr<DeviceSource>> duplicate_stream_source(int number);

// Into a FIFO or /dev/null, or else into a new file, which is under its name once it was committed.
// kUsage if the path is no such thing (replacement_file.hpp).
Result<std::unique_ptr<DeviceSink>> open_stream_sink(const std::string& path);
Result<std::unique_ptr<DeviceSink>> duplicate_stream_sink(int number);

}  // namespace migrate::devices
