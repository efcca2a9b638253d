// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/postcopy_source.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "engine/postcopy/postcopy_follow.hpp"
#include "transport/arrived_pages.hpp"
#include "transport/connector.hpp"

namespace migrate::engine {

using std::chrono::milliseconds;
using transport::FrameType;
using transport::PageMessageKind;
using Clock = std::chrono::steady_clock;

namespace {

constexpr milliseconds kConnectLimit{2000};
constexpr milliseconds kShortestPause{20};
constexpr milliseconds kLongestPause{1000};
constexpr milliseconds kStableTime{5000};
// Time for the receiver to close the connections after it was told that this side knows the end.
constexpr milliseconds kByeLinger{1000};
constexpr milliseconds kMostPingInterval{1000};
// Pages whose population is looked up at a time.
constexpr std::uint64_t kLookPages = 8192;

}  // namespace

PostcopySource::PostcopySource(Needs needs, std::unique_ptr<PageQueue> queue,
                               const accel::ZeroKernel& zeros)
    : needs_(std::move(needs)),
      zeros_(zeros),
      queue_(std::move(queue)),
      pacer_(needs_.bytes_per_second) {}

Result<std::unique_ptr<PostcopySource>> PostcopySource::create(Needs needs) {
    MIGRATE_ASSIGN(const accel::ZeroKernel* zeros, accel::find_zero_kernel(needs.zero_kernel));
    MIGRATE_ASSIGN(auto queue, PageQueue::create(needs.source.regions()));
    return std::unique_ptr<PostcopySource>(
        new PostcopySource(std::move(needs), std::move(queue), *zeros));
}

Status PostcopySource::prepare(PeerLink& link, std::span<const memory::PageBitmap> missing,
                               const std::stop_token& stop) {
    MIGRATE_TRY(announce(link, missing));
    MIGRATE_TRY(link.send(FrameType::kPostcopyStart, "{}"));
    if (!thread_.joinable()) {
        MIGRATE_ASSIGN(
            thread_, Thread::start(
                         "postcopy", [this](const std::stop_token& end) { return run(end); },
                         [](const Error& error) { log::error("post-copy: {}", error.message()); }));
    }
    MutexLock lock(mutex_);
    ++overall_.starts;
    const bool ready = changed_.wait_for(
        lock, stop, needs_.handshake_timeout,
        [this]() REQUIRES(mutex_) { return phase_.ready == overall_.starts && !phase_.lost; });
    if (ready) return {};
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    return make_error(ErrorKind::kTimeout,
                      "the connections for post-copy were not ready within {} ms "
                      "(handshake-timeout){}{}",
                      needs_.handshake_timeout.count(), phase_.reason.empty() ? "" : ": ",
                      phase_.reason);
}

Status PostcopySource::add(PeerLink& link, std::span<const memory::PageBitmap> missing) {
    return announce(link, missing);
}

// Names the pages that were not named before, and puts them into the queue.
Status PostcopySource::announce(PeerLink& link, std::span<const memory::PageBitmap> missing) {
    transport::ArrivedEncoder encoder(0);
    const auto send = [&](const std::string& body) {
        return body.empty() ? Status() : link.send(FrameType::kPostcopyPages, body);
    };
    for (std::size_t i = 0; i < missing.size(); ++i) {
        const RegionId region{static_cast<std::uint16_t>(i)};
        const std::uint64_t size = missing[i].pages();
        std::uint64_t page = missing[i].find(0, size, true);
        while (page < size) {
            const std::uint64_t end = missing[i].find(page, size, false);
            for (const PageRange& run : queue_->absent(region, {page, end - page})) {
                queue_->add(region, run);
                MIGRATE_TRY(send(encoder.add(region, run)));
            }
            page = missing[i].find(end, size, true);
        }
    }
    const MutexLock lock(mutex_);
    overall_.missing = queue_->pages();
    return send(encoder.finish());
}

void PostcopySource::hand_over() {
    const MutexLock lock(mutex_);
    overall_.handed_over = true;
}

// The thread that makes the connections, and that sends the pages that nobody waits for.
Status PostcopySource::run(const std::stop_token& stop) {
    milliseconds pause = kShortestPause;
    std::uint16_t epoch = 0;
    while (!stop.stop_requested()) {
        const Clock::time_point began = Clock::now();
        const Status ended = catching("post-copy", [&]() -> Status {
            MIGRATE_ASSIGN(Pair pair, connect(epoch, stop));
            use(pair, stop);
            return {};
        });
        {
            const MutexLock lock(mutex_);
            if (overall_.complete) break;
            if (!ended) phase_.reason = ended.error().message();
        }
        // A connection that lasted was better than a failure.
        pause = Clock::now() - began > kStableTime ? kShortestPause
                                                   : std::min(2 * pause, kLongestPause);
        pause_until(stop, Clock::now() + pause);
    }
    return {};
}

// An epoch is used up when a connection was made with it.
Result<PostcopySource::Pair> PostcopySource::connect(std::uint16_t& epoch,
                                                     const std::stop_token& stop) const {
    MIGRATE_ASSIGN(
        auto sockets,
        transport::connect_alike(needs_.peer, 2,
                                 {kConnectLimit, transport::StallLimits::both(needs_.io_timeout),
                                  stop, needs_.security}));
    ++epoch;
    std::array<std::unique_ptr<PageConnection>, 2> made;
    for (std::uint16_t channel = 0; channel < made.size(); ++channel) {
        MIGRATE_TRY(sockets[channel].send(
            transport::encode_hello({.role = transport::ConnectionRole::kPostcopy,
                                     .channel = ChannelId{channel},
                                     .epoch = epoch,
                                     .session = needs_.session})));
        MIGRATE_ASSIGN(made[channel], PageConnection::create(std::move(sockets[channel]),
                                                             transport::Party::kReceiver,
                                                             needs_.source.regions()));
    }
    return Pair{std::move(made[kUrgentConnection]), std::move(made[kBulkConnection])};
}

// Serves the receiver over this pair until it is lost, or all is done.
void PostcopySource::use(Pair& pair, const std::stop_token& stop) {
    const bool again = progress_.state() != PostcopyState::kNone;
    if (again) progress_.set(PostcopyState::kRecover);
    {
        const MutexLock lock(mutex_);
        phase_ = {};
        overall_.present = &pair;
    }
    {
        const std::stop_callback wake(stop, [&pair] {
            pair.urgent->shutdown();
            pair.bulk->shutdown();
        });
        auto server = Thread::start(
            "postcopy_urgent",
            [this, &pair, &stop](const std::stop_token&) { return serve(pair, stop); },
            [this, &pair](const Error& error) { lose(pair, error); });
        const Status sent = server ? catching("post-copy", [&] { return send_bulk(pair, stop); })
                                   : Status(server.error());
        if (!sent) lose(pair, sent.error());
        if (server) server->join();
    }
    const MutexLock lock(mutex_);
    overall_.present = nullptr;
    overall_.bytes_before += pair.urgent->bytes_sent() + pair.bulk->bytes_sent();
    if (overall_.complete || stop.stop_requested()) return;
    if (progress_.state() == PostcopyState::kNone) return;
    progress_.set(PostcopyState::kPaused, phase_.reason);
}

void PostcopySource::lose(const Pair& pair, const Error& why) {
    pair.urgent->shutdown();
    pair.bulk->shutdown();
    {
        const MutexLock lock(mutex_);
        if (!phase_.lost) phase_.reason = why.message();
        phase_.lost = true;
    }
    changed_.notify_all();
}

// The thread of the urgent connection: it answers requests.
Status PostcopySource::serve(Pair& pair, const std::stop_token& stop) {
    PageSender sender(needs_.source, zeros_, sent_);
    const milliseconds interval = std::min(needs_.io_timeout / 4, kMostPingInterval);
    Clock::time_point heard = Clock::now();
    Clock::time_point ping = heard + interval;
    while (!stop.stop_requested()) {
        const Clock::time_point now = Clock::now();
        if (now - heard > needs_.io_timeout) {
            return make_error(ErrorKind::kTimeout,
                              "the receiver has been silent for {} ms (io-timeout)",
                              needs_.io_timeout.count());
        }
        if (now >= ping) {
            MIGRATE_TRY(pair.urgent->send({.kind = PageMessageKind::kPing}));
            ping = now + interval;
        }
        MIGRATE_ASSIGN(const auto received,
                       pair.urgent->receive(std::chrono::ceil<milliseconds>(ping - now)));
        if (!received) continue;
        heard = Clock::now();
        MIGRATE_TRY(take(pair, *received, sender));
        if (received->message.kind == PageMessageKind::kPlaced) return {};
    }
    return {};
}

Status PostcopySource::take(Pair& pair, const PageConnection::Received& received,
                            PageSender& sender) {
    const transport::PageMessage& message = received.message;
    switch (message.kind) {
        case PageMessageKind::kReady: {
            const MutexLock lock(mutex_);
            phase_.ready = message.page;
            break;
        }
        case PageMessageKind::kState:
            return take_state(received.payload);
        case PageMessageKind::kGuestRuns:
            return begin(message);
        case PageMessageKind::kWanted: {
            {
                const MutexLock lock(mutex_);
                if (!phase_.begun) {
                    return Error(ErrorKind::kProtocol, "the receiver asks for pages too early");
                }
                ++overall_.requests;
            }
            if (!queue_->take_urgent(message.region, message.page)) return {};
            return sender.send(*pair.urgent, message.region, {message.page, 1});
        }
        case PageMessageKind::kPlaced: {
            // The receiver may end only once it has read this. If it does not, it has every page
            // all the same.
            static_cast<void>(pair.urgent->send({.kind = PageMessageKind::kBye}));
            pair.urgent->finish(kByeLinger);
            const MutexLock lock(mutex_);
            if (!phase_.begun) {
                return Error(ErrorKind::kProtocol, "the receiver has all pages too early");
            }
            overall_.complete = true;
            progress_.set(PostcopyState::kComplete);
            break;
        }
        default:
            break;
    }
    changed_.notify_all();
    return {};
}

// Pages that are missing there. What this side knows of them is replaced.
Status PostcopySource::take_state(std::span<const std::byte> body) {
    const std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
    MIGRATE_ASSIGN(const transport::ArrivedPages pages,
                   transport::decode_arrived(text, needs_.source.regions()));
    const MutexLock lock(mutex_);
    if (phase_.begun || !overall_.handed_over) {
        return Error(ErrorKind::kProtocol, "the receiver names missing pages at the wrong time");
    }
    if (!std::exchange(phase_.has_state, true)) queue_->clear();
    for (const PageRange& run : pages.pages) queue_->add(pages.region, run);
    return {};
}

Status PostcopySource::begin(const transport::PageMessage& message) {
    {
        const MutexLock lock(mutex_);
        if (!overall_.handed_over || phase_.begun) {
            return Error(ErrorKind::kProtocol,
                         "the receiver runs a guest that was not handed over, or says so twice");
        }
        if (message.count != 0 && !phase_.has_state) queue_->clear();
        const std::uint64_t pages = queue_->pages();
        if (pages != message.page) {
            return make_error(ErrorKind::kProtocol,
                              "{} pages are missing at the receiver, and this side has {} to send",
                              message.page, pages);
        }
        phase_.begun = true;
        progress_.set(PostcopyState::kActive);
    }
    changed_.notify_all();
    return {};
}

Status PostcopySource::send_bulk(Pair& pair, const std::stop_token& stop) {
    PageSender sender(needs_.source, zeros_, sent_);
    const auto ends = [&]() REQUIRES(mutex_) { return phase_.lost || overall_.complete; };
    {
        MutexLock lock(mutex_);
        changed_.wait(lock, stop, [&]() REQUIRES(mutex_) { return phase_.begun || ends(); });
        if (ends()) return {};
    }
    while (!stop.stop_requested()) {
        {
            const MutexLock lock(mutex_);
            if (ends()) return {};
        }
        const auto next = queue_->next(kLookPages);
        if (!next) break;
        MIGRATE_TRY(send_some(pair, *next, sender, stop));
    }
    MutexLock lock(mutex_);
    changed_.wait(lock, stop, ends);
    return {};
}

Status PostcopySource::send_some(Pair& pair, const PageQueue::Span& next, PageSender& sender,
                                 const std::stop_token& stop) {
    MIGRATE_ASSIGN(PageRange part, sender.first_part(next.region, next.pages));
    // Others may have been taken meanwhile.
    part.count = queue_->take(next.region, part);
    if (part.count == 0) return {};
    const std::uint64_t normal = sent_.normal.load(std::memory_order_relaxed);
    MIGRATE_TRY(sender.send(*pair.bulk, next.region, part));
    // The urgent pages that were sent meanwhile count, too: they use the same path.
    const std::uint64_t sent = sent_.normal.load(std::memory_order_relaxed) - normal;
    static_cast<void>(pacer_.acquire(sent * kPageSize, stop));
    return {};
}

PostcopyReport PostcopySource::report() const {
    PostcopyReport report = report_of(progress_, sent_);
    const MutexLock lock(mutex_);
    report.missing = overall_.missing;
    report.requests = overall_.requests;
    report.bytes = overall_.bytes_before;
    if (overall_.present != nullptr) {
        report.bytes +=
            overall_.present->urgent->bytes_sent() + overall_.present->bulk->bytes_sent();
    }
    return report;
}

void PostcopySource::stop() {
    thread_.request_stop();
    thread_.join();
    progress_.stop();
}

}  // namespace migrate::engine
