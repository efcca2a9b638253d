// SPDX-License-Identifier: Apache-2.0
// The forms of --source, --sink, --devices, --accel-path, --tls-creds and --path, with a row for
// each word.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "base/config/choices.hpp"
#include "base/config/form.hpp"
#include "base/device_limits.hpp"
#include "base/limits.hpp"
#include "base/units.hpp"

namespace migrate {

inline constexpr Option kPathOperand{.key = "PATH", .required = true};
// The size of one region.
inline constexpr Option kSizeOperand{.key = "SIZE",
                                     .type = OptionType::kBytes,
                                     .min = kPageSize,
                                     .multiple_of = kPageSize,
                                     .required = true};
inline constexpr Option kSocketOperand{.key = "QMP-SOCKET", .required = true};
inline constexpr Option kBundleOperand{.key = "DIR", .required = true};
inline constexpr std::uint64_t kMaxPid = std::numeric_limits<std::int32_t>::max();

// --source

inline constexpr auto kAnonSourceWords = std::to_array<Option>({
    {.key = "fill",
     .type = OptionType::kChoice,
     .default_text = "untouched",
     .max = 100,
     .choices = kNames<AnonFill>,
     .help = "The content: never touched, only read, zeros, random pages, or N percent random "
             "pages and touched zeros otherwise."},
    {.key = "huge",
     .type = OptionType::kOnOff,
     .default_text = "off",
     .help = "Use transparent huge pages."},
});

inline constexpr unsigned kMaxVcpus = 64;
inline constexpr std::uint64_t kMaxRateMibS = 102400;
inline constexpr auto kWorkloadWords = std::to_array<Option>({
    {.key = "rate",
     .type = OptionType::kInteger,
     .default_text = "200",
     .max = kMaxRateMibS,
     .help = "MiB that the guest writes per second; 0 is no limit."},
    {.key = "pattern",
     .type = OptionType::kChoice,
     .default_text = "uniform",
     .choices = kNames<WritePattern>,
     .help = "The pages that it writes: one after the other, any, or mostly the first tenth."},
    {.key = "working-set",
     .type = OptionType::kBytes,
     .min = kPageSize,
     .multiple_of = kPageSize,
     .help = "Size of the part of the memory, from its start, that the guest writes. Without it: "
             "all memory."},
    {.key = "threads",
     .type = OptionType::kInteger,
     .default_text = "1",
     .min = 1,
     .max = kMaxVcpus,
     .help = "Number of vCPUs."},
    {.key = "seed",
     .type = OptionType::kInteger,
     .default_text = "1",
     .help = "Seed of the writes."},
    {.key = "memory",
     .type = OptionType::kChoice,
     .default_text = "anon",
     .choices = kNames<MemoryKind>,
     .help = "Private memory, shared memory, or 2 MiB pages of the host's pool."},
    {.key = "huge",
     .type = OptionType::kOnOff,
     .default_text = "off",
     .help = "Use transparent huge pages."},
    {.key = "fill",
     .type = OptionType::kChoice,
     .default_text = "working-set",
     .choices = kNames<WorkloadFill>,
     .help = "The pages that have content before the first write."},
    {.key = "warm-up",
     .type = OptionType::kDurationMs,
     .default_text = "500ms",
     .max = 3'600'000,
     .help = "Time that the guest runs before the migration begins."},
});

inline constexpr Option kPidWord{.key = "pid",
                                 .type = OptionType::kInteger,
                                 .min = 1,
                                 .max = kMaxPid,
                                 .value_name = "PID",
                                 .help =
                                     "QEMU's process. Without it: the process that listens on "
                                     "the socket."};
inline constexpr Option kMachineWord{
    .key = "machine-differences",
    .type = OptionType::kChoice,
    .default_text = "refuse",
    .choices = kNames<MachineDifferences>,
    .help =
        "What to do if the machines of both QEMUs differ, by their own descriptions. warn: name "
        "the differences and let QEMU decide whether the guest can be loaded. ignore: compare "
        "nothing."};
inline constexpr auto kQemuSourceWords = std::to_array<Option>({kPidWord, kMachineWord});

inline constexpr auto kProcessWords = std::to_array<Option>({
    {.key = "map",
     .value_name = "FILE",
     .help = "A file to send, which the process maps shared; may occur several times.",
     .required = true,
     .repeats = true},
    {.key = "pause",
     .type = OptionType::kChoice,
     .default_text = "none",
     .choices = kNames<PauseBy>,
     .help = "How to stop the process for the last round: not at all, with SIGSTOP, or with the "
             "freezer of its own cgroup."},
});

inline constexpr auto kSourceForms = std::to_array<Form>({
    {.name = "file",
     .help = "A guest image. A path alone means the same.",
     .operand = kPathOperand},
    {.name = "anon",
     .help = "Synthetic memory, for measurements.",
     .operand = kSizeOperand,
     .words = kAnonSourceWords},
    {.name = "workload",
     .help = "A running synthetic guest.",
     .operand = kSizeOperand,
     .words = kWorkloadWords},
    {.name = "qemu",
     .help = "The guest of a running QEMU.",
     .operand = kSocketOperand,
     .words = kQemuSourceWords},
    {.name = "bundle",
     .help = "A guest that --sink bundle:DIR wrote, which is checked before it is sent.",
     .operand = kBundleOperand},
    {.name = "pid",
     .help = "The shared memory of any process.",
     .operand =
         {.key = "PID", .type = OptionType::kInteger, .min = 1, .max = kMaxPid, .required = true},
     .words = kProcessWords},
});
inline constexpr FormTable kSources{.forms = kSourceForms, .bare_path = true};

// --sink

inline constexpr auto kMemorySinkWords = std::to_array<Option>({
    {.key = "huge",
     .type = OptionType::kOnOff,
     .default_text = "on",
     .help = "Use transparent huge pages if the host allows them; off for 4 KiB pages."},
});

inline constexpr auto kQemuSinkWords = std::to_array<Option>({
    kPidWord,
    {.key = "unseen-processes",
     .type = OptionType::kChoice,
     .default_text = "refuse",
     .choices = kNames<UnseenProcesses>,
     .help = "What to do if this user cannot check whether other processes use QEMU's memory."},
    kMachineWord,
});

inline constexpr auto kSinkForms = std::to_array<Form>({
    {.name = "file", .help = "A file. A path alone means the same.", .operand = kPathOperand},
    {.name = "anon", .help = "Private memory.", .words = kMemorySinkWords},
    {.name = "memfd", .help = "Shared memory.", .words = kMemorySinkWords},
    {.name = "qemu",
     .help = "A QEMU that was started with -incoming defer.",
     .operand = kSocketOperand,
     .words = kQemuSinkWords},
    {.name = "bundle",
     .help = "A folder of its own, which keeps a guest: its memory, its devices and a manifest.",
     .operand = kBundleOperand},
    {.name = "null", .help = "Check the pages and discard them."},
});
inline constexpr FormTable kSinks{.forms = kSinkForms, .bare_path = true};

// --devices

inline constexpr std::uint64_t kMaxSimulatedBytes = kGiB * 1024;
inline constexpr std::uint64_t kMaxSimulatedMs = 600'000;
inline constexpr auto kSimulatedWords = std::to_array<Option>({
    {.key = "count",
     .type = OptionType::kInteger,
     .default_text = "1",
     .min = 1,
     .max = kMaxDevices,
     .help = "Number of instances."},
    {.key = "preset",
     .type = OptionType::kChoice,
     .choices = kNames<SimulatedPreset>,
     .help = "Values for size, rates, fixed and serialised: those of the published devices, or the "
             "same without serialised. Other words override it."},
    {.key = "size",
     .type = OptionType::kBytes,
     .default_text = "100M",
     .max = kMaxSimulatedBytes,
     .help = "Size of the state."},
    {.key = "save-rate",
     .type = OptionType::kBytesPerSecond,
     .default_text = "0",
     .max = kMaxSimulatedBytes,
     .help = "How fast the source reads the state; 0 is no limit."},
    {.key = "load-rate",
     .type = OptionType::kBytesPerSecond,
     .default_text = "0",
     .max = kMaxSimulatedBytes,
     .help = "How fast the destination loads the state; 0 is no limit."},
    {.key = "fixed",
     .type = OptionType::kDurationMs,
     .default_text = "0",
     .max = kMaxSimulatedMs,
     .help = "Time before the first chunk, on each host."},
    {.key = "serialised",
     .type = OptionType::kInteger,
     .default_text = "0",
     .max = 100,
     .value_name = "PERCENT",
     .help = "Percentage of a device's time during which no other device can work."},
    {.key = "seed",
     .type = OptionType::kInteger,
     .default_text = "1",
     .help = "Seed of the content."},
    {.key = "jitter",
     .type = OptionType::kDurationMs,
     .default_text = "0",
     .max = 10'000,
     .help = "Random extra time for each chunk, up to this."},
    {.key = "fail-save",
     .type = OptionType::kBytes,
     .default_text = "0",
     .max = kMaxSimulatedBytes,
     .help = "Fail at this byte while the state is saved; 0 does not fail."},
    {.key = "fail-load",
     .type = OptionType::kBytes,
     .default_text = "0",
     .max = kMaxSimulatedBytes,
     .help = "Fail at this byte while the state is loaded; 0 does not fail."},
});

inline constexpr auto kDeviceForms = std::to_array<Form>({
    {.name = "file",
     .help = "A byte stream that the sender reads and the receiver writes; give it on both sides.",
     .operand = {.key = "NAME=PATH", .required = true}},
    {.name = "fd",
     .help = "The same with an open descriptor.",
     .operand = {.key = "NAME=NUMBER", .required = true}},
    {.name = "sim",
     .help = "A simulated device; give it at the sender only.",
     .operand = {.key = "NAME", .required = true},
     .words = kSimulatedWords},
});
inline constexpr FormTable kDevices{.forms = kDeviceForms};

// --accel-path

inline constexpr auto kSoftDsaWords = std::to_array<Option>({
    {.key = "devices",
     .type = OptionType::kInteger,
     .default_text = "1",
     .min = 1,
     .max = 8,
     .help = "Number of devices."},
    {.key = "mode",
     .type = OptionType::kChoice,
     .default_text = "shared",
     .choices = kNames<QueueMode>,
     .help = "Mode of every queue."},
    {.key = "size",
     .type = OptionType::kInteger,
     .default_text = "128",
     .min = 1,
     .max = 4096,
     .help = "Descriptors that a queue holds."},
    {.key = "threshold",
     .type = OptionType::kInteger,
     .min = 1,
     .max = 4096,
     .help = "Descriptors that a shared queue holds, at most its size. Without it: its size."},
    {.key = "batch",
     .type = OptionType::kInteger,
     .default_text = "32",
     .min = 1,
     .max = 1024,
     .help = "Maximum number of descriptors in a batch; 1 disables batches."},
    {.key = "transfer",
     .type = OptionType::kBytes,
     .default_text = "2M",
     .min = 1,
     .max = 2 * kGiB,
     .help = "Maximum number of bytes in one descriptor."},
    {.key = "engines",
     .type = OptionType::kInteger,
     .default_text = "1",
     .min = 0,
     .max = 16,
     .help = "Threads of each device; 0: the thread that submits a descriptor executes it."},
    {.key = "block-on-fault",
     .type = OptionType::kOnOff,
     .default_text = "off",
     .help = "Support the descriptor flag block-on-fault."},
    {.key = "timing",
     .type = OptionType::kOnOff,
     .default_text = "off",
     .help = "Answer with the timing of the published hardware."},
    {.key = "latency",
     .type = OptionType::kInteger,
     .max = 60'000'000'000,
     .help = "Nanoseconds until an answer; implies timing=on."},
    {.key = "rate",
     .type = OptionType::kBytesPerSecond,
     .min = 1,
     .max = 1024 * kGiB,
     .help = "Bytes per second; implies timing=on."},
    {.key = "faults",
     .value_name = "PLAN",
     .help = "Faults to inject, separated by colons; see accel/softdsa/fault_plan.hpp."},
});

inline constexpr auto kAccelForms = std::to_array<Form>({
    {.name = "dsa",
     .help = "A work queue: dsa:/dev/dsa/wq0.0.",
     .operand = {.key = "PATH", .required = true}},
    {.name = "softdsa",
     .help = "Software devices in this process, with N queues each.",
     .operand = {.key = "N", .type = OptionType::kInteger, .default_text = "1", .min = 1, .max = 8},
     .words = kSoftDsaWords},
});
inline constexpr FormTable kAccelPaths{.forms = kAccelForms};

// --tls-creds

inline constexpr auto kPskWords = std::to_array<Option>({
    {.key = "identity",
     .value_name = "NAME",
     .help = "The line of the file to use. Without it: the only line, or the line 'qemu'. A "
             "receiver accepts every line, or only this one."},
    {.key = "new",
     .value_name = "FILE",
     .help = "Only at the receiver, in place of FILE: make a random key for one session, write it "
             "to this new file, and remove the file when the session ends."},
});

inline constexpr auto kTlsForms = std::to_array<Form>({
    {.name = "none",
     .help = "Neither encryption nor authentication: plaintext, to any host.",
     .alone = true},
    {.name = "x509",
     .help = "Certificates in a folder, with QEMU's names: ca-cert.pem, ca-crl.pem (if there is "
             "one), server-cert.pem, server-key.pem, client-cert.pem and client-key.pem.",
     .operand = {.key = "DIR", .default_text = "/etc/pki/qemu"},
     .alone = true},
    {.name = "psk",
     .help = "Keys that both sides have, in a file with lines IDENTITY:HEX.",
     .operand = {.key = "FILE"},
     .words = kPskWords},
});
inline constexpr FormTable kTlsCreds{.forms = kTlsForms};

// --path

inline constexpr auto kPathWords = std::to_array<Option>({
    {.key = "remote",
     .type = OptionType::kHostPort,
     .min = 1,
     .max = 65535,
     .help = "The receiver's address on this path.",
     .required = true},
    {.key = "local",
     .value_name = "ADDRESS",
     .help = "The address of this host from which to connect. Without it: the kernel's choice."},
    {.key = "dev",
     .value_name = "INTERFACE",
     .help = "The network interface of this host that carries the path, in place of local."},
    {.key = "channels",
     .type = OptionType::kInteger,
     .min = 1,
     .max = kMaxChannels,
     .help = "Number of data channels on this path, out of multifd-channels. Without it: an equal "
             "part of those that are left."},
    {.key = "max-bandwidth",
     .type = OptionType::kBytesPerSecond,
     .default_text = "0",
     .max = 1024 * kGiB,
     .help = "Bandwidth limit for the data channels of this path, in every phase; 0 is no limit."},
    {.key = "mptcp",
     .type = OptionType::kOnOff,
     .default_text = "off",
     .help = "Use MPTCP for the connections of this path, so that the kernels can add subflows. "
             "The receiver needs listen-mptcp=on; without it the path uses plain TCP."},
});

inline constexpr auto kPathForms = std::to_array<Form>({
    {.name = "", .help = "One path.", .words = kPathWords},
});
inline constexpr FormTable kPaths{.forms = kPathForms};

}  // namespace migrate
