// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/recv_postcopy.hpp"

#include <vector>

#include "base/log.hpp"
#include "engine/postcopy/postcopy_follow.hpp"
#include "engine/recv/reception.hpp"
#include "guest/workload.hpp"

namespace migrate::engine {

Status check_postcopy(const transport::Offer& offer, const guest::Destination& destination) {
    if (!offer.settings.get<"postcopy-ram">()) return {};
    const memory::PageSink& sink = *destination.memory;
    if (offer.guest != guest::kWorkloadKind || destination.loader || !sink.hosts_guest()) {
        return make_error(
            "postcopy-ram: in post-copy only the built-in guest can arrive, in anon: or memfd:; "
            "start the sender without it for {}",
            sink.description());
    }
    if (destination.reuse) {
        return Error(
            "postcopy-ram and reuse cannot be combined: start one of the two sides "
            "without it");
    }
    Status usable = memory::MissingPages::check_host();
    if (usable) return {};
    return std::move(usable).error().with_context("postcopy-ram");
}

Result<PostcopySink*> RecvPostcopy::begin(PeerLink& link, RecvChannelGroup& channels) {
    if (postcopy_) return postcopy_.get();
    const transport::Offer& offer = needs_.offer;
    if (!offer.settings.get<"postcopy-ram">()) {
        return Error(ErrorKind::kProtocol, "the sender begins post-copy without postcopy-ram");
    }
    warn_of_postcopy();
    MIGRATE_TRY(link.fail_on_loss());
    MIGRATE_TRY(channels.fail_on_loss());
    MIGRATE_ASSIGN(auto next, needs_.reception.connections_for_postcopy());
    std::vector<memory::MissingPages::Memory> memory;
    for (std::size_t i = 0; i < offer.regions.size(); ++i) {
        const RegionId region{static_cast<std::uint16_t>(i)};
        memory.push_back({offer.regions[i], needs_.destination.memory->memory(region),
                          needs_.destination.memory->kind(region)});
    }
    const auto goodbye =
        offer.reconnect_timeout.value_or(std::chrono::milliseconds(0)) + needs_.config.io_timeout;
    MIGRATE_ASSIGN(postcopy_, PostcopySink::create({.regions = offer.regions,
                                                    .next_connection = std::move(next),
                                                    .io_timeout = needs_.config.io_timeout,
                                                    .goodbye = goodbye},
                                                   std::move(memory)));
    needs_.published.lock()->postcopy = postcopy_.get();
    return postcopy_.get();
}

std::string RecvPostcopy::warning() const {
    if (!postcopy_ || postcopy_->progress().state() == PostcopyState::kComplete) return {};
    return "; not all of its memory is here yet: a second signal ends this program and the guest";
}

void RecvPostcopy::finish() {
    if (!postcopy_) return;
    postcopy_->guest_runs();
    if (!follow_postcopy(needs_.core, postcopy_->progress())) return;
    needs_.core.stop_clock();
    postcopy_->await_goodbye();
}

}  // namespace migrate::engine
