// The only option table, with one row per option. Flags, JSON keys, --help, --print-config,
// validation, the man page, the completion and the README's table are all read from it. Invariant:
// an option is one row here and the get<"key">() that uses it; there is no other list of options.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/config/option.hpp"
#include "base/error.hpp"
#include "base/units.hpp"

namespace migrate {

// The value of run-for for "forever".
inline constexpr std::uint64_t kRunForever = kNoMaximum;
// The value of multifd-normal-page-ratio for "off": one more than its largest value, as published.
inline constexpr std::uint64_t kNormalPageRatioOff = 101;
inline constexpr std::uint64_t kShortestTimeoutMs = 100;
inline constexpr std::uint64_t kLongestTimeoutMs = 86'400'000;  // a day

inline constexpr auto kOptions = std::to_array<Option>({
    {.key = "connect",
     .type = OptionType::kHostPort,
     .side = OptionSide::kSend,
     .section = OptionSection::kConnection,
     .min = 1,
     .max = 65535,
     .help = "Where 'migrate recv' listens. An IPv6 address goes in brackets: [::1]:4444.",
     .required = true},
    {.key = "listen",
     .type = OptionType::kHostPort,
     .side = OptionSide::kRecv,
     .section = OptionSection::kConnection,
     .min = 0,
     .max = 65535,
     .help = "Where to wait for the sender. Port 0 lets the kernel choose one, which is printed.",
     .required = true},
    {.key = "port-file",
     .side = OptionSide::kRecv,
     .section = OptionSection::kConnection,
     .value_name = "FILE",
     .help = "Write the port that is listened on to this file, once it accepts connections."},
    {.key = "connect-timeout",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kConnection,
     .default_text = "10s",
     .min = kShortestTimeoutMs,
     .max = kLongestTimeoutMs,
     .help = "How long a connection to the receiver may take to come about."},
    {.key = "listen-timeout",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kRecv,
     .section = OptionSection::kConnection,
     .default_text = "0",
     .max = kLongestTimeoutMs,
     .help = "How long to wait for a sender; 0 waits for ever."},
    {.key = "handshake-timeout",
     .type = OptionType::kDurationMs,
     .section = OptionSection::kConnection,
     .default_text = "10s",
     .min = kShortestTimeoutMs,
     .max = kLongestTimeoutMs,
     .help = "How long the two sides may take to agree on a session."},
    {.key = "io-timeout",
     .type = OptionType::kDurationMs,
     .section = OptionSection::kConnection,
     .default_text = "30s",
     .min = kShortestTimeoutMs,
     .max = kLongestTimeoutMs,
     .help =
         "How long the peer may be silent before the migration fails. The two sides may differ; "
         "heartbeats follow the smaller value."},

    {.key = "source",
     .side = OptionSide::kSend,
     .section = OptionSection::kMemory,
     .value_name = "SOURCE",
     .help = "The memory to send: file:PATH (a bare path means file:), a synthetic guest "
             "anon:SIZE[,fill=untouched|read|zero|random|mixed:RATIO][,huge=on], or one that runs: "
             "workload:SIZE and, behind commas, rate=MIB/s, pattern=sequential|uniform|hot-spot, "
             "working-set=SIZE, threads=N, seed=N, memory=anon|memfd|hugetlb, huge=on|off, "
             "fill=working-set|all|none, warm-up=TIME; the guest of a running QEMU: "
             "qemu:QMP-SOCKET[,pid=PID]; or any process's shared memory: "
             "pid:PID,map=FILE[,pause=none|sigstop|freezer].",
     .required = true},
    {.key = "sink",
     .side = OptionSide::kRecv,
     .section = OptionSection::kMemory,
     .value_name = "SINK",
     .help =
         "Where the memory goes: file:PATH (a bare path means file:), anon: for private memory, "
         "memfd: for shared memory, qemu:QMP-SOCKET[,pid=PID][,unseen-processes=refuse|allow] for "
         "a QEMU started with -incoming defer, null: to check and discard.",
     .required = true},
    {.key = "quit-source",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kMemory,
     .default_text = "off",
     .help = "End the source's QEMU once its guest runs elsewhere; off leaves it paused."},
    {.key = "skip-unpopulated",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kMemory,
     .default_text = "on",
     .help = "Leave memory that was never touched unread. Off reads all of it, for comparisons."},
    {.key = "verify",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kMemory,
     .default_text = "none",
     .choices = "none|digest",
     .help = "Compare a digest of every region at both ends after the last byte.",
     .negotiated = true},

    {.key = "multifd-channels",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kChannels,
     .default_text = "2",
     .min = 1,
     .max = 255,
     .help = "Number of parallel TCP channels.",
     .negotiated = true},
    {.key = "multifd-packet-size",
     .type = OptionType::kBytes,
     .side = OptionSide::kSend,
     .section = OptionSection::kChannels,
     .default_text = "512K",
     .min = kPageSize,
     .max = 4 * kMiB,
     .multiple_of = kPageSize,
     .help = "Guest memory that one packet carries at most.",
     .negotiated = true},
    {.key = "max-bandwidth",
     .type = OptionType::kBytesPerSecond,
     .side = OptionSide::kSend,
     .section = OptionSection::kChannels,
     .default_text = "0",
     .max = 1024 * kGiB,
     .help = "Limit for all channels together; 0 is no limit.",
     .live = true},

    {.key = "zero-page-detection",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "multifd",
     .choices = "none|legacy|multifd|dsa-accel",
     .help = "Who looks for zero pages: nobody, the main thread, every channel's own thread, or "
             "Intel DSA devices."},
    {.key = "accel-path",
     .type = OptionType::kWords,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .value_name = "PATHS",
     .help =
         "The work queues of dsa-accel: \"dsa:/dev/dsa/wq0.0 dsa:/dev/dsa/wq1.0\", in JSON also "
         "a list; softdsa:N are N queues of a software device. Without it, every queue this "
         "user may use."},
    {.key = "accel-completion",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "inline",
     .choices = "inline|thread",
     .help = "Who waits for the devices: each channel for its own batches, or one dsa_completion "
             "thread for all, as published."},
    {.key = "accel-timeout",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "1s",
     .min = 1,
     .max = 60'000,
     .help = "How long a device may take to answer before its queue is given up."},
    {.key = "accel-verify",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "0",
     .max = 1'000'000,
     .help = "Check every so many-th page that a device answers for on the CPU, too, and fail if "
             "they differ; 0 checks none."},
    {.key = "zero-kernel",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "auto",
     .choices = "auto|scalar|avx2|avx512",
     .help = "The instructions that look for them; auto takes the best this CPU has."},
    {.key = "multifd-normal-page-ratio",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "off",
     .max = 100,
     .word = "off",
     .word_value = kNormalPageRatioOff,
     .help = "For measurements: of every 100 pages of a channel, send so many as normal pages, "
             "whatever they hold."},

    {.key = "multifd-compression",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kCompression,
     .default_text = "none",
     .choices = "none|lz4|zstd",
     .help = "Compress every packet that becomes smaller by it.",
     .negotiated = true},
    {.key = "multifd-lz4-level",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kCompression,
     .default_text = "1",
     .min = 1,
     .max = 12,
     .help = "Level of lz4; larger is smaller and slower."},
    {.key = "multifd-zstd-level",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kCompression,
     .default_text = "1",
     .max = 20,
     .help = "Level of zstd; larger is smaller and slower, 0 is the library's own default."},

    {.key = "devices",
     .type = OptionType::kWords,
     .section = OptionSection::kDevices,
     .value_name = "DEVICES",
     .help = "Devices whose state goes along, with blanks between them: file:NAME=PATH or "
             "fd:NAME=NUMBER, a stream of bytes, which the receiver is told where to put the same "
             "way; sim:NAME, a simulated one, at the sender only, and, behind commas, count=N, "
             "preset=paper|ideal, size=SIZE, save-rate=SIZE, load-rate=SIZE, fixed=TIME, "
             "serialised=PERCENT, seed=N, jitter=TIME, fail-save=SIZE, fail-load=SIZE."},
    {.key = "multifd-device-state",
     .type = OptionType::kChoice,
     .section = OptionSection::kDevices,
     .default_text = "auto",
     .choices = "auto|on|off",
     .help = "Devices' state on all channels beside memory, every device by threads of its own; "
             "off: one device after the other on the main channel; auto: on where both sides can."},
    {.key = "device-state-buffer",
     .type = OptionType::kBytes,
     .side = OptionSide::kRecv,
     .section = OptionSection::kDevices,
     .default_text = "128M",
     .min = 4 * kMiB,
     .max = 1024 * kGiB,
     .help =
         "Memory for devices' chunks that arrived and are not loaded yet; channels wait when it "
         "is full. At least 2 MiB a device."},

    {.key = "dirty-tracker",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "auto",
     .choices = "auto|uffd-wp|soft-dirty|hash",
     .help = "How writes of a running guest are seen; 'migrate probe' says what this host can."},
    {.key = "downtime-limit",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "300ms",
     .min = 1,
     .max = 2'000'000,
     .help = "How long the guest may stand still: last round, state, loading and resuming.",
     .live = true},
    {.key = "avail-switchover-bandwidth",
     .type = OptionType::kBytesPerSecond,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "0",
     .max = 1024 * kGiB,
     .help = "What the channels will carry in the last round; 0 takes what they carried so far.",
     .live = true},
    {.key = "max-downtime",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "0",
     .max = 2'000'000,
     .help = "How far downtime-limit is raised when the migration stalls; 0 does not raise it.",
     .live = true},
    {.key = "auto-converge",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "off",
     .help = "Throttle the guest's CPUs when it dirties faster than the channels carry.",
     .live = true},
    {.key = "throttle-trigger-threshold",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "50",
     .min = 1,
     .max = 100,
     .help = "Throttle after two rounds in which this percentage of what was sent was dirtied "
             "again.",
     .live = true},
    {.key = "cpu-throttle-initial",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "20",
     .min = 1,
     .max = 99,
     .help = "Percentage of the guest's CPU time that the first throttling takes.",
     .live = true},
    {.key = "cpu-throttle-increment",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "10",
     .min = 1,
     .max = 99,
     .help = "Percentage that each further one takes more.",
     .live = true},
    {.key = "max-cpu-throttle",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "99",
     .min = 1,
     .max = 99,
     .help = "Percentage that is never exceeded.",
     .live = true},
    {.key = "deadline",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "0",
     .max = kLongestTimeoutMs,
     .help = "How long a live migration may take before on-deadline decides; 0 is no deadline.",
     .live = true},
    {.key = "on-deadline",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "cancel",
     .choices = "switch|cancel",
     .help = "At the deadline: switch over after the round under way, whatever the downtime, or "
             "end the migration and leave the guest running here.",
     .live = true},
    {.key = "stall-limit",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "60s",
     .max = kLongestTimeoutMs,
     .help =
         "How long a migration that makes no headway, and has no means left, or whose receiver "
         "confirms nothing while nothing moves, goes on before it ends with the reason; 0 is for "
         "ever.",
     .live = true},
    {.key = "pause-before-switchover",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "off",
     .help = "Pause the guest, then wait for 'migrate-continue' on the qmp socket."},
    {.key = "switchover-ack",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "off",
     .help = "Do not switch over before the receiver has said that it could run the guest."},
    {.key = "repeat",
     .type = OptionType::kInteger,
     .section = OptionSection::kLive,
     .default_text = "0",
     .max = 100000,
     .help = "There and back: the guest goes to the receiver and comes home so many times, the two "
             "swapping roles; stats has a report for each leg, as a list. The receiver needs it, "
             "too, and allows at most as many. 0: one migration, one way."},
    {.key = "return-listen",
     .type = OptionType::kHostPort,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "127.0.0.1:0",
     .min = 0,
     .max = 65535,
     .help = "With repeat: where this side waits for the guest to come home. Between two hosts, an "
             "address that the receiver can reach."},
    {.key = "run-for",
     .type = OptionType::kDurationMs,
     .section = OptionSection::kLive,
     .default_text = "1s",
     .max = kLongestTimeoutMs,
     .word = "forever",
     .word_value = kRunForever,
     .help = "How long a guest that is left running here goes on before it is paused, checked "
             "and reported."},
    {.key = "qmp",
     .section = OptionSection::kLive,
     .value_name = "unix:PATH",
     .help = "Serve QMP on this socket, to follow and steer the migration with QEMU's tools."},

    {.key = "progress",
     .type = OptionType::kChoice,
     .default_text = "auto",
     .choices = "auto|on|off",
     .help = "Show progress; auto does when standard error is a terminal."},
    {.key = "json",
     .type = OptionType::kOnOff,
     .default_text = "off",
     .help =
         "Print nothing but one line of JSON on standard output, at the very end: the outcome, "
         "its reason and who has the guest. Reports for people go to standard error. --json alone "
         "is on.",
     .alone = true},
    {.key = "stats",
     .value_name = "FILE",
     .help = "Write the statistics to this file, as JSON with QEMU's field names: complete at the "
             "end, until then with status setup."},
    {.key = "events",
     .value_name = "FILE",
     .help = "Write what happens to this file as it happens, one JSON object a line."},
    {.key = "log-level",
     .type = OptionType::kChoice,
     .default_text = "info",
     .choices = "debug|info|warning|error",
     .help = "The least important messages to show on standard error."},
});

inline constexpr std::size_t kOptionCount = kOptions.size();

// Index of the row with this key, or kOptionCount.
constexpr std::size_t find_option(std::string_view key) {
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        if (kOptions[i].key == key) return i;
    }
    return kOptionCount;
}

// A string as a template argument.
template <std::size_t Size>
struct FixedString {
    // Implicit on purpose, for get<"key">().
    consteval FixedString(const char (&literal)[Size]) { std::copy_n(literal, Size, text.begin()); }
    constexpr std::string_view view() const { return {text.data(), Size - 1}; }

    std::array<char, Size> text{};
};

// The option table has a row with this key.
template <FixedString Key>
concept HasOptionRow = find_option(Key.view())
< kOptionCount;

// Index of a row by a key known at compile time; a key without a row does not compile.
template <FixedString Key>
requires HasOptionRow<Key>
consteval std::size_t option_index() { return find_option(Key.view()); }

// Returns the index of the row for this key. Fails with kUsage and names the nearest key, or the
// command that the option belongs to.
Result<std::size_t> find_option_for(std::string_view key, Side side);

// Returns the candidate that `text` most likely means, by edit distance. `candidates` is not empty.
std::string_view nearest_name(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace migrate
