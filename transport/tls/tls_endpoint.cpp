// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/tls_endpoint.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace migrate::transport {
namespace {

using ContextPtr = std::shared_ptr<const TlsContext>;

bool is_current(const TlsContext& context) {
    return std::all_of(context.stamps.begin(), context.stamps.end(),
                       [](const FileStamp& stamp) { return stamp_of(stamp.path) == stamp; });
}

}  // namespace

std::shared_ptr<TlsEndpoint> TlsEndpoint::create(TlsSpec spec, std::optional<OneTimeKey> one_time) {
    return std::shared_ptr<TlsEndpoint>(new TlsEndpoint(std::move(spec), std::move(one_time)));
}

Result<ContextPtr> TlsEndpoint::context(TlsRole role, const CallLimits& limits) {
    MIGRATE_ASSIGN(Reading reading, read(role));
    MIGRATE_ASSIGN(ContextPtr loaded, reading.wait(limits));
    keep(role, loaded);
    return loaded;
}

Result<TlsEndpoint::Reading> TlsEndpoint::read(TlsRole role, std::function<void()> ended) {
    ContextPtr present;
    std::string line;
    {
        const MutexLock lock(mutex_);
        present = role == TlsRole::kClient ? client_ : server_;
        if (one_time_) line = one_time_->line();
    }
    return Reading::start(
        "read the TLS credentials",
        [spec = spec_, role, present = std::move(present),
         line = std::make_shared<const SecretText>(std::move(line))]() -> Result<ContextPtr> {
            if (present && is_current(*present)) return present;
            return load_tls_context(spec, role, line->view());
        },
        std::move(ended));
}

void TlsEndpoint::keep(TlsRole role, const ContextPtr& loaded) {
    {
        const MutexLock lock(mutex_);
        ContextPtr& present = role == TlsRole::kClient ? client_ : server_;
        if (present == loaded) return;
        present = loaded;
    }
    for (const std::string& warning : loaded->warnings) log::warning("{}", warning);
}

Result<std::unique_ptr<TlsHandshake>> TlsEndpoint::begin_main(int fd, ContextPtr context,
                                                              const std::string& host) {
    const MutexLock lock(mutex_);
    server_name_ = spec_.hostname.empty() ? host : spec_.hostname;
    session_.reset();
    return TlsHandshake::create(fd, {.role = TlsRole::kClient,
                                     .spec = spec_,
                                     .context = std::move(context),
                                     .server_name = server_name_,
                                     .awaits_acceptance = true});
}

Result<std::unique_ptr<TlsHandshake>> TlsEndpoint::begin_data(int fd, ContextPtr context) {
    const MutexLock lock(mutex_);
    return TlsHandshake::create(fd, {.role = TlsRole::kClient,
                                     .spec = spec_,
                                     .context = std::move(context),
                                     .server_name = server_name_,
                                     .resumed = session_.get()});
}

Result<std::unique_ptr<TlsHandshake>> TlsEndpoint::begin_server(int fd, ContextPtr context) {
    keep(TlsRole::kServer, context);
    return TlsHandshake::create(
        fd, {.role = TlsRole::kServer, .spec = spec_, .context = std::move(context)});
}

void TlsEndpoint::remember(SslSessionPtr session) {
    const MutexLock lock(mutex_);
    // A copy, because the main connection may be cut off before the data connections are made.
    session_.reset(session ? SSL_SESSION_dup(session.get()) : nullptr);
}

void TlsEndpoint::forget_one_time_key() {
    const MutexLock lock(mutex_);
    if (one_time_) one_time_->remove();
}

}  // namespace migrate::transport
