// Makes connections to the receiver, with a deadline and cancellable.
#pragma once

#include <chrono>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "transport/address.hpp"

namespace migrate::transport {

// Connects to the first of the host's addresses that answers. kCancelled when stop is requested.
Result<UniqueFd> connect_to(const Address& address, std::chrono::milliseconds timeout,
                            const std::stop_token& stop);

// Makes `count` further connections to the peer of `connected`, in parallel. All or none.
Result<std::vector<UniqueFd>> connect_alike(int connected, std::size_t count,
                                            std::chrono::milliseconds timeout,
                                            const std::stop_token& stop);

}  // namespace migrate::transport
