// SPDX-License-Identifier: Apache-2.0
// Reads the TLS credentials of a receiver for the connections that its listener has accepted.
// Includes asio, so include it only in .cpp files that use asio. Invariants: the files are read
// after the connection that asks for them has come; one reading serves all connections that asked
// before it began; the event loop goes on meanwhile, so a file system that does not answer delays
// no timeout, no cancel and no stranger's close.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "transport/tls/tls_endpoint.hpp"

namespace migrate::transport {

class CredentialReader {
  public:
    // Called by the event loop, once.
    using Answer = std::function<void(const Result<std::shared_ptr<const TlsContext>>&)>;

    // Starts to read them; `ended` is called on another thread when the result is there.
    using Read = std::function<Result<TlsEndpoint::Reading>(std::function<void()> ended)>;

    // `loop` outlives the object. Its handlers run on one thread at a time, and none of them runs
    // after the object has gone.
    CredentialReader(asio::io_context& loop, Read read) : loop_(loop), read_(std::move(read)) {}
    CredentialReader(const CredentialReader&) = delete;
    CredentialReader& operator=(const CredentialReader&) = delete;

    // Asks for the credentials as they are from now on.
    void ask(Answer answer);

  private:
    void begin_soon();
    void begin();
    void finish();
    void answer_all(const Result<std::shared_ptr<const TlsContext>>& context);

    asio::io_context& loop_;
    Read read_;
    std::vector<Answer> asked_;   // before the next reading begins
    std::vector<Answer> served_;  // by the reading that goes on
    bool is_due_ = false;         // begin() is about to be called
    std::optional<TlsEndpoint::Reading> reading_;
};

}  // namespace migrate::transport
