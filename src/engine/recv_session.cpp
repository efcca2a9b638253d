#include "engine/recv_session.hpp"

#include <algorithm>
#include <thread>

#include "base/log.hpp"
#include "base/version.hpp"
#include "engine/session_report.hpp"
#include "memory/region_digest.hpp"

namespace migrate::engine {

using transport::FrameType;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

// Threads that share the prefaulting where there are fewer channels than CPUs.
unsigned prefault_helpers(std::uint16_t channels) {
    const unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
    return cpus > channels ? cpus - channels : 0;
}

}  // namespace

RecvSession::RecvSession(RecvConfig config, EventLog& events)
    : config_(std::move(config)), events_(events) {}

RecvSession::~RecvSession() {
    cancellation_.fail(Error(ErrorKind::kCancelled, "the session ended"));
    stop_workers();
}

Result<std::unique_ptr<RecvSession>> RecvSession::create(RecvConfig config, EventLog& events) {
    std::unique_ptr<RecvSession> session(new RecvSession(std::move(config), events));
    // Opened once now, so that what is wrong with it is said before a sender comes.
    MIGRATE_ASSIGN(session->sink_, memory::open_page_sink(session->config_.sink));
    MIGRATE_ASSIGN(
        session->listener_,
        transport::Listener::create(session->config_.listen, session->config_.handshake_timeout));
    return session;
}

void RecvSession::set_status(MigrationStatus status) {
    status_.advance(status);
    events_.emit("MIGRATION", {{"status", std::string(name_of(status))}});
}

Status RecvSession::run() {
    set_status(MigrationStatus::kSetup);
    Status status = migrate();
    if (!status) cancellation_.fail(std::move(status).error());
    stop_workers();
    if (link_) link_->finish();
    const std::optional<Error> error = cancellation_.error();
    status = error ? Status(*error) : Status();
    // Uncommitted, it takes its temporary file with it.
    if (error) sink_.reset();
    conclude(status);
    return status;
}

Status RecvSession::migrate() {
    MIGRATE_TRY(await_sender());
    MIGRATE_TRY(await_channels());
    MIGRATE_TRY(start_workers());
    MIGRATE_TRY(link_->send(FrameType::kReady, "{}"));
    {
        const std::scoped_lock lock(mutex_);
        active_ = Clock::now();
    }
    set_status(MigrationStatus::kActive);
    return receive_rounds();
}

Status RecvSession::await_sender() {
    const std::stop_token stop = cancellation_.token();
    std::optional<Clock::time_point> deadline;
    if (config_.listen_timeout) deadline = Clock::now() + *config_.listen_timeout;
    while (true) {
        std::optional<milliseconds> left;
        if (deadline)
            left = std::max(milliseconds(0),
                            std::chrono::ceil<milliseconds>(*deadline - Clock::now()));
        Result<transport::NewConnection> connection = listener_->next(left, stop);
        if (!connection) {
            if (connection.error().kind() != ErrorKind::kTimeout)
                return std::move(connection).error();
            return make_error(ErrorKind::kTimeout, "no sender came within {} ms (listen-timeout)",
                              config_.listen_timeout->count());
        }
        MIGRATE_ASSIGN(const bool taken, consider(*std::move(connection)));
        if (taken) return {};
    }
}

// True if this is our sender; a stranger, or a sender that cannot be served, is told so and costs
// nothing.
Result<bool> RecvSession::consider(transport::NewConnection connection) {
    const std::string peer = connection.peer;
    if (connection.hello.role != transport::ConnectionRole::kMain) {
        log::warning("{}: a channel of a session that does not exist; closed", peer);
        return false;
    }
    Result<transport::Offer> offer = examine(connection.offer);
    if (!offer) {
        log::warning("{}: refused: {}", peer, offer.error().message());
        transport::refuse(std::move(connection.fd), offer.error().message());
        return false;
    }
    MIGRATE_TRY(accept(std::move(connection), *offer));
    return true;
}

// What the sender offers, once it is known that this side can do it: the sink is prepared for it
// then.
Result<transport::Offer> RecvSession::examine(const std::string& body) {
    MIGRATE_ASSIGN(transport::Offer offer, transport::decode_offer(body));
    if (!sink_) {
        MIGRATE_ASSIGN(sink_, memory::open_page_sink(config_.sink));
    }
    if (sink_->discards() && offer.verify) {
        return make_error(
            "sink {} keeps nothing that could be verified: use verify=none or another sink",
            sink_->description());
    }
    Status prepared = sink_->prepare(offer.regions);
    if (!prepared) {
        // A sink is prepared once; the next sender gets a new one.
        sink_.reset();
        return std::move(prepared).error();
    }
    return offer;
}

Status RecvSession::accept(transport::NewConnection connection, const transport::Offer& offer) {
    {
        const std::scoped_lock lock(mutex_);
        started_ = Clock::now();
        offer_ = offer;
        channels_.resize(offer.channels);
    }
    MIGRATE_ASSIGN(session_, transport::make_session_id());
    MIGRATE_ASSIGN(transport::Socket socket,
                   transport::Socket::adopt(std::move(connection.fd),
                                            static_cast<std::uint64_t>(config_.io_timeout.count()),
                                            connection.bytes_read));
    MIGRATE_ASSIGN(auto control, transport::ControlChannel::create(std::move(socket)));
    MIGRATE_TRY(control->send(FrameType::kAccept, transport::encode(transport::Accept{
                                                      session_, fmt::format("migrate {}", kVersion),
                                                      std::string(sink_->description())})));
    auto link = std::make_unique<PeerLink>(std::move(control), config_.io_timeout, "return_path",
                                           times_, cancellation_);
    log::info(
        "sender {} ({}) connected: {} channels, {} MiB in {} region(s)", connection.peer,
        offer.program, offer.channels,
        [&] {
            std::uint64_t total = 0;
            for (const RegionInfo& region : offer.regions) total += region.size_bytes;
            return total / kMiB;
        }(),
        offer.regions.size());
    const std::scoped_lock lock(mutex_);
    link_ = std::move(link);
    return {};
}

Status RecvSession::await_channels() {
    const Clock::time_point deadline = Clock::now() + config_.handshake_timeout;
    std::size_t connected = 0;
    while (connected < channels_.size()) {
        const auto left =
            std::max(milliseconds(0), std::chrono::ceil<milliseconds>(deadline - Clock::now()));
        Result<transport::NewConnection> connection = listener_->next(left, cancellation_.token());
        if (!connection) {
            if (connection.error().kind() != ErrorKind::kTimeout)
                return std::move(connection).error();
            return make_error(ErrorKind::kTimeout,
                              "{} of {} channels connected within {} ms (handshake-timeout)",
                              connected, channels_.size(), config_.handshake_timeout.count());
        }
        if (connection->hello.role == transport::ConnectionRole::kMain) {
            log::warning("{}: a second sender; refused", connection->peer);
            transport::refuse(std::move(connection->fd),
                              "the receiver is busy with another sender");
            continue;
        }
        if (connection->hello.session != session_) {
            log::warning("{}: a channel of another session; closed", connection->peer);
            continue;
        }
        MIGRATE_TRY(add_channel(*std::move(connection)));
        ++connected;
    }
    return {};
}

Status RecvSession::add_channel(transport::NewConnection connection) {
    const std::uint16_t id = index_of(connection.hello.channel);
    if (id >= channels_.size()) {
        return make_error(ErrorKind::kProtocol,
                          "the sender connected channel {}; it announced {} channels", id,
                          channels_.size());
    }
    if (channels_[id])
        return make_error(ErrorKind::kProtocol, "the sender connected channel {} twice", id);
    MIGRATE_ASSIGN(transport::Socket socket,
                   transport::Socket::adopt(std::move(connection.fd),
                                            static_cast<std::uint64_t>(config_.io_timeout.count()),
                                            connection.bytes_read));
    const transport::PacketLimits limits{offer_.packet_bytes, offer_.compression, offer_.regions};
    MIGRATE_ASSIGN(auto channel, RecvChannel::create(ChannelId{id}, std::move(socket), limits));
    const std::scoped_lock lock(mutex_);
    channels_[id] = std::move(channel);
    return {};
}

Status RecvSession::start_workers() {
    const auto run_helper = [this](const std::string& name, const std::function<void()>& work) {
        run_timed(name, times_, work);
    };
    MIGRATE_ASSIGN(placer_,
                   memory::PagePlacer::create(*sink_, offer_.regions,
                                              prefault_helpers(offer_.channels), run_helper));
    gate_ = std::make_unique<RoundGate>(offer_.channels);
    shared_.reset(new RecvShared{{offer_.packet_bytes, offer_.compression, offer_.regions},
                                 *placer_,
                                 sink_->discards(),
                                 *gate_,
                                 {}});
    for (const auto& channel : channels_) {
        workers_.push_back(std::make_unique<SessionThread>(
            fmt::format("multifdrecv_{}", index_of(channel->id())), times_, cancellation_,
            [this, worker = channel.get()]() -> Status {
                const std::stop_token stop = cancellation_.token();
                const std::stop_callback wake(stop, [worker] { worker->shutdown(); });
                return worker->run(*shared_, stop);
            }));
    }
    return {};
}

void RecvSession::stop_workers() {
    if (gate_) gate_->close();
    workers_.clear();
    // Its helpers are threads of the report, too.
    placer_.reset();
}

Status RecvSession::receive_rounds() {
    for (std::uint32_t round = 1;; ++round) {
        MIGRATE_ASSIGN(const transport::Frame frame,
                       link_->expect({FrameType::kRoundStart, FrameType::kComplete}, std::nullopt));
        if (frame.type == FrameType::kRoundStart) {
            MIGRATE_ASSIGN(const transport::RoundMark mark,
                           transport::decode_round_mark(frame.body));
            if (mark.round != round) {
                return make_error(ErrorKind::kProtocol,
                                  "the sender starts round {} where {} had to come", mark.round,
                                  round);
            }
            MIGRATE_TRY(receive_round(round));
            continue;
        }
        if (round == 1) return Error(ErrorKind::kProtocol, "the sender completed without a round");
        MIGRATE_ASSIGN(const transport::Completion completion,
                       transport::decode_completion(frame.body));
        return complete(completion);
    }
}

Status RecvSession::receive_round(std::uint32_t round) {
    events_.emit("MIGRATION_PASS", {{"pass", std::uint64_t{round}}});
    gate_->open(round);
    MIGRATE_ASSIGN(const transport::Frame frame,
                   link_->expect({FrameType::kRoundEnd}, std::nullopt));
    MIGRATE_ASSIGN(const transport::RoundMark mark, transport::decode_round_mark(frame.body));
    if (mark.round != round) {
        return make_error(ErrorKind::kProtocol, "the sender ends round {} in round {}", mark.round,
                          round);
    }
    shared_->ended_round.store(round, std::memory_order_release);
    if (!gate_->wait_for_all(cancellation_.token()))
        return Error(ErrorKind::kCancelled, "cancelled");
    return placer_->finish_full_round();
}

Status RecvSession::complete(const transport::Completion& completion) {
    // The sender has said its last; from here on it waits for us.
    link_->stop_expecting_heartbeats();
    const transport::PageCounts received = received_pages();
    if (received != completion.pages) {
        return make_error(
            ErrorKind::kProtocol,
            "the sender counted {} normal, {} zero and {} unpopulated pages; {}, {} and {} arrived",
            completion.pages.normal, completion.pages.zero, completion.pages.unpopulated,
            received.normal, received.zero, received.unpopulated);
    }
    if (offer_.verify) MIGRATE_TRY(compare_digests(completion));
    if (cancellation_.stopped()) return Error(ErrorKind::kCancelled, "cancelled");
    MIGRATE_TRY(sink_->commit());
    link_->stop_sending_heartbeats();
    link_->expect_close();
    return link_->send(FrameType::kDone, transport::encode(transport::Done{received}));
}

Status RecvSession::compare_digests(const transport::Completion& completion) {
    MIGRATE_ASSIGN(const auto digests,
                   memory::digest_sink(*sink_, offer_.regions,
                                       std::max(1U, std::thread::hardware_concurrency()),
                                       cancellation_.token()));
    if (digests.size() != completion.digests.size()) {
        return make_error(ErrorKind::kProtocol, "the sender sent {} digests for {} regions",
                          completion.digests.size(), digests.size());
    }
    std::vector<std::string> ours;
    for (std::size_t i = 0; i < digests.size(); ++i) {
        ours.push_back(digests[i].hex());
        if (ours[i] != completion.digests[i]) {
            return make_error(
                "region '{}' is not a true copy: its digest is {} here and {} at the sender",
                offer_.regions[i].name, ours[i], completion.digests[i]);
        }
    }
    const std::scoped_lock lock(mutex_);
    digests_ = std::move(ours);
    return {};
}

transport::PageCounts RecvSession::received_pages() const {
    transport::PageCounts pages;
    for (const auto& channel : channels_) {
        if (channel) pages += channel->counters().pages.get();
    }
    return pages;
}

void RecvSession::conclude(const Status& status) {
    {
        const std::scoped_lock lock(mutex_);
        ended_ = Clock::now();
        if (!status) error_desc_ = status.error().message();
    }
    if (status) {
        set_status(MigrationStatus::kCompleted);
    } else if (status.error().kind() == ErrorKind::kCancelled) {
        set_status(MigrationStatus::kCancelling);
        set_status(MigrationStatus::kCancelled);
    } else {
        set_status(MigrationStatus::kFailed);
    }
}

void RecvSession::cancel(const std::string& reason) {
    cancellation_.fail(Error(ErrorKind::kCancelled, reason));
}

Report RecvSession::report() const {
    const std::scoped_lock lock(mutex_);
    Report report;
    report.side = "recv";
    report.status = status_.get();
    report.error_desc = error_desc_;
    report.memory = config_.sink;
    fill_times(report, {started_, active_, ended_});
    if (link_) {
        report.settings = {
            {"multifd-channels", std::to_string(offer_.channels)},
            {"multifd-packet-size", std::to_string(offer_.packet_bytes)},
            {"multifd-compression", std::string(transport::name_of(offer_.compression))},
            {"verify", offer_.verify ? "digest" : "none"},
        };
        for (const RegionInfo& region : offer_.regions) report.total_bytes += region.size_bytes;
        report.peer = link_->peer_name();
        engine::add_channel(report, main_channel_report(link_->bytes_received()));
    }
    for (const auto& channel : channels_) {
        if (!channel) continue;
        engine::add_channel(report,
                            channel_report(channel->id(), channel->bytes(), channel->counters()));
        report.pages += channel->counters().pages.get();
    }
    report.threads = times_.all();
    report.digests = digests_;
    return report;
}

}  // namespace migrate::engine
