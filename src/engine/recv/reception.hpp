// SPDX-License-Identifier: Apache-2.0
// The receiving side's handshake: waits for a sender that can be served (OfferExamination), accepts
// it, and takes its channels, with which its session begins. Invariant: a sender that
// cannot be served gets the reason; neither it nor one that leaves before its session has begun
// leaves anything behind; the receiver waits for the next one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/checksum_choice.hpp"
#include "engine/link_times.hpp"
#include "engine/peer_link.hpp"
#include "engine/postcopy/postcopy_sink.hpp"
#include "engine/recv/busy_listener.hpp"
#include "engine/recv/offer_examination.hpp"
#include "engine/recv/recv_devices.hpp"
#include "engine/recv/waiting_sender.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"
#include "memory/digest_key.hpp"
#include "transport/handshake.hpp"
#include "transport/listener.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

class Reception {
  public:
    // All outlive this object. `destination`: its memory is null between two senders.
    Reception(const RecvConfig& config, SessionCore& core, guest::Destination& destination,
              RecvDevices& devices)
        : config_(config),
          core_(core),
          destination_(destination),
          devices_(devices),
          examination_(config, core, destination, devices) {}

    // A sender whose session begins: it can be served, and all its channels are connected.
    struct Begun {
        transport::Offer offer;
        std::unique_ptr<transport::ControlChannel> main;
        std::vector<transport::Socket> channels;  // in the order of their ids
        std::chrono::steady_clock::time_point arrived;
    };
    // Returns the first one; the sink is prepared for it. kTimeout after listen-timeout. From the
    // moment a sender comes, another one is told that the receiver is busy. A sender that goes away
    // before all its channels are connected ends nothing.
    Result<Begun> await_session(transport::Listener& listener);

    // The terms that both sides agreed on.
    struct Agreement {
        transport::SessionId session{};
        LinkTimes times;
        ChecksumChoice checksums;
        std::optional<memory::DigestKey> reuse_key;  // nothing: the sender is asked for no digests
    };
    // Starts the link's thread. `guest_runs`: see PeerLink::Options.
    Result<std::unique_ptr<PeerLink>> link(std::unique_ptr<transport::ControlChannel> main,
                                           const transport::Offer& offer,
                                           std::function<std::optional<bool>()> guest_runs);
    const Agreement& agreement() const { return agreement_; }
    // Another user of the listener follows: other senders are no longer refused.
    void leave_listener() { busy_.reset(); }
    // The next connections of post-copy, for another thread, as long as the listener is not left.
    // An Error if another sender would have to wait meanwhile.
    Result<PostcopySink::NextConnection> connections_for_postcopy();
    // `kReplacing` channels take the place of lost ones.
    enum class Channels : std::uint8_t { kFurther, kReplacing };
    // Takes a connection for each of the channels first … end − 1, which ADD_CHANNELS announced.
    // kTimeout if one does not arrive soon.
    Result<std::vector<transport::Socket>> take_channels(transport::Listener& listener,
                                                         const transport::Offer& offer,
                                                         std::uint16_t first, std::uint16_t end,
                                                         Channels channels);

    // The main channel was lost: waits until the sender has made it again, as long as the sender
    // tries. Only this sender may return, with a later epoch than before and the same memory; all
    // others are refused and leave the wait as it is. Tells it where this side is, and returns
    // where the sender is. kTimeout if it does not return.
    Result<transport::Resume> await_return(transport::Listener& listener,
                                           const transport::Offer& offer, PeerLink& link,
                                           const transport::Resumed& here);

  private:
    using Clock = std::chrono::steady_clock;
    struct Sender {
        transport::NewConnection connection;
        transport::Offer offer;
    };
    Result<Sender> await_sender(transport::Listener& listener,
                                std::optional<Clock::time_point> deadline);
    Result<Begun> begin(transport::Listener& listener, Sender sender);
    Result<std::unique_ptr<transport::ControlChannel>> accept(transport::NewConnection connection,
                                                              const transport::Offer& offer);
    Result<std::optional<transport::Offer>> consider(transport::Listener& listener,
                                                     transport::NewConnection& connection);
    Result<transport::NewConnection> next_connection(transport::Listener& listener,
                                                     std::chrono::milliseconds timeout);
    struct Return {
        transport::NewConnection connection;
        transport::Resume resume;
    };
    Result<Return> next_return(transport::Listener& listener, const transport::Offer& offer,
                               const transport::Resumed& here, std::chrono::milliseconds timeout);
    Result<transport::Resume> check_return(const transport::NewConnection& connection,
                                           const transport::Offer& offer,
                                           const transport::Resumed& here) const;
    Result<std::optional<transport::ReuseKey>> draw_reuse_key(const transport::Offer& offer);
    struct ChannelRange {
        std::uint16_t first = 0;
        std::uint16_t end = 0;
        WaitingSender* sender = nullptr;  // looked at meanwhile
    };
    Result<std::vector<transport::Socket>> collect_channels(transport::Listener& listener,
                                                            const transport::Offer& offer,
                                                            const ChannelRange& range,
                                                            std::chrono::milliseconds timeout);
    Result<transport::NewConnection> next_channel(transport::Listener& listener,
                                                  Clock::time_point deadline,
                                                  WaitingSender* sender);
    Result<transport::NewConnection> next_channel(transport::Listener& listener,
                                                  std::chrono::milliseconds timeout);

    const RecvConfig& config_;
    SessionCore& core_;
    guest::Destination& destination_;
    RecvDevices& devices_;
    OfferExamination examination_;
    Agreement agreement_;  // valid from accept() on
    // Null while no sender is considered or served, or if its thread cannot be started.
    std::unique_ptr<BusyListener> busy_;
    std::uint16_t epoch_ = 0;  // of the sender's present main channel
    // The sender came back before this side noticed that the main channel was lost.
    std::optional<transport::NewConnection> returned_;
};

}  // namespace migrate::engine
