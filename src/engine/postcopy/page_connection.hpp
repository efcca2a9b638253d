// SPDX-License-Identifier: Apache-2.0
// One of the two connections of post-copy: that of urgent pages, which also has the requests, and
// that of all others, so that a full one does not delay urgent pages. Several threads may send; one
// receives.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/units.hpp"
#include "base/wait.hpp"
#include "transport/page_message.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

// The channel in the hello of each connection.
inline constexpr std::uint16_t kUrgentConnection = 0;
inline constexpr std::uint16_t kBulkConnection = 1;

class PageConnection {
  public:
    // `from` is the other side; `regions` outlives the connection.
    static Result<std::unique_ptr<PageConnection>> create(transport::Socket socket,
                                                          transport::Party from,
                                                          std::span<const RegionInfo> regions);

    // Sends a message with its payload. Any thread.
    Status send(const transport::PageMessage& message, std::span<const std::byte> payload = {});

    struct Received {
        transport::PageMessage message;
        std::span<const std::byte> payload;  // valid until the next receive()
    };
    // The next message; nothing if none began to come within `timeout`. The message is whole and
    // undamaged.
    Result<std::optional<Received>> receive(std::chrono::milliseconds timeout);

    // Nothing follows from this side: waits up to `linger` until the other side closes.
    void finish(std::chrono::milliseconds linger);
    // Ends both directions; any thread.
    void shutdown() const { socket_.shutdown(); }
    std::uint64_t bytes_sent() const { return socket_.bytes_sent(); }
    std::uint64_t bytes_received() const { return socket_.bytes_received(); }

  private:
    PageConnection(transport::Socket socket, transport::Party from,
                   std::span<const RegionInfo> regions, Wakeup unused)
        : socket_(std::move(socket)), from_(from), regions_(regions), unused_(std::move(unused)) {}

    transport::Socket socket_;
    const transport::Party from_;
    const std::span<const RegionInfo> regions_;
    const Wakeup unused_;  // a wait for input ends by its timeout, or by shutdown()
    transport::PayloadChecksum received_checksum_;  // of the receiving thread
    std::vector<std::byte> payload_;                // the same
    Mutex send_mutex_;
    transport::PayloadChecksum checksum_ GUARDED_BY(send_mutex_);
};

}  // namespace migrate::engine
