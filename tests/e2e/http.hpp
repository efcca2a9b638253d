// SPDX-License-Identifier: Apache-2.0
// A client of HTTP for tests, as simple as one can be.
#pragma once

#include <cstdint>
#include <string>

namespace migrate::e2e {

// Sends the request to 127.0.0.1 and returns everything that the server answers until it closes the
// connection; empty if nobody listens, or if nothing comes for kDeadline.
std::string http_exchange(std::uint16_t port, const std::string& request);

// The content of http://127.0.0.1:PORT/metrics; empty if it cannot be had.
std::string scrape(std::uint16_t port);

}  // namespace migrate::e2e
