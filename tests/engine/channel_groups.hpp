// SPDX-License-Identifier: Apache-2.0
// The channels of both sides of a session in one process, whose connections come and go.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "catch.hpp"
#include "engine/recv/recv_channel_group.hpp"
#include "engine/send/send_channel_group.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/source/page_source.hpp"
#include "tests/engine/session_configs.hpp"
#include "tests/support/must.hpp"
#include "tests/support/negotiated.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::engine {

inline constexpr std::uint16_t kGroupChannels = 3;
// io-timeout of the receiver's end of a silent channel.
inline constexpr std::uint64_t kSilenceMs = 100;

// Both sides of a session. `survive`: it survives the loss of channels.
struct Groups {
    explicit Groups(const std::string& uri, bool survive = false)
        : survives(survive), source(must(memory::open_page_source(uri))) {
        set_negotiated(config.negotiated, "multifd-channels", std::to_string(kGroupChannels));
        set_negotiated(config.negotiated, "verify", "none");
        scanners = must(ScannerSet::create(config, *source));
        sink = must(memory::open_page_sink("anon:"));
        regions.assign(source->regions().begin(), source->regions().end());
        must(sink->prepare(regions));
        placer = must(memory::PagePlacer::create(*sink, regions, 0));
    }
    Groups(const Groups&) = delete;
    Groups& operator=(const Groups&) = delete;

    // Makes a new connection in place of the last one. `silent`: what the sender sends on this
    // channel vanishes, as far as both sides can see on the way.
    void connect(std::optional<std::size_t> silent = std::nullopt) {
        sending.reset();
        receiving.reset();
        std::vector<PathSocket> near;
        std::vector<transport::Socket> far;
        cables.clear();
        for (std::uint16_t i = 0; i < kGroupChannels; ++i) {
            auto pair = make_connection();
            near.push_back({std::move(pair.near)});
            if (i == silent) {
                auto other = transport::make_socket_pair(kSilenceMs);
                swallow(std::exchange(pair.far, std::move(other.far)));
                idle.push_back(std::move(other.near));
            }
            far.push_back(std::move(pair.far));
        }
        sending = must(SendChannelGroup::create(
            std::move(near), {},
            {config, *scanners, pacer, nullptr, times, sender_session, budget}));
        for (std::uint16_t i = 0; i < kGroupChannels; ++i) {
            if (i != silent) take_hello(far[i]);
        }
        receiving = must(RecvChannelGroup::create(
            std::move(far), {.limits = {config.negotiated.packet_bytes(),
                                        config.negotiated.compression(), regions, false},
                             .placer = *placer,
                             .times = times,
                             .session = receiver_session,
                             .budget = budget,
                             .survives_losses = survives}));
        if (survives) sending->survive_losses();
        must(sending->start());
        must(receiving->start());
    }
    // Reads and drops what comes, until the other end has closed.
    void swallow(transport::Socket socket) {
        swallowing = std::jthread([socket = std::move(socket)]() mutable {
            std::array<std::byte, 4096> dropped{};
            while (socket.receive(dropped)) continue;
        });
    }
    // Makes a further connection, which cut() can end.
    transport::SocketPair make_connection() {
        transport::TcpPair pair = transport::make_tcp_pair();
        cables.emplace_back(::dup(pair.near.get()));
        return {transport::adopt(std::move(pair.near)), transport::adopt(std::move(pair.far))};
    }
    // Ends a connection: the sender cannot send any more, and the receiver gets what was sent.
    void cut(std::size_t channel) { ::shutdown(cables[channel].get(), SHUT_RDWR); }
    static void take_hello(transport::Socket& socket) {
        std::array<std::byte, transport::kHelloSize> hello{};
        must(socket.receive(hello));
    }
    // Sends one round from end to end.
    SendChannelGroup::RoundSent round(std::uint32_t number, RoundPlan plan) {
        const std::uint64_t pages = plan.pages();
        receiving->begin_round(number);
        const auto sent = must(sending->run(number, std::move(plan)));
        must(receiving->finish_round(number));
        must(number == 1 ? placer->finish_full_round() : placer->finish_round(pages));
        return sent;
    }

    const bool survives;
    SendConfig config = patient_sender();
    std::unique_ptr<memory::PageSource> source;
    std::vector<RegionInfo> regions;
    std::unique_ptr<ScannerSet> scanners;
    std::unique_ptr<memory::PageSink> sink;
    std::unique_ptr<memory::PagePlacer> placer;
    transport::Pacer pacer{0};
    CpuBudget budget{0};
    ThreadTimes times;
    std::vector<UniqueFd> cables;  // the sender's ends of the connections
    std::vector<transport::Socket> idle;
    std::jthread swallowing;
    Cancellation sender_session;
    Cancellation receiver_session;
    std::unique_ptr<SendChannelGroup> sending;
    std::unique_ptr<RecvChannelGroup> receiving;
};

}  // namespace migrate::engine
