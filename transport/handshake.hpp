// The bodies of the control frames, and the rule of the handshake: the sender decides, the receiver
// adopts or refuses by name. Invariant: a decoded message holds only values in range; a key nobody
// knows is ignored, a feature nobody knows is refused.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/device_limits.hpp"
#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "base/units.hpp"
#include "transport/packet_builder.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

inline constexpr std::size_t kMaxRegions = 256;

// multifd-device-state, of either side.
enum class DeviceStateMode { kAuto, kOn, kOff };
std::string_view name_of(DeviceStateMode mode);
Result<DeviceStateMode> device_state_mode_from_name(std::string_view name);

// A device whose state will come.
struct OfferedDevice {
    std::string name;  // is_device_name(), which decode_offer() leaves unchecked
    std::uint32_t instance = 0;
    std::string kind;   // "sim", "stream", "guest"
    std::string words;  // what the receiver must know of one of that kind
};

inline constexpr std::size_t kMaxJourneyOptions = 64;

// Of a migration there and back; legs are counted from 1, the odd ones lead away.
struct Journey {
    std::uint32_t leg = 0;  // 0: there is one migration and no way back
    std::uint32_t legs = 0;
    std::uint16_t return_port = 0;  // where the sender of the odd legs listens
    // For the way back, whose sender was not told otherwise: options by name, and their values.
    std::map<std::string, std::string> options{};  // at most kMaxJourneyOptions
};

struct Offer {
    std::string program;              // "migrate 0.1.0", for the logs
    std::vector<RegionInfo> regions;  // 1 … kMaxRegions
    std::uint16_t channels = 2;       // 1 … kMaxChannels
    std::uint64_t packet_bytes = 0;  // kMinPacketBytes … kMaxPacketBytes, a multiple of kPageSize
    Compression compression = Compression::kNone;
    bool verify = false;  // both sides compute digests
    std::string guest;    // what kind of guest goes on at the receiver; empty: none, an image
    std::vector<OfferedDevice> devices{};                  // at most kMaxDevices
    DeviceStateMode device_state = DeviceStateMode::kOff;  // whether on the data channels
    Journey journey{};
    // The sender's io-timeout, 1 ms … a day; nothing: a program that does not say.
    std::optional<std::chrono::milliseconds> io_timeout{};
    // The file behind each region at the sender: one entry a region, nothing for memory without a
    // file; no entry from a sender that does not tell. And its host, by boot_id(); empty: not
    // known.
    std::string boot_id{};
    std::vector<std::optional<FileIdentity>> files{};
};

struct Accept {
    SessionId session{};
    std::string program;
    std::string sink;           // what it is received into, for the sender's log
    bool device_state = false;  // devices' chunks go on the data channels
    // The receiver's io-timeout, as in the offer.
    std::optional<std::chrono::milliseconds> io_timeout{};
};

// The body of kRoundStart, kRoundEnd and kRoundDone.
struct RoundMark {
    std::uint32_t round = 0;
    std::uint64_t pages = 0;  // of its plan: that many have to come; all pages in the first round
};

// The body of kSwitchoverAck and kLoaded: how long it takes to load and resume the guest, as
// expected before the switchover, and as measured after it.
struct LoadTime {
    std::uint64_t microseconds = 0;
};

struct Completion {
    PageCounts pages;                  // over all rounds
    std::vector<std::string> digests;  // one a region if verify was agreed on, else empty
};

struct Done {
    PageCounts pages;  // as the receiver counted them
    // With a guest: how long resuming it took, and how long it stood still as seen from there: from
    // kSwitchoverStart to its going on.
    std::uint64_t resume_us = 0;
    std::uint64_t downtime_us = 0;
    // How long devices were waited for when all else was in place.
    std::uint64_t devices_us = 0;
};

struct Failure {
    bool cancelled = false;  // by the user, not by an error
    std::string reason;
    // The receiver's word on the guest: that it runs there; or does not and never will, so that the
    // sender may take it back; or, where there is none, that it cannot be known.
    std::optional<bool> guest_runs = false;
    // How it ended there: a word of base/outcome.hpp, or one that this program does not know. Empty
    // from a program that sends none.
    std::string outcome{};
};

std::string encode(const Offer& message);
std::string encode(const Accept& message);
std::string encode(const RoundMark& message);
std::string encode(const LoadTime& message);
std::string encode(const Completion& message);
std::string encode(const Done& message);
std::string encode(const Failure& message);

Result<Offer> decode_offer(std::string_view body);
Result<Accept> decode_accept(std::string_view body);
Result<RoundMark> decode_round_mark(std::string_view body);
Result<LoadTime> decode_load_time(std::string_view body);
Result<Completion> decode_completion(std::string_view body);
Result<Done> decode_done(std::string_view body);
// Never fails: a reason that cannot be read is a reason too. Also reads kRefuse. The text is made
// safe to print.
Failure decode_failure(std::string_view body);

std::string to_hex(const SessionId& session);
// Random, from the kernel.
Result<SessionId> make_session_id();

}  // namespace migrate::transport
