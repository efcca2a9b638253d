// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/postcopy_sink.hpp"

#include <algorithm>
#include <array>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "engine/postcopy/postcopy_follow.hpp"
#include "transport/arrived_pages.hpp"

namespace migrate::engine {

using std::chrono::milliseconds;
using transport::PageMessageKind;

namespace {

constexpr milliseconds kAcceptInterval{1000};
// The sender sends something at least once a second.
constexpr milliseconds kShortestSilence{3000};
// A fault thread that cannot serve a fault tries again after this time.
constexpr milliseconds kFaultPause{100};

}  // namespace

PostcopySink::PostcopySink(Needs needs, std::unique_ptr<memory::MissingPages> pages, Wakeup wakeup)
    : needs_(std::move(needs)), pages_(std::move(pages)), wakeup_(std::move(wakeup)) {}

Result<std::unique_ptr<PostcopySink>> PostcopySink::create(
    Needs needs, std::vector<memory::MissingPages::Memory> memory) {
    MIGRATE_ASSIGN(auto pages, memory::MissingPages::create(std::move(memory)));
    MIGRATE_ASSIGN(Wakeup wakeup, Wakeup::create());
    return std::unique_ptr<PostcopySink>(
        new PostcopySink(std::move(needs), std::move(pages), std::move(wakeup)));
}

Status PostcopySink::remove(std::string_view body) {
    MIGRATE_ASSIGN(const transport::ArrivedPages missing,
                   transport::decode_arrived(body, needs_.regions));
    return pages_->remove(missing.region, missing.pages);
}

Status PostcopySink::start() {
    {
        const MutexLock lock(mutex_);
        ++shared_.starts;
    }
    changed_.notify_all();
    if (started()) return {};
    MIGRATE_ASSIGN(
        faults_,
        Thread::start(
            "postcopy_fault", [this](const std::stop_token& stop) { return watch_faults(stop); },
            [](const Error& error) { log::error("post-copy: {}", error.message()); }));
    MIGRATE_ASSIGN(listener_,
                   Thread::start(
                       "postcopy", [this](const std::stop_token& stop) { return listen(stop); },
                       [](const Error& error) { log::error("post-copy: {}", error.message()); }));
    return {};
}

Status PostcopySink::arm(std::uint64_t missing) {
    if (pages_->awaited() != missing) {
        return make_error(ErrorKind::kProtocol,
                          "the sender says that {} pages are missing; it has named {}", missing,
                          pages_->awaited());
    }
    {
        const MutexLock lock(mutex_);
        shared_.missing = missing;
    }
    return pages_->arm();
}

void PostcopySink::guest_runs() {
    const bool complete = pages_->awaited() == 0;
    {
        const MutexLock lock(mutex_);
        if (std::exchange(shared_.runs, true)) return;
        if (!complete) {
            progress_.set(
                shared_.present != nullptr ? PostcopyState::kActive : PostcopyState::kPaused,
                shared_.reason);
        }
    }
    if (complete) progress_.set(PostcopyState::kComplete);
    changed_.notify_all();
}

// The thread that takes the sender's connections.
Status PostcopySink::listen(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        const Status ended = catching("post-copy", [&]() -> Status {
            MIGRATE_ASSIGN(Pair pair, accept(stop));
            use(pair, stop);
            return {};
        });
        if (stop.stop_requested()) break;
        if (!ended) {
            log::warning("post-copy: {}", ended.error().message());
            pause_until(stop, Clock::now() + kFaultPause);
        }
        const MutexLock lock(mutex_);
        if (shared_.goodbye) break;
    }
    return {};
}

// Waits for both connections of one attempt. A later attempt takes the place of an earlier one.
Result<PostcopySink::Pair> PostcopySink::accept(const std::stop_token& stop) {
    std::array<std::optional<transport::NewConnection>, 2> came;
    while (true) {
        auto next = needs_.next_connection(kAcceptInterval, stop);
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        if (!next && next.error().kind() == ErrorKind::kTimeout) continue;
        if (!next) return std::move(next).error();
        const std::uint16_t channel = index_of(next->hello.channel);
        if (channel >= came.size()) {
            log::warning("{}: post-copy has no connection {}; closed", next->peer, channel);
            continue;
        }
        came[channel] = *std::move(next);
        if (!came[0] || !came[1] || came[0]->hello.epoch != came[1]->hello.epoch) continue;
        std::array<std::unique_ptr<PageConnection>, 2> made;
        for (std::size_t i = 0; i < made.size(); ++i) {
            transport::Socket& socket = came[i]->socket;
            MIGRATE_TRY(socket.set_limits(transport::StallLimits::both(needs_.io_timeout)));
            MIGRATE_ASSIGN(made[i],
                           PageConnection::create(std::move(socket), transport::Party::kSender,
                                                  needs_.regions));
        }
        return Pair{std::move(made[kUrgentConnection]), std::move(made[kBulkConnection])};
    }
}

// Uses this pair until it is lost, or the sender knows that all is done.
void PostcopySink::use(Pair& pair, const std::stop_token& stop) {
    {
        const MutexLock lock(mutex_);
        shared_.lost = false;
        shared_.may_come = false;
        shared_.begun = false;
        shared_.present = &pair;
        if (shared_.told) progress_.set(PostcopyState::kRecover);
    }
    {
        const std::stop_callback wake(stop, [&pair] {
            pair.urgent->shutdown();
            pair.bulk->shutdown();
        });
        const auto reader = [&](const char* name, PageConnection& from) {
            return Thread::start(
                name,
                [this, &pair, &from, &stop](const std::stop_token&) {
                    return read(pair, from, stop);
                },
                [this, &pair](const Error& error) { lose(pair, error); });
        };
        auto urgent = reader("postcopy_urgent", *pair.urgent);
        auto bulk = reader("postcopy_bulk", *pair.bulk);
        const Status told = urgent && bulk ? catching("post-copy", [&] { return tell(pair, stop); })
                                           : Status(urgent ? bulk.error() : urgent.error());
        lose(pair, told ? Error(ErrorKind::kLostConnection, "it has ended") : told.error());
        if (urgent) urgent->join();
        if (bulk) bulk->join();
    }
    const MutexLock lock(mutex_);
    shared_.present = nullptr;
    shared_.begun = false;
    shared_.bytes_before += pair.urgent->bytes_received() + pair.bulk->bytes_received();
    if (shared_.runs && !shared_.goodbye) progress_.set(PostcopyState::kPaused, shared_.reason);
}

void PostcopySink::lose(const Pair& pair, const Error& why) {
    pair.urgent->shutdown();
    pair.bulk->shutdown();
    {
        const MutexLock lock(mutex_);
        if (!shared_.lost) shared_.reason = why.message();
        shared_.lost = true;
    }
    changed_.notify_all();
}

// Tells the sender what happens here. Returns when the pair is lost or all is done.
Status PostcopySink::tell(Pair& pair, const std::stop_token& stop) {
    const auto ends = [&]() REQUIRES(mutex_) { return shared_.lost || shared_.goodbye; };
    for (std::uint64_t ready = 0;;) {
        {
            MutexLock lock(mutex_);
            changed_.wait(lock, stop, [&]() REQUIRES(mutex_) {
                return shared_.runs || shared_.starts != ready || ends();
            });
            if (stop.stop_requested() || ends()) return {};
            if (shared_.starts == ready) break;
            ready = shared_.starts;
        }
        MIGRATE_TRY(pair.urgent->send({.kind = PageMessageKind::kReady, .page = ready}));
    }
    MIGRATE_TRY(begin(pair));
    {
        MutexLock lock(mutex_);
        changed_.wait(lock, stop,
                      [&]() REQUIRES(mutex_) { return pages_->awaited() == 0 || ends(); });
        if (stop.stop_requested() || ends()) return {};
    }
    MIGRATE_TRY(pair.urgent->send({.kind = PageMessageKind::kPlaced}));
    MutexLock lock(mutex_);
    changed_.wait(lock, stop, ends);
    return {};
}

// No thread places pages before this: the sender sends none.
Status PostcopySink::begin(Pair& pair) {
    bool again = false;
    {
        const MutexLock lock(mutex_);
        again = shared_.told;
    }
    if (again) MIGRATE_TRY(send_state(*pair.urgent));
    {
        const MutexLock lock(mutex_);
        shared_.told = true;
        shared_.may_come = true;
    }
    MIGRATE_TRY(pair.urgent->send({.kind = PageMessageKind::kGuestRuns,
                                   .count = again ? 1U : 0U,
                                   .page = pages_->awaited()}));
    std::vector<Page> waiting;
    {
        const MutexLock lock(mutex_);
        shared_.begun = true;
        for (const auto& [page, since] : shared_.waiting) waiting.push_back(page);
    }
    if (pages_->awaited() != 0) progress_.set(PostcopyState::kActive);
    for (const auto& [region, page] : waiting) {
        MIGRATE_TRY(pair.urgent->send(
            {.kind = PageMessageKind::kWanted, .region = region, .count = 1, .page = page}));
    }
    return {};
}

Status PostcopySink::send_state(PageConnection& to) const {
    transport::ArrivedEncoder encoder(0);
    const auto send = [&](const std::string& body) {
        if (body.empty()) return Status();
        return to.send({.kind = PageMessageKind::kState}, std::as_bytes(std::span(body)));
    };
    for (std::size_t i = 0; i < needs_.regions.size(); ++i) {
        const RegionId region{static_cast<std::uint16_t>(i)};
        const memory::PageBitmap& awaited = pages_->awaited(region);
        std::uint64_t page = awaited.find(0, awaited.pages(), true);
        while (page < awaited.pages()) {
            const std::uint64_t end = awaited.find(page, awaited.pages(), false);
            MIGRATE_TRY(send(encoder.add(region, {page, end - page})));
            page = awaited.find(end, awaited.pages(), true);
        }
    }
    return send(encoder.finish());
}

// A thread that reads one of the connections.
Status PostcopySink::read(Pair& pair, PageConnection& from, const std::stop_token& stop) {
    const bool urgent = &from == pair.urgent.get();
    const milliseconds silence = std::max(needs_.io_timeout, kShortestSilence);
    while (!stop.stop_requested()) {
        MIGRATE_ASSIGN(const auto received, from.receive(silence));
        if (!received) {
            // The urgent connection is never idle. The end of the other one is noticed there, too.
            if (!urgent) continue;
            return make_error(ErrorKind::kTimeout,
                              "the sender has been silent for {} ms (io-timeout)", silence.count());
        }
        switch (received->message.kind) {
            case PageMessageKind::kPing:
                MIGRATE_TRY(from.send({.kind = PageMessageKind::kPong}));
                break;
            case PageMessageKind::kBye: {
                if (pages_->awaited() != 0) {
                    return Error(ErrorKind::kProtocol, "the sender ends before all pages came");
                }
                {
                    const MutexLock lock(mutex_);
                    shared_.goodbye = true;
                }
                changed_.notify_all();
                return {};
            }
            default:
                MIGRATE_TRY(place(*received));
        }
    }
    return {};
}

Status PostcopySink::place(const PageConnection::Received& received) {
    {
        const MutexLock lock(mutex_);
        if (!shared_.may_come) return Error(ErrorKind::kProtocol, "pages came too early");
    }
    const transport::PageMessage& message = received.message;
    const bool zeros = message.kind == PageMessageKind::kZeroPages;
    MIGRATE_ASSIGN(const auto done,
                   zeros ? pages_->place_zeros(message.region, message.pages())
                         : pages_->place(message.region, message.pages(), received.payload));
    note_arrived(message.region, message.pages());
    (zeros ? placed_.zero : placed_.normal).fetch_add(done.placed, std::memory_order_relaxed);
    if (done.dropped != 0 && dropped_.fetch_add(done.dropped, std::memory_order_relaxed) == 0) {
        log::warning("post-copy: the sender sends pages that are not missing; they are dropped");
    }
    if (done.placed == 0 || pages_->awaited() != 0) return {};
    progress_.set(PostcopyState::kComplete);
    changed_.notify_all();
    return {};
}

void PostcopySink::note_arrived(RegionId region, PageRange pages) {
    const Clock::time_point now = Clock::now();
    const MutexLock lock(mutex_);
    auto one = shared_.waiting.lower_bound({region, pages.first});
    while (one != shared_.waiting.end() && one->first.first == region &&
           one->first.second < pages.end()) {
        latency_.add(now - one->second);
        one = shared_.waiting.erase(one);
    }
}

// The thread that serves the guest's page faults. It must not end while the guest runs.
Status PostcopySink::watch_faults(const std::stop_token& stop) {
    const std::stop_callback wake(stop, [this] { wakeup_.wake(); });
    while (!stop.stop_requested()) {
        const auto fault = pages_->next_fault(wakeup_, kNever);
        if (!fault) {
            log::error("post-copy: {}", fault.error().message());
            pause_until(stop, Clock::now() + kFaultPause);
            continue;
        }
        // If memory runs out, the thread that waits goes on later.
        while (*fault && !stop.stop_requested()) {
            const Status taken = catching("a page fault", [&]() -> Status {
                take_fault(**fault);
                return {};
            });
            if (taken) break;
            pause_until(stop, Clock::now() + kFaultPause);
        }
    }
    return {};
}

void PostcopySink::take_fault(const memory::MissingPages::Fault& fault) {
    const Clock::time_point now = Clock::now();
    const Page page{fault.region, fault.page};
    std::shared_ptr<PageConnection> ask;
    if (pages_->is_awaited(fault.region, fault.page)) {
        const MutexLock lock(mutex_);
        const bool first = shared_.waiting.emplace(page, now).second;
        if (first) ++shared_.requests;
        if (first && shared_.begun && !shared_.lost) ask = shared_.present->urgent;
    }
    // It may have come meanwhile.
    if (!pages_->is_awaited(fault.region, fault.page)) {
        const Status resolved = pages_->resolve_locally(fault);
        if (!resolved) log::error("post-copy: {}", resolved.error().message());
        const MutexLock lock(mutex_);
        shared_.waiting.erase(page);
        return;
    }
    if (!ask) return;
    // A failure shows itself to the thread that reads; the page is asked for again then.
    static_cast<void>(ask->send({.kind = PageMessageKind::kWanted,
                                 .region = fault.region,
                                 .count = 1,
                                 .page = fault.page}));
}

void PostcopySink::await_goodbye() {
    // The guest needs nothing any more.
    faults_.request_stop();
    faults_.join();
    pages_->disarm();
    {
        MutexLock lock(mutex_);
        changed_.wait_for(lock, std::stop_token(), needs_.goodbye,
                          [this]() REQUIRES(mutex_) { return shared_.goodbye; });
        if (!shared_.goodbye) {
            log::warning(
                "all pages are here, and the sender could not be told so within {} ms: it may be "
                "ended there",
                needs_.goodbye.count());
        }
    }
    stop();
}

PostcopyReport PostcopySink::report() const {
    PostcopyReport report = report_of(progress_, placed_);
    report.dropped = dropped_.load(std::memory_order_relaxed);
    report.latency = latency_.report();
    const MutexLock lock(mutex_);
    report.missing = shared_.missing;
    report.requests = shared_.requests;
    report.bytes = shared_.bytes_before;
    if (shared_.present != nullptr) {
        report.bytes +=
            shared_.present->urgent->bytes_received() + shared_.present->bulk->bytes_received();
    }
    return report;
}

void PostcopySink::stop() {
    faults_.request_stop();
    listener_.request_stop();
    faults_.join();
    listener_.join();
    progress_.stop();
}

}  // namespace migrate::engine
