// SPDX-License-Identifier: Apache-2.0
// One side's credentials and its TLS session. Invariant: a connection uses the files as they are
// when it begins, so certificates and keys may be renewed while a receiver waits. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/blocking_call.hpp"
#include "base/error.hpp"
#include "base/mutex.hpp"
#include "transport/tls/psk_keys.hpp"
#include "transport/tls/tls_context.hpp"
#include "transport/tls/tls_handshake.hpp"

namespace migrate::transport {

class TlsEndpoint {
  public:
    // `one_time`: the key for spec.path's place.
    static std::shared_ptr<TlsEndpoint> create(TlsSpec spec, std::optional<OneTimeKey> one_time);

    const TlsSpec& spec() const { return spec_; }

    // Reads the files unless they are unchanged since the last time. kUsage names a file and its
    // fault; kTimeout, kCancelled if the file system does not answer within the limits.
    Result<std::shared_ptr<const TlsContext>> context(TlsRole role, const CallLimits& limits);
    // The same without waiting, on a thread that calls `ended` when the result is there.
    using Reading = OngoingCall<std::shared_ptr<const TlsContext>>;
    Result<Reading> read(TlsRole role, std::function<void()> ended = nullptr);

    // Each begins a handshake on a connected descriptor. The first connection to a server is the
    // main one: it is authenticated in full. Later ones resume its session, which remember() keeps.
    Result<std::unique_ptr<TlsHandshake>> begin_main(int fd,
                                                     std::shared_ptr<const TlsContext> context,
                                                     const std::string& host);
    Result<std::unique_ptr<TlsHandshake>> begin_data(int fd,
                                                     std::shared_ptr<const TlsContext> context);
    Result<std::unique_ptr<TlsHandshake>> begin_server(int fd,
                                                       std::shared_ptr<const TlsContext> context);
    void remember(SslSessionPtr session);

    // Removes the file of a one-time key. Called when its session has ended.
    void forget_one_time_key();

  private:
    // The next reading starts from what was read; its warnings are logged if it is new.
    void keep(TlsRole role, const std::shared_ptr<const TlsContext>& loaded);
    TlsEndpoint(TlsSpec spec, std::optional<OneTimeKey> one_time)
        : spec_(std::move(spec)), one_time_(std::move(one_time)) {}

    const TlsSpec spec_;
    Mutex mutex_;
    std::optional<OneTimeKey> one_time_ GUARDED_BY(mutex_);
    std::shared_ptr<const TlsContext> client_ GUARDED_BY(mutex_);
    std::shared_ptr<const TlsContext> server_ GUARDED_BY(mutex_);
    SslSessionPtr session_ GUARDED_BY(mutex_);
    std::string server_name_ GUARDED_BY(mutex_);
};

}  // namespace migrate::transport
