// The bodies of the control frames, and the rule of the handshake: the sender decides, the receiver
// adopts or refuses by name. Invariant: a decoded message holds only values in range; a key nobody
// knows is ignored, a feature nobody knows is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "transport/packet_builder.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

inline constexpr std::size_t kMaxRegions = 256;

struct Offer {
    std::string program;              // "migrate 0.1.0", for the logs
    std::vector<RegionInfo> regions;  // 1 … kMaxRegions
    std::uint16_t channels = 2;       // 1 … kMaxChannels
    std::uint64_t packet_bytes = 0;  // kMinPacketBytes … kMaxPacketBytes, a multiple of kPageSize
    Compression compression = Compression::kNone;
    bool verify = false;  // both sides compute digests
};

struct Accept {
    SessionId session{};
    std::string program;
    std::string sink;  // what it is received into, for the sender's log
};

// The body of kRoundStart and kRoundEnd.
struct RoundMark {
    std::uint32_t round = 0;
};

struct Completion {
    PageCounts pages;                  // over all rounds
    std::vector<std::string> digests;  // one a region if verify was agreed on, else empty
};

struct Done {
    PageCounts pages;  // as the receiver counted them
};

struct Failure {
    bool cancelled = false;  // by the user, not by an error
    std::string reason;
};

std::string encode(const Offer& message);
std::string encode(const Accept& message);
std::string encode(const RoundMark& message);
std::string encode(const Completion& message);
std::string encode(const Done& message);
std::string encode(const Failure& message);

Result<Offer> decode_offer(std::string_view body);
Result<Accept> decode_accept(std::string_view body);
Result<RoundMark> decode_round_mark(std::string_view body);
Result<Completion> decode_completion(std::string_view body);
Result<Done> decode_done(std::string_view body);
// Never fails: a reason that cannot be read is a reason too. Also reads kRefuse. The text is made
// safe to print.
Failure decode_failure(std::string_view body);

std::string to_hex(const SessionId& session);
// Random, from the kernel.
Result<SessionId> make_session_id();

}  // namespace migrate::transport
