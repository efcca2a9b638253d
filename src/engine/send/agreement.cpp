// SPDX-License-Identifier: Apache-2.0
#include "engine/send/agreement.hpp"

#include <algorithm>
#include <optional>

#include "base/file_identity.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "transport/sequence.hpp"

namespace migrate::engine {

using transport::FrameType;

namespace {

// With legacy one thread fills the packets of all channels, and would wait for a lost one.
std::optional<std::chrono::milliseconds> offered_reconnect_timeout(const SendConfig& config) {
    if (config.reconnect_timeout.count() == 0) return std::nullopt;
    if (config.detection == ZeroPageDetection::kLegacy) return std::nullopt;
    return config.reconnect_timeout;
}

}  // namespace

transport::Offer make_offer(const SendConfig& config, const memory::PageSource& source,
                            const LiveSource* live, const SendDevices& devices) {
    transport::Offer offer{.program = fmt::format("migrate {}", kVersion),
                           .regions = {source.regions().begin(), source.regions().end()},
                           .settings = config.negotiated,
                           .guest_name = config.guest_name,
                           .guest = live ? std::string(live->guest_kind()) : std::string(),
                           .devices = devices.offered(),
                           .device_state = devices.offered_mode(),
                           .journey = config.journey,
                           .io_timeout = config.io_timeout,
                           .boot_id = boot_id()};
    if (live) offer.machine = live->machine();
    offer.reconnect_timeout = offered_reconnect_timeout(config);
    for (std::size_t i = 0; i < offer.regions.size(); ++i) {
        offer.files.push_back(source.file_of(RegionId{static_cast<std::uint16_t>(i)}));
    }
    return offer;
}

Result<std::unique_ptr<PeerLink>> connect_link(const SendConfig& config, Paths& paths,
                                               const transport::Offer& offer, SessionCore& core) {
    MIGRATE_ASSIGN(transport::Socket socket, paths.connect_main(core.token()));
    MIGRATE_ASSIGN(auto control, transport::ControlChannel::create(std::move(socket)));
    const transport::HelloBytes hello =
        transport::encode_hello({.role = transport::ConnectionRole::kMain});
    std::string opening(reinterpret_cast<const char*>(hello.data()), hello.size());
    opening += transport::encode_frame(FrameType::kOffer, transport::encode(offer));
    transport::Sequence sequence;
    MIGRATE_TRY(sequence.pass(transport::Party::kSender, FrameType::kOffer));
    Status opened = control->send_raw(std::as_bytes(std::span(opening)));
    if (!opened) return std::move(opened).error().with_context("main channel");
    return PeerLink::create(std::move(control),
                            {.name = "return_path",
                             .io_timeout = config.io_timeout,
                             .settled = core.settler(),
                             .party = transport::Party::kSender,
                             .sequence = sequence},
                            core.times(), core.cancellation());
}

Result<Agreement> negotiate(PeerLink& link, const SendConfig& config, bool guest,
                            SendDevices& devices) {
    MIGRATE_ASSIGN(const transport::Frame frame,
                   link.expect_while_heard({FrameType::kAccept}, config.handshake_timeout));
    MIGRATE_ASSIGN(transport::Accept accepted, transport::decode_accept(frame.body));
    MIGRATE_TRY(devices.take_answer(accepted));
    MIGRATE_ASSIGN(ChecksumChoice checksums,
                   take_checksum_answer(config.negotiated.get<"packet-checksum", AutoOnOff>(),
                                        link.security().is_encrypted(), accepted.checksums));
    if (!offered_reconnect_timeout(config)) accepted.reconnect_timeout.reset();
    const LinkTimes times = make_link_times(config.io_timeout, accepted.io_timeout);
    const auto kind = transport::session_kind(guest, devices.any(), devices.on_channels());
    link.agree(times, kind, transport::last_frame(kind, accepted.reconnect_timeout.has_value()));
    if (config.negotiated.get<"postcopy-ram">()) link.allow_postcopy();
    for (const std::string& warning : accepted.warnings)
        log::warning("the receiver says: {}", warning);
    log::debug(
        "agreed: heartbeats every {} ms, data channels stall after {} ms; packet checksums {}; "
        "reconnect-timeout {}; device state {}; page digests {}",
        times.heartbeat.count(), times.data.busy.count(),
        checksums.used ? "on" : "off: " + checksums.reason,
        accepted.reconnect_timeout ? fmt::format("{} ms", accepted.reconnect_timeout->count())
                                   : "off",
        accepted.device_state ? "on the data channels" : "on the main channel",
        accepted.reuse_key ? "wanted" : "not wanted");
    std::optional<memory::DigestKey> key;
    if (accepted.reuse_key && config.negotiated.get<"page-digests">()) {
        key.emplace(*accepted.reuse_key);
    }
    return Agreement{std::move(accepted), times, std::move(checksums), std::move(key)};
}

Microseconds round_trip_of(Microseconds waited, const transport::Ready& ready) {
    const Microseconds prepared(static_cast<std::int64_t>(ready.prepared_us));
    return std::max(waited - prepared, Microseconds(1));
}

}  // namespace migrate::engine
