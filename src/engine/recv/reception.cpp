// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/reception.hpp"

#include <algorithm>
#include <utility>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "engine/sign_of_life.hpp"

namespace migrate::engine {

using transport::FrameType;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

// Time limit for the connections that ADD_CHANNELS announces. In plaintext they exist by then and
// wait in the kernel; with TLS their handshake follows.
constexpr milliseconds kTakeLimit{2000};
// The same for channels that replace lost ones, in plaintext. Their path may have failed again, and
// the sender's next attempt waits for this side's answer.
constexpr milliseconds kReplaceLimit{750};

// Returns most-channels of ACCEPT; nothing if multifd-channels is a number.
std::optional<std::uint16_t> most_channels(const transport::Offer& offer) {
    if (!offer.settings.adds_channels()) return std::nullopt;
    return offer.settings.most_channels();
}

void refuse_second_sender(transport::NewConnection connection) {
    log::warning("{}: a second sender; refused", connection.peer);
    transport::refuse(std::move(connection.socket), "the receiver is busy with another sender");
}

milliseconds until(Clock::time_point deadline) {
    return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(deadline - Clock::now()));
}

// Preparing the sink may take long, and the session longer. Without the thread (null), other
// senders wait until the channels of the session are awaited.
std::unique_ptr<BusyListener> begin_to_refuse(transport::Listener& listener) {
    auto busy =
        catching("the answer to other senders", [&] { return BusyListener::start(listener); });
    if (busy) return *std::move(busy);
    log::warning("other senders get no answer: {}", busy.error().message());
    return nullptr;
}

void say_waiting(const RecvConfig& config) {
    log::info("the receiver waits for another sender; a signal ends it{}",
              config.listen_timeout ? ", or listen-timeout" : " (listen-timeout sets a limit)");
}

}  // namespace

Result<Reception::Begun> Reception::await_session(transport::Listener& listener) {
    std::optional<Clock::time_point> deadline;
    if (config_.listen_timeout) deadline = Clock::now() + *config_.listen_timeout;
    while (true) {
        MIGRATE_ASSIGN(Sender sender, await_sender(listener, deadline));
        core_.start_clock();
        const std::string peer = sender.connection.peer;
        Result<Begun> begun = begin(listener, std::move(sender));
        if (begun || core_.stopped() || !concerns_sender_only(begun.error())) return begun;
        log::warning("{}: its migration did not begin: {}", peer, begun.error().message());
        say_waiting(config_);
        // A sink is prepared once; the next sender gets a new one.
        destination_ = {};
    }
}

// Accepts the sender and takes its channels; if that fails, tells it why.
Result<Reception::Begun> Reception::begin(transport::Listener& listener, Sender sender) {
    MIGRATE_ASSIGN(auto main, accept(std::move(sender.connection), sender.offer));
    WaitingSender waiting(std::move(main));
    auto channels =
        collect_channels(listener, sender.offer, {0, sender.offer.settings.channels(), &waiting},
                         config_.handshake_timeout);
    if (channels) {
        return Begun{std::move(sender.offer), waiting.take(), *std::move(channels), Clock::now()};
    }
    Error reason = std::move(channels).error();
    if (core_.stopped()) reason = core_.cancellation().error().value_or(std::move(reason));
    // The next sender may come as soon as this one knows.
    leave_listener();
    waiting.tell(reason);
    return reason;
}

Result<Reception::Sender> Reception::await_sender(transport::Listener& listener,
                                                  std::optional<Clock::time_point> deadline) {
    while (true) {
        std::optional<milliseconds> left;
        if (deadline) left = until(*deadline);
        Result<transport::NewConnection> connection = listener.next(left, core_.token());
        if (!connection) {
            if (connection.error().kind() != ErrorKind::kTimeout)
                return std::move(connection).error();
            return make_error(ErrorKind::kTimeout, "no sender came within {} ms (listen-timeout)",
                              config_.listen_timeout->count());
        }
        MIGRATE_ASSIGN(std::optional<transport::Offer> offer, consider(listener, *connection));
        if (offer) return Sender{*std::move(connection), *std::move(offer)};
    }
}

// Returns the offer of a sender that can be served. A stray channel is closed and a sender that
// cannot be served is refused; neither ends this session.
Result<std::optional<transport::Offer>> Reception::consider(transport::Listener& listener,
                                                            transport::NewConnection& connection) {
    std::optional<transport::Offer> served;
    if (connection.hello.role == transport::ConnectionRole::kResume) {
        log::warning("{}: a sender that returns to a session that does not exist; refused",
                     connection.peer);
        transport::refuse(std::move(connection.socket),
                          "the receiver does not know this session: it was restarted");
        return served;
    }
    if (connection.hello.role != transport::ConnectionRole::kMain) {
        log::warning("{}: a channel of a session that does not exist; closed", connection.peer);
        return served;
    }
    busy_ = begin_to_refuse(listener);
    Result<transport::Offer> offer = catching("the offer", [&] {
        const SignOfLife sign_of_life(connection.socket);
        return examination_.examine(connection.offer);
    });
    if (!offer) {
        // A sender that comes after this one's refusal is considered.
        leave_listener();
        log::warning("{}: refused: {}", connection.peer, offer.error().message());
        transport::refuse(std::move(connection.socket), offer.error().message());
        say_waiting(config_);
        return served;
    }
    served = *std::move(offer);
    return served;
}

// Returns nothing if the sender is not asked for digests: there are no pages to compare them with,
// or page-digests is off.
Result<std::optional<transport::ReuseKey>> Reception::draw_reuse_key(
    const transport::Offer& offer) {
    std::optional<transport::ReuseKey> bytes;
    if (!offer.settings.get<"page-digests">()) return bytes;
    if (!destination_.reuse && destination_.memory->partial() == nullptr) return bytes;
    MIGRATE_ASSIGN(agreement_.reuse_key, memory::DigestKey::draw());
    bytes = agreement_.reuse_key->bytes();
    return bytes;
}

// Sends ACCEPT.
Result<std::unique_ptr<transport::ControlChannel>> Reception::accept(
    transport::NewConnection connection, const transport::Offer& offer) {
    MIGRATE_ASSIGN(agreement_.session, transport::make_session_id());
    if (busy_) busy_->serve(agreement_.session);
    agreement_.times = make_link_times(config_.io_timeout, offer.io_timeout);
    agreement_.checksums =
        choose_checksums(offer.settings.get<"packet-checksum", AutoOnOff>(),
                         {.encrypted = connection.socket.security().is_encrypted(),
                          .discards = destination_.memory->discards()});
    MIGRATE_TRY(connection.socket.set_limits(transport::StallLimits::both(config_.io_timeout)));
    MIGRATE_ASSIGN(auto control, transport::ControlChannel::create(std::move(connection.socket)));
    MIGRATE_ASSIGN(const auto reuse_key, draw_reuse_key(offer));
    MIGRATE_TRY(
        control->send(FrameType::kAccept,
                      transport::encode(transport::Accept{
                          agreement_.session, fmt::format("migrate {}", kVersion),
                          std::string(destination_.memory->description()), devices_.on_channels(),
                          most_channels(offer), agreement_.checksums.used, reuse_key,
                          config_.io_timeout, offer.reconnect_timeout, examination_.warnings()})));
    return control;
}

Result<std::unique_ptr<PeerLink>> Reception::link(std::unique_ptr<transport::ControlChannel> main,
                                                  const transport::Offer& offer,
                                                  std::function<std::optional<bool>()> guest_runs) {
    transport::Sequence sequence;
    MIGRATE_TRY(sequence.pass(transport::Party::kSender, FrameType::kOffer));
    MIGRATE_TRY(sequence.pass(transport::Party::kReceiver, FrameType::kAccept));
    // After this frame the sender waits for this side and need not send heartbeats.
    const bool guest = !offer.guest.empty();
    MIGRATE_ASSIGN(auto link, PeerLink::create(std::move(main),
                                               {.name = "return_path",
                                                .io_timeout = config_.io_timeout,
                                                .guest_runs = std::move(guest_runs),
                                                .last_of_peer = guest ? FrameType::kHandover
                                                                      : FrameType::kComplete,
                                                .party = transport::Party::kReceiver,
                                                .sequence = sequence},
                                               core_.times(), core_.cancellation()));
    const auto kind =
        transport::session_kind(guest, !offer.devices.empty(), devices_.on_channels());
    link->agree(agreement_.times, kind,
                transport::last_frame(kind, offer.reconnect_timeout.has_value()));
    if (offer.settings.get<"postcopy-ram">()) link->allow_postcopy();
    log::info("sender {} ({}) connected: {} channels, {} MiB in {} region(s), {}",
              link->peer_name(), offer.program, offer.settings.channels(),
              total_bytes(offer.regions) / kMiB, offer.regions.size(), link->security().text());
    return link;
}

Result<PostcopySink::NextConnection> Reception::connections_for_postcopy() {
    if (!busy_) return Error("post-copy needs the thread of the listener, which did not start");
    return PostcopySink::NextConnection(
        [busy = busy_.get()](milliseconds timeout, const std::stop_token& stop) {
            return busy->next_for_postcopy(timeout, stop);
        });
}

Result<std::vector<transport::Socket>> Reception::take_channels(transport::Listener& listener,
                                                                const transport::Offer& offer,
                                                                std::uint16_t first,
                                                                std::uint16_t end,
                                                                Channels channels) {
    // A TLS handshake begins only now, and takes more than one round trip.
    const bool short_limit = channels == Channels::kReplacing && !config_.security.tls;
    return collect_channels(
        listener, offer, {first, end, nullptr},
        std::min(config_.handshake_timeout, short_limit ? kReplaceLimit : kTakeLimit));
}

Result<std::vector<transport::Socket>> Reception::collect_channels(transport::Listener& listener,
                                                                   const transport::Offer& offer,
                                                                   const ChannelRange& range,
                                                                   milliseconds timeout) {
    const auto wanted = static_cast<std::uint16_t>(range.end - range.first);
    const auto buffer = offer.settings.get<"multifd-socket-buffer">();
    const Clock::time_point deadline = Clock::now() + timeout;
    std::vector<std::optional<transport::Socket>> connected(wanted);
    std::uint16_t count = 0;
    while (count < wanted) {
        Result<transport::NewConnection> connection =
            next_channel(listener, deadline, range.sender);
        if (!connection) {
            if (connection.error().kind() != ErrorKind::kTimeout)
                return std::move(connection).error();
            return make_error(ErrorKind::kTimeout,
                              "{} of {} channels connected within {} ms (handshake-timeout)", count,
                              wanted, timeout.count());
        }
        const std::uint16_t id = index_of(connection->hello.channel);
        // The sender tries again if a replacement fails. A connection of an earlier attempt may
        // arrive late; the last connection with an id is the one that counts.
        const bool retried = offer.reconnect_timeout.has_value() && range.first != 0;
        if (id < range.first && retried) {
            log::warning("{}: channel {} came late; closed", connection->peer, id);
            continue;
        }
        if (id >= range.end) {
            return make_error(ErrorKind::kProtocol,
                              "the sender connected channel {}; it announced {} channels", id,
                              range.end);
        }
        if (id < range.first || (connected[id - range.first] && !retried)) {
            return make_error(ErrorKind::kProtocol, "the sender connected channel {} twice", id);
        }
        if (!connected[id - range.first]) ++count;
        transport::Socket& socket =
            connected[id - range.first].emplace(std::move(connection->socket));
        MIGRATE_TRY(socket.set_limits(agreement_.times.data));
        MIGRATE_TRY(buffer == kAutoSocketBuffer
                        ? socket.share_path(range.end)
                        : socket.use_buffer(transport::BufferSide::kReceives, buffer));
    }
    std::vector<transport::Socket> sockets;
    for (auto& socket : connected) sockets.push_back(*std::move(socket));
    return sockets;
}

// The same until `deadline`. With `sender`, fails when it is lost or gives up.
Result<transport::NewConnection> Reception::next_channel(transport::Listener& listener,
                                                         Clock::time_point deadline,
                                                         WaitingSender* sender) {
    while (sender != nullptr && Clock::now() + WaitingSender::kInterval < deadline) {
        MIGRATE_TRY(sender->look());
        auto connection = next_channel(listener, WaitingSender::kInterval);
        if (connection || connection.error().kind() != ErrorKind::kTimeout) return connection;
    }
    return next_channel(listener, until(deadline));
}

// Returns the next data connection of this session. Refuses a second sender, and closes a channel
// of another session.
Result<transport::NewConnection> Reception::next_channel(transport::Listener& listener,
                                                         milliseconds timeout) {
    const Clock::time_point deadline = Clock::now() + timeout;
    while (true) {
        MIGRATE_ASSIGN(transport::NewConnection connection,
                       next_connection(listener, until(deadline)));
        if (connection.hello.role == transport::ConnectionRole::kMain) {
            refuse_second_sender(std::move(connection));
        } else if (connection.hello.session != agreement_.session) {
            log::warning("{}: a channel of another session; closed", connection.peer);
        } else if (connection.hello.role == transport::ConnectionRole::kResume) {
            returned_ = std::move(connection);
        } else if (connection.hello.role != transport::ConnectionRole::kData) {
            log::warning("{}: a connection for post-copy, which has not begun; closed",
                         connection.peer);
        } else if (connection.hello.epoch != epoch_) {
            log::warning("{}: a channel of epoch {}, and this is epoch {}; closed", connection.peer,
                         connection.hello.epoch, epoch_);
        } else {
            return connection;
        }
    }
}

// The next connection of any kind; while the BusyListener has the listener, only of this session.
Result<transport::NewConnection> Reception::next_connection(transport::Listener& listener,
                                                            milliseconds timeout) {
    return busy_ ? busy_->next(timeout, core_.token()) : listener.next(timeout, core_.token());
}

Result<transport::Resume> Reception::await_return(transport::Listener& listener,
                                                  const transport::Offer& offer, PeerLink& link,
                                                  const transport::Resumed& here) {
    // The sender may notice the loss later than this side, by io-timeout.
    const milliseconds limit = offer.reconnect_timeout.value_or(milliseconds(0)) +
                               offer.io_timeout.value_or(config_.io_timeout);
    log::info("the receiver waits for the sender for up to {} ms (reconnect-timeout, io-timeout)",
              limit.count());
    const Clock::time_point deadline = Clock::now() + limit;
    while (true) {
        Result<Return> back = next_return(listener, offer, here, until(deadline));
        if (!back && back.error().kind() == ErrorKind::kTimeout) {
            return make_error(ErrorKind::kTimeout,
                              "the main channel was lost, and the sender did not return within {} "
                              "ms (reconnect-timeout, io-timeout)",
                              limit.count());
        }
        if (!back) return std::move(back).error();
        epoch_ = back->connection.hello.epoch;
        transport::Socket& socket = back->connection.socket;
        MIGRATE_TRY(socket.set_limits(transport::StallLimits::both(config_.io_timeout)));
        MIGRATE_ASSIGN(auto control, transport::ControlChannel::create(std::move(socket)));
        MIGRATE_TRY(link.resume(std::move(control)));
        const Status told = link.send(FrameType::kResumed, transport::encode(here));
        if (!told && !link.lost()) return told.error();
        if (!told) continue;
        if (back->resume.handed_over) {
            link.resumed_in_handover(here.handed_over);
        } else {
            link.resumed_in(here.round, here.complete);
        }
        log::info("{}: the sender returned (epoch {})", back->connection.peer, epoch_);
        return std::move(back->resume);
    }
}

// The next connection with which the sender may return.
Result<Reception::Return> Reception::next_return(transport::Listener& listener,
                                                 const transport::Offer& offer,
                                                 const transport::Resumed& here,
                                                 milliseconds timeout) {
    const Clock::time_point deadline = Clock::now() + timeout;
    while (true) {
        std::optional<transport::NewConnection> connection = std::exchange(returned_, std::nullopt);
        if (!connection) {
            MIGRATE_ASSIGN(connection, next_connection(listener, until(deadline)));
        }
        if (connection->hello.role == transport::ConnectionRole::kMain) {
            refuse_second_sender(*std::move(connection));
            continue;
        }
        if (connection->hello.role == transport::ConnectionRole::kData) {
            log::warning("{}: a channel of an earlier epoch or another session; closed",
                         connection->peer);
            continue;
        }
        auto allowed = check_return(*connection, offer, here);
        if (allowed) return Return{*std::move(connection), *std::move(allowed)};
        log::warning("{}: refused: {}", connection->peer, allowed.error().message());
        transport::refuse(std::move(connection->socket), allowed.error().message());
    }
}

Result<transport::Resume> Reception::check_return(const transport::NewConnection& connection,
                                                  const transport::Offer& offer,
                                                  const transport::Resumed& here) const {
    const transport::ConnectionHello& hello = connection.hello;
    if (hello.session != agreement_.session) {
        return Error(ErrorKind::kRefused,
                     "the receiver does not know this session: it is busy with another sender");
    }
    if (hello.epoch <= epoch_) {
        return make_error(ErrorKind::kRefused, "epoch {} was used before; the present one is {}",
                          hello.epoch, epoch_);
    }
    MIGRATE_ASSIGN(transport::Resume resume, transport::decode_resume(connection.offer));
    bool same = resume.sizes.size() == offer.regions.size();
    for (std::size_t i = 0; same && i < offer.regions.size(); ++i) {
        same = resume.sizes[i] == offer.regions[i].size_bytes;
    }
    if (!same) {
        return Error(ErrorKind::kRefused,
                     "the sender's memory changed its size while the connection was lost");
    }
    if (resume.handed_over && !here.loaded) {
        return Error(ErrorKind::kRefused,
                     "the sender returns without its guest, which is not loaded here");
    }
    if (!resume.handed_over && here.handed_over) {
        return Error(ErrorKind::kRefused,
                     "the sender returns with its guest, which it has handed over");
    }
    const bool next =
        here.complete && !here.loaded && resume.round == std::uint64_t{here.round} + 1;
    if (resume.round == here.round || next) return resume;
    return make_error(ErrorKind::kRefused, "the sender returns in round {}, this side is in {}",
                      resume.round, here.round);
}

}  // namespace migrate::engine
