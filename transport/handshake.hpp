// The bodies of the control frames, and the rule of the handshake: the sender decides; the receiver
// accepts, or refuses and names the reason. Invariant: a decoded message holds only values in
// range; an unknown key is ignored, an unknown feature is refused.
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

// The multifd-device-state setting of either side.
enum class DeviceStateMode { kAuto, kOn, kOff };
std::string_view name_of(DeviceStateMode mode);
Result<DeviceStateMode> device_state_mode_from_name(std::string_view name);

// A device whose state will be sent.
struct OfferedDevice {
    std::string name;  // valid by is_device_name(), which decode_offer() does not check
    std::uint32_t instance = 0;
    std::string kind;   // "sim", "stream", "guest"
    std::string words;  // data that the receiver needs about a device of that kind
};

inline constexpr std::size_t kMaxJourneyOptions = 64;

// A round trip of migrations; legs are counted from 1, the odd ones lead away from the source.
struct Journey {
    std::uint32_t leg = 0;  // 0: a single migration without a way back
    std::uint32_t legs = 0;
    std::uint16_t return_port = 0;  // port on which the sender of the odd legs listens
    // Values of options by name, for the way back if its sender was not configured otherwise.
    std::map<std::string, std::string> options{};  // at most kMaxJourneyOptions
};

struct Offer {
    std::string program;              // "migrate 0.1.0", for the logs
    std::vector<RegionInfo> regions;  // 1 … kMaxRegions
    std::uint16_t channels = 2;       // 1 … kMaxChannels
    std::uint64_t packet_bytes = 0;  // kMinPacketBytes … kMaxPacketBytes, a multiple of kPageSize
    Compression compression = Compression::kNone;
    bool verify = false;  // both sides compute digests
    std::string guest;    // kind of the guest that continues at the receiver; empty: none, an image
    std::vector<OfferedDevice> devices{};                  // at most kMaxDevices
    DeviceStateMode device_state = DeviceStateMode::kOff;  // use of the data channels
    Journey journey{};
    // The sender's io-timeout, 1 ms … a day; empty if the program does not send it.
    std::optional<std::chrono::milliseconds> io_timeout{};
    // boot_id() of the sender's host; empty: not known. `files` has one entry per region: the file
    // behind it at the sender, nothing for memory without a file. It has no entries if the sender
    // does not report them.
    std::string boot_id{};
    std::vector<std::optional<FileIdentity>> files{};
};

struct Accept {
    SessionId session{};
    std::string program;
    std::string sink;           // description of the sink, for the sender's log
    bool device_state = false;  // device chunks go on the data channels
    // The receiver's io-timeout; range and default as in the offer.
    std::optional<std::chrono::milliseconds> io_timeout{};
};

// The body of kRoundStart, kRoundEnd and kRoundDone.
struct RoundMark {
    std::uint32_t round = 0;
    std::uint64_t pages = 0;  // pages of its plan, all of which must come; all pages in round 1
};

// The body of kSwitchoverAck and kLoaded: the time to load and resume the guest, as expected before
// the switchover, and as measured after it.
struct LoadTime {
    std::uint64_t microseconds = 0;
};

struct Completion {
    PageCounts pages;                  // sum over all rounds
    std::vector<std::string> digests;  // one per region if verify was agreed on, else empty
};

struct Done {
    PageCounts pages;  // as counted by the receiver
    // With a guest: the time to resume it, and the downtime that the receiver saw: from
    // kSwitchoverStart until the guest ran again.
    std::uint64_t resume_us = 0;
    std::uint64_t downtime_us = 0;
    // Time for which only the devices were still missing.
    std::uint64_t devices_us = 0;
};

struct Failure {
    bool cancelled = false;  // true if the user cancelled; false after an error
    std::string reason;
    // The receiver's statement on the guest. True: it runs there. False: it does not and never
    // will, so that the sender may take it back. Empty: not known.
    std::optional<bool> guest_runs = false;
    // The outcome there: a word of base/outcome.hpp, or one that this program does not know. Empty
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
// Never fails: an unreadable body yields a default reason. Also reads kRefuse. The text is made
// safe to print.
Failure decode_failure(std::string_view body);

std::string to_hex(const SessionId& session);
// Returns random bytes from the kernel.
Result<SessionId> make_session_id();

}  // namespace migrate::transport
