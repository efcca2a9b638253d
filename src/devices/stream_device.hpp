// A device's state as a stream of bytes from, or into, anything: files, and descriptors that
// another program opened. Invariant: a file is under its name only once all of it has arrived.
#pragma once

#include <memory>
#include <string>

#include "base/fd.hpp"
#include "devices/device.hpp"

namespace migrate::devices {

// From a regular file, a pipe, a socket …, until its end. Opens it at once: kUsage if it cannot be.
Result<std::unique_ptr<DeviceSource>> open_stream_source(const std::string& path);
// From the open descriptor of that number, which is taken over.
Result<std::unique_ptr<DeviceSource>> adopt_stream_source(int fd);

// Into PATH.partial first if PATH is a regular file or is not there.
Result<std::unique_ptr<DeviceSink>> open_stream_sink(const std::string& path);
Result<std::unique_ptr<DeviceSink>> adopt_stream_sink(int fd);

}  // namespace migrate::devices
