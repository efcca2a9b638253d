// The only option table, with one row per option. Flags, JSON keys, --help, --print-config,
// validation, the handshake, the man page, the completion and docs/options.md are all read from it.
// Invariant: an option is one row and the get<"key">() that uses it; there is no other list of
// options. The rows of the channels are in channel_options.hpp, those of the security in
// security_rows.hpp, all others here. The words of the options that have forms are rows of
// form_tables.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "base/config/channel_options.hpp"
#include "base/config/choices.hpp"
#include "base/config/form_tables.hpp"
#include "base/config/option.hpp"
#include "base/config/security_rows.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "base/units.hpp"

namespace migrate {

// The value of run-for for "forever".
inline constexpr std::uint64_t kRunForever = kNoMaximum;
// The value of multifd-normal-page-ratio for "off": one more than its largest value, as published.
inline constexpr std::uint64_t kNormalPageRatioOff = 101;
inline constexpr std::uint64_t kShortestTimeoutMs = 100;
inline constexpr std::uint64_t kLongestTimeoutMs = 86'400'000;  // a day

namespace option_rows {

inline constexpr auto kBeforeChannels = std::to_array<Option>({
    {.key = "connect",
     .type = OptionType::kHostPort,
     .side = OptionSide::kSend,
     .section = OptionSection::kConnection,
     .min = 1,
     .max = 65535,
     .help =
         "The address where 'migrate recv' listens. An IPv6 address goes in brackets: [::1]:4444.",
     .required = true},
    {.key = "listen",
     .type = OptionType::kHostPort,
     .side = OptionSide::kRecv,
     .section = OptionSection::kConnection,
     .min = 0,
     .max = 65535,
     .help = "The address on which to wait for the sender. With port 0 the kernel chooses a port, "
             "and 'migrate recv' prints it.",
     .required = true},
    {.key = "port-file",
     .side = OptionSide::kRecv,
     .section = OptionSection::kConnection,
     .value_name = "FILE",
     .help = "Write the port to this file once the receiver accepts connections."},
    {.key = "connect-timeout",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kConnection,
     .default_text = "10s",
     .min = kShortestTimeoutMs,
     .max = kLongestTimeoutMs,
     .help = "Give up connecting to the receiver after this time."},
    {.key = "listen-timeout",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kRecv,
     .section = OptionSection::kConnection,
     .default_text = "0",
     .max = kLongestTimeoutMs,
     .help = "Give up waiting for a sender after this time; 0 waits forever."},
    {.key = "handshake-timeout",
     .type = OptionType::kDurationMs,
     .section = OptionSection::kConnection,
     .default_text = "10s",
     .min = kShortestTimeoutMs,
     .max = kLongestTimeoutMs,
     .help = "Fail if the peer is silent for this time before the session begins. A receiver that "
             "prepares its memory is not silent."},
    {.key = "io-timeout",
     .type = OptionType::kDurationMs,
     .section = OptionSection::kConnection,
     .default_text = "30s",
     .min = kShortestTimeoutMs,
     .max = kLongestTimeoutMs,
     .help = "Fail if the peer is silent for this long. The two sides may differ; heartbeats "
             "follow the smaller value."},

    kTlsCredsRow,
    kTlsHostnameRow,
    kTlsAuthzRow,

    {.key = "source",
     .type = OptionType::kForm,
     .side = OptionSide::kSend,
     .section = OptionSection::kMemory,
     .forms = &kSources,
     .value_name = "SOURCE",
     .help = "The memory to send.",
     .required = true},
    {.key = "sink",
     .type = OptionType::kForm,
     .side = OptionSide::kRecv,
     .section = OptionSection::kMemory,
     .forms = &kSinks,
     .value_name = "SINK",
     .help = "Where to put the memory.",
     .required = true},
    {.key = "placement",
     .type = OptionType::kChoice,
     .side = OptionSide::kRecv,
     .section = OptionSection::kMemory,
     .default_text = "auto",
     .choices = kNames<Placement>,
     .help = "How pages that were not written before get into memory. auto chooses by the kind of "
             "memory (see 'migrate probe'). in-place: receive straight into it. uffd-copy: the "
             "kernel allocates and fills them in one step (userfaultfd). Choose one only to "
             "measure."},
    {.key = "quit-source",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kMemory,
     .default_text = "off",
     .help = "End the source's QEMU once its guest runs at the destination; off leaves it paused."},
    {.key = "skip-unpopulated",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kMemory,
     .default_text = "on",
     .help = "Do not read memory that was never touched. Off reads all memory, for comparisons."},
    {.key = "verify",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kMemory,
     .default_text = "none",
     .choices = kNames<Verify>,
     .help = "Compare a digest of every region on both sides when all pages have arrived.",
     .negotiated = true},
});

inline constexpr auto kAfterChannels = std::to_array<Option>({
    {.key = "zero-page-detection",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "multifd",
     .choices = kNames<ZeroPageDetection>,
     .help = "The thread or device that looks for zero pages. none: no check; legacy: the "
             "migration thread; multifd: the thread of each channel; dsa-accel: Intel DSA "
             "devices."},
    {.key = "accel-path",
     .type = OptionType::kForms,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .forms = &kAccelPaths,
     .value_name = "PATHS",
     .help = "The work queues of dsa-accel, separated by spaces; in JSON also a list. Without it: "
             "every queue that this user may use."},
    {.key = "accel-completion",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "inline",
     .choices = kNames<CompletionModel>,
     .help = "The thread that waits for the devices. inline: each channel's own thread; thread: "
             "one thread, dsa_completion, for all channels, as in the published design."},
    {.key = "accel-prefilter",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "on",
     .help = "Let the CPU look at the first 64 bytes of a page before a device checks it, while "
             "that recognizes enough pages."},
    {.key = "accel-share",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "auto",
     .choices = kNames<AccelShare>,
     .help = "The pages that the devices check. auto: as many as they check in time, none if they "
             "do not pay off; all: all of them, as in the published design."},
    {.key = "accel-timeout",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "1s",
     .min = 1,
     .max = 60'000,
     .help = "Stop using a queue whose device does not answer for this long."},
    {.key = "accel-verify",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "0",
     .max = 1'000'000,
     .help = "Also check on the CPU every N-th page that a device has checked, and fail if the "
             "results differ; 0 checks none."},
    {.key = "zero-kernel",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "auto",
     .choices = kNames<ZeroKernelName>,
     .help = "The CPU instructions that look for zero pages; auto takes the fastest that this CPU "
             "has."},
    {.key = "multifd-normal-page-ratio",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kZeroPages,
     .default_text = "off",
     .max = 100,
     .word = "off",
     .word_value = kNormalPageRatioOff,
     .help = "For measurements: send N of every 100 pages of a channel as normal pages, whatever "
             "they hold."},

    {.key = "multifd-compression",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kCompression,
     .default_text = "none",
     .choices = kNames<Compression>,
     .help = "Compress each packet that becomes smaller.",
     .negotiated = true},
    {.key = "multifd-lz4-level",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kCompression,
     .default_text = "1",
     .min = 1,
     .max = 12,
     .help = "Level of lz4. A higher level compresses more and takes longer."},
    {.key = "multifd-zstd-level",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kCompression,
     .default_text = "1",
     .max = 20,
     .help = "Level of zstd. A higher level compresses more and takes longer; 0 is the library's "
             "default."},

    {.key = "devices",
     .type = OptionType::kForms,
     .section = OptionSection::kDevices,
     .forms = &kDevices,
     .value_name = "DEVICES",
     .help = "The devices whose state is moved, separated by spaces; in JSON also a list. NAME may "
             "end in #INSTANCE."},
    {.key = "multifd-device-state",
     .type = OptionType::kChoice,
     .section = OptionSection::kDevices,
     .default_text = "auto",
     .choices = kNames<AutoOnOff>,
     .help = "How device state is sent. on: over all channels, together with memory, with a thread "
             "for each device; off: one device after the other, over the main channel; auto: on if "
             "both sides support it."},
    {.key = "device-state-buffer",
     .type = OptionType::kBytes,
     .side = OptionSide::kRecv,
     .section = OptionSection::kDevices,
     .default_text = "128M",
     .min = 4 * kMiB,
     .max = 1024 * kGiB,
     .help = "Memory for device state that has arrived and is not loaded yet; channels wait when "
             "it is full. Needs at least 2 MiB for each device."},

    {.key = "dirty-tracker",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "auto",
     .choices = kNames<TrackerName>,
     .help = "How to find the pages that a running guest writes; 'migrate probe' shows what this "
             "host supports."},
    {.key = "downtime-limit",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "300ms",
     .min = 1,
     .max = 2'000'000,
     .help = "Maximum downtime of the guest: last round, device state, loading and resuming.",
     .live = true},
    {.key = "avail-switchover-bandwidth",
     .type = OptionType::kBytesPerSecond,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "0",
     .max = 1024 * kGiB,
     .help = "The bandwidth to expect in the last round; 0 takes the measured bandwidth.",
     .live = true},
    {.key = "max-downtime",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "0",
     .max = 2'000'000,
     .help =
         "Raise downtime-limit up to this value when the migration stalls; 0 does not raise it.",
     .live = true},
    {.key = "shorten-downtime",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "on",
     .help = "When the guest could be paused within downtime-limit, first send further rounds as "
             "long as each makes the pause much shorter and all of them take at most a tenth of "
             "the time so far. off: switch over at once, as QEMU does.",
     .live = true},
    {.key = "auto-converge",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "off",
     .help = "Throttle the guest's CPUs when it dirties memory faster than the channels send it.",
     .live = true},
    {.key = "throttle-trigger-threshold",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "50",
     .min = 1,
     .max = 100,
     .help = "Throttle after two rounds in which the guest dirtied again at least this percentage "
             "of what was sent.",
     .live = true},
    {.key = "cpu-throttle-initial",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "20",
     .min = 1,
     .max = 99,
     .help = "Percentage of the guest's CPU time that the first throttle step takes.",
     .live = true},
    {.key = "cpu-throttle-increment",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "10",
     .min = 1,
     .max = 99,
     .help = "Percentage that each further throttle step adds.",
     .live = true},
    {.key = "max-cpu-throttle",
     .type = OptionType::kInteger,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "99",
     .min = 1,
     .max = 99,
     .help = "Maximum percentage that throttling takes.",
     .live = true},
    {.key = "deadline",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "0",
     .max = kLongestTimeoutMs,
     .help = "Time after which on-deadline takes effect in a live migration; 0 is no deadline.",
     .live = true},
    {.key = "on-deadline",
     .type = OptionType::kChoice,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "cancel",
     .choices = kNames<OnDeadline>,
     .help = "What to do at the deadline. switch: switch over after the current round, whatever "
             "the downtime; cancel: end the migration and let the guest run at the source.",
     .live = true},
    {.key = "stall-limit",
     .type = OptionType::kDurationMs,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "60s",
     .max = kLongestTimeoutMs,
     .help =
         "End a migration that makes no progress for this long although throttle and downtime "
         "are at their limits, or whose receiver confirms nothing for this long; 0 never ends it.",
     .live = true},
    {.key = "pause-before-switchover",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "off",
     .help = "Pause the guest, then wait for 'migrate-continue' on the QMP socket."},
    {.key = "switchover-ack",
     .type = OptionType::kOnOff,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "off",
     .help = "Do not switch over before the receiver has acknowledged that it can run the guest."},
    {.key = "repeat",
     .type = OptionType::kInteger,
     .section = OptionSection::kLive,
     .default_text = "0",
     .max = 100000,
     .help =
         "Make N round trips: the guest moves to the receiver and back, and the two sides swap "
         "roles. The statistics file has a list with one report for each leg. Both sides need the "
         "option, and the receiver's value is the maximum. 0 is one migration in one direction."},
    {.key = "return-listen",
     .type = OptionType::kHostPort,
     .side = OptionSide::kSend,
     .section = OptionSection::kLive,
     .default_text = "127.0.0.1:0",
     .min = 0,
     .max = 65535,
     .help = "With repeat: the address where this side waits for the guest to come back. Between "
             "two hosts it must be an address that the receiver can reach."},
    {.key = "run-for",
     .type = OptionType::kDurationMs,
     .section = OptionSection::kLive,
     .default_text = "1s",
     .max = kLongestTimeoutMs,
     .word = "forever",
     .word_value = kRunForever,
     .help = "How long a guest runs on this side after the migration, before it is paused, checked "
             "and reported."},
    {.key = "qmp",
     .section = OptionSection::kLive,
     .value_name = "unix:PATH",
     .help =
         "Serve QMP on this socket, so that QEMU's tools can follow and control the migration."},

    {.key = "progress",
     .type = OptionType::kChoice,
     .default_text = "auto",
     .choices = kNames<AutoOnOff>,
     .help = "Show progress; auto shows it if standard error is a terminal."},
    {.key = "json",
     .type = OptionType::kOnOff,
     .default_text = "off",
     .help = "Print one line of JSON on standard output at the end, and nothing else there: the "
             "outcome, its reason and which side has the guest. Reports for people go to standard "
             "error. --json without a value is on.",
     .alone = true},
    {.key = "stats",
     .value_name = "FILE",
     .help = "Write the statistics to this file as JSON with QEMU's field names: at the start "
             "with the status setup, and again at the end."},
    {.key = "events",
     .value_name = "FILE",
     .help = "Write each event to this file when it happens, one JSON object per line."},
    {.key = "log-level",
     .type = OptionType::kChoice,
     .default_text = "info",
     .choices = kNames<log::Level>,
     .help = "Lowest severity of the messages on standard error."},
});

}  // namespace option_rows

inline constexpr auto kOptions = [] {
    using namespace option_rows;
    std::array<Option, kBeforeChannels.size() + kChannels.size() + kAfterChannels.size()> rows{};
    auto end = std::copy(kBeforeChannels.begin(), kBeforeChannels.end(), rows.begin());
    end = std::copy(kChannels.begin(), kChannels.end(), end);
    std::copy(kAfterChannels.begin(), kAfterChannels.end(), end);
    return rows;
}();

}  // namespace migrate
