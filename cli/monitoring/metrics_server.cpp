// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/metrics_server.hpp"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <asio.hpp>
#include <cerrno>
#include <cstddef>
#include <utility>
#include <variant>
#include <vector>

#include "base/blocking_call.hpp"
#include "base/catching.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/memory_reserve.hpp"
#include "base/mutex.hpp"
#include "transport/endpoint.hpp"
#include "transport/resolver.hpp"

namespace migrate::cli {
namespace {

using Families = std::shared_ptr<const MetricFamilies>;

constexpr int kLowestPriority = 19;
constexpr std::chrono::milliseconds kLongestClose{1000};
// The library turns a scrape into text after Collect() has returned, where no exception is caught.
constexpr std::size_t kRoomForText = std::size_t{1024} * 1024;

// The figures that were published last.
class LastFigures final : public prometheus::Collectable {
  public:
    void set(Families families) {
        const MutexLock lock(mutex_);
        families_.swap(families);
    }

    // Without memory a scrape gets no metrics.
    MetricFamilies Collect() const override {
        Result<MetricFamilies> families = catching("metrics", [&]() -> Result<MetricFamilies> {
            MIGRATE_TRY(check_room());
            return *get();
        });
        return families ? *std::move(families) : MetricFamilies();
    }

  private:
    // Maps the memory instead of allocating it: an allocation that fails would spend the memory
    // reserve, which ends the migration.
    static Status check_room() {
        if (memory_reserve_spent()) return Error(ErrorKind::kFailed, "the memory reserve is spent");
        const auto room = Mapping::create({.size = kRoomForText,
                                           .protection = PROT_READ | PROT_WRITE,
                                           .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                           .what = "a scrape"});
        return room ? Status() : Status(room.error());
    }
    Families get() const {
        const MutexLock lock(mutex_);
        return families_;
    }

    mutable Mutex mutex_;
    Families families_ GUARDED_BY(mutex_) = std::make_shared<MetricFamilies>();
};

// Binds the address without listening. While the socket exists, the library can bind the same
// address too, and nobody else can listen there by mistake: the port of the kernel's choice stays
// ours. The library itself does not say why it cannot bind an address.
Result<UniqueFd> bind_first(const asio::ip::tcp::endpoint& endpoint) {
    UniqueFd socket(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(socket.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0) {
        return Error::system("bind", errno);
    }
    return socket;
}

// The threads that the calling thread starts from now on inherit its priority (setpriority(2)).
void lower_priority() {
    if (::setpriority(PRIO_PROCESS, 0, kLowestPriority) != 0) {
        log::debug("the metrics are served at the normal priority: errno {}", errno);
    }
}

}  // namespace

struct MetricsServer::Impl {
    std::shared_ptr<LastFigures> figures = std::make_shared<LastFigures>();
    std::unique_ptr<prometheus::Exposer> exposer;
    std::string endpoint;
};

Result<std::unique_ptr<MetricsServer>> MetricsServer::create(const transport::Address& address,
                                                             std::chrono::milliseconds longest) {
    const auto refused = [&](const Error& reason) {
        return make_error(ErrorKind::kUsage,
                          "--metrics {}: cannot listen there: {}; choose a free port of an address "
                          "of this host",
                          address.text(), reason.message());
    };
    auto resolved = transport::resolve(address, transport::ResolveFor::kListening,
                                       "handshake-timeout", {.timeout = longest});
    if (!resolved) return refused(resolved.error());
    const Result<UniqueFd> bound = bind_first(resolved->front());
    if (!bound) return refused(bound.error());
    const auto own = transport::Endpoint::own_of(bound->get());
    if (!own) return refused(own.error());
    auto impl = std::make_shared<Impl>();
    impl->endpoint = own->text();
    using Done = std::monostate;
    const Result<Done> started =
        call_within<Done>("serve metrics", {.timeout = longest}, [impl]() -> Result<Done> {
            lower_priority();
            impl->exposer = std::make_unique<prometheus::Exposer>(
                std::vector<std::string>{"listening_ports", impl->endpoint, "num_threads", "2",
                                         "request_timeout_ms", "10000"});
            impl->exposer->RegisterCollectable(impl->figures);
            return Done();
        });
    if (!started) return refused(started.error());
    return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

MetricsServer::MetricsServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

MetricsServer::~MetricsServer() {
    using Done = std::monostate;
    const auto closed = catching("metrics", [this] {
        return call_within<Done>("close the metrics port", {.timeout = kLongestClose},
                                 [impl = impl_]() -> Result<Done> {
                                     impl->exposer.reset();
                                     return Done();
                                 });
    });
    if (!closed) log::debug("{}", closed.error().message());
}

const std::string& MetricsServer::endpoint() const { return impl_->endpoint; }

void MetricsServer::publish(MetricFamilies families) {
    impl_->figures->set(std::make_shared<const MetricFamilies>(std::move(families)));
}

}  // namespace migrate::cli
