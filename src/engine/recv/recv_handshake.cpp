// The receiving side's handshake: accepts a sender, checks its offer, and accepts its channels.

#include <algorithm>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/sign_of_life.hpp"

namespace migrate::engine {

using transport::FrameType;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

// Checks that the sender does not read a file that the sink writes to or replaces. Called before
// the sink is prepared, which may clear it. If either side does not know its host, equal numbers
// are the same file.
Status check_not_the_source(const transport::Offer& offer, const memory::PageSink& sink) {
    const std::string here = boot_id();
    if (!offer.boot_id.empty() && !here.empty() && offer.boot_id != here) return {};
    MIGRATE_ASSIGN(const auto files, sink.files());
    for (const memory::SinkFile& file : files) {
        const auto same = std::find(offer.files.begin(), offer.files.end(), file.identity);
        if (same == offer.files.end()) continue;
        const auto region = static_cast<std::size_t>(same - offer.files.begin());
        return make_error(
            ErrorKind::kRefused,
            "source and sink are the same file: the sender's region '{}' lies in {} of this host; "
            "give {} memory or a file of its own",
            offer.regions[region].name, file.path, sink.description());
    }
    return {};
}

}  // namespace

Status RecvSession::await_sender() {
    const std::stop_token stop = core_.token();
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

// Returns true if this sender was accepted. A stray channel is closed and a sender that cannot be
// served is refused; neither ends this session.
Result<bool> RecvSession::consider(transport::NewConnection connection) {
    const std::string peer = connection.peer;
    if (connection.hello.role != transport::ConnectionRole::kMain) {
        log::warning("{}: a channel of a session that does not exist; closed", peer);
        return false;
    }
    Result<transport::Offer> offer = catching("the offer", [&] {
        const SignOfLife living(connection.socket);
        return examine(connection.offer);
    });
    if (!offer) {
        log::warning("{}: refused: {}", peer, offer.error().message());
        transport::refuse(std::move(connection.socket), offer.error().message());
        return false;
    }
    MIGRATE_TRY(accept(std::move(connection), *offer));
    return true;
}

// Decodes the offer, checks that this side can serve it, and prepares the sink for it.
Result<transport::Offer> RecvSession::examine(const std::string& body) {
    MIGRATE_ASSIGN(transport::Offer offer, transport::decode_offer(body));
    if (!destination_.memory) {
        MIGRATE_ASSIGN(destination_, guest::open_destination(config_.sink));
    }
    const memory::PageSink& sink = *destination_.memory;
    if (sink.discards() && offer.settings.verify()) {
        return make_error(
            "sink {} keeps nothing that could be verified: use verify=none or another sink",
            sink.description());
    }
    MIGRATE_TRY(destination_.check(offer.guest));
    MIGRATE_TRY(check_not_the_source(offer, sink));
    MIGRATE_TRY(check_journey(offer.journey));
    MIGRATE_ASSIGN(const auto devices, check_devices(offer));
    // An exception only refuses this sender, like any other error.
    Status prepared = catching("the sink", [&] {
        Status memory = destination_.memory->prepare(offer.regions);
        // Opened last, since the process at the other end of a pipe would see that it was opened
        // and closed.
        return memory ? open_devices(offer, devices) : memory;
    });
    if (!prepared) {
        // A sink is prepared once; the next sender gets a new one.
        destination_ = {};
        return std::move(prepared).error();
    }
    return offer;
}

Status RecvSession::check_journey(const transport::Journey& journey) const {
    if (journey.leg == config_.expected_leg && journey.legs <= config_.most_legs) {
        // Checked now, while the sender can still be refused.
        MIGRATE_TRY(tunables_for_way_back(journey.options));
        return {};
    }
    if (config_.expected_leg == 0) {
        return Error("the sender wants its guest back: start the receiver with --repeat, too");
    }
    if (journey.leg == 0) {
        return Error("this receiver was started with --repeat: start the sender with it, too");
    }
    return make_error("leg {} of {} came; leg {} of at most {} is due (repeat)", journey.leg,
                      journey.legs, config_.expected_leg, config_.most_legs);
}

Status RecvSession::accept(transport::NewConnection connection, const transport::Offer& offer) {
    core_.start_clock();
    {
        const std::scoped_lock lock(mutex_);
        offer_ = offer;
        channels_.resize(offer.settings.channels());
    }
    MIGRATE_ASSIGN(session_, transport::make_session_id());
    MIGRATE_TRY(connection.socket.set_limits(transport::StallLimits::both(config_.io_timeout)));
    MIGRATE_ASSIGN(auto control, transport::ControlChannel::create(std::move(connection.socket)));
    MIGRATE_TRY(control->send(
        FrameType::kAccept,
        transport::encode(transport::Accept{session_, fmt::format("migrate {}", kVersion),
                                            std::string(destination_.memory->description()),
                                            device_state_, config_.io_timeout})));
    link_times_ = make_link_times(config_.io_timeout, offer.io_timeout);
    // After this frame the sender waits for this side and need not send heartbeats.
    const FrameType last = offer.guest.empty() ? FrameType::kComplete : FrameType::kHandover;
    MIGRATE_ASSIGN(auto link, PeerLink::create(std::move(control),
                                               {.name = "return_path",
                                                .io_timeout = config_.io_timeout,
                                                .guest_runs = [this] { return settle_fate(); },
                                                .last_of_peer = last},
                                               core_.times(), core_.cancellation()));
    link->agree(link_times_);
    log::info("sender {} ({}) connected: {} channels, {} MiB in {} region(s)", connection.peer,
              offer.program, offer.settings.channels(), total_bytes(offer.regions) / kMiB,
              offer.regions.size());
    make_devices();
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
        Result<transport::NewConnection> connection = listener_->next(left, core_.token());
        if (!connection) {
            if (connection.error().kind() != ErrorKind::kTimeout)
                return std::move(connection).error();
            return make_error(ErrorKind::kTimeout,
                              "{} of {} channels connected within {} ms (handshake-timeout)",
                              connected, channels_.size(), config_.handshake_timeout.count());
        }
        if (connection->hello.role == transport::ConnectionRole::kMain) {
            log::warning("{}: a second sender; refused", connection->peer);
            transport::refuse(std::move(connection->socket),
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
    transport::Socket& socket = connection.socket;
    MIGRATE_TRY(socket.set_limits(link_times_.data));
    MIGRATE_TRY(socket.share_path(static_cast<std::uint16_t>(channels_.size())));
    const transport::PacketLimits limits{offer_.settings.packet_bytes(),
                                         offer_.settings.compression(), offer_.regions,
                                         device_state_};
    MIGRATE_ASSIGN(auto channel, RecvChannel::create(ChannelId{id}, std::move(socket), limits));
    const std::scoped_lock lock(mutex_);
    channels_[id] = std::move(channel);
    return {};
}

}  // namespace migrate::engine
