// SPDX-License-Identifier: Apache-2.0
// The enums whose names are choices of an option. Invariant: a name is written here only; the flag,
// JSON, the help, the wire and the report take it from here.
#pragma once

#include <cstdint>

#include "base/enum_names.hpp"

namespace migrate {

// Values of verify: what both sides compare when all pages have arrived.
enum class Verify { kNone, kDigest };
constexpr auto enum_names(Verify) {
    return names_of_enum<Verify>({{Verify::kNone, "none"}, {Verify::kDigest, "digest"}});
}

// Values of placement: how the receiver fills memory (memory/sink/placement.hpp).
enum class Placement { kAuto, kInPlace, kUffdCopy };
constexpr auto enum_names(Placement) {
    return names_of_enum<Placement>({{Placement::kAuto, "auto"},
                                     {Placement::kInPlace, "in-place"},
                                     {Placement::kUffdCopy, "uffd-copy"}});
}

// Values of zero-page-detection: the thread that looks for zero pages.
enum class ZeroPageDetection {
    kNone,      // none: every populated page is sent
    kLegacy,    // the migration thread, which hands packets over to the channels
    kMultifd,   // every channel's own thread
    kDsaAccel,  // DSA work queues, asked by every channel's own thread
};
constexpr auto enum_names(ZeroPageDetection) {
    return names_of_enum<ZeroPageDetection>({{ZeroPageDetection::kNone, "none"},
                                             {ZeroPageDetection::kLegacy, "legacy"},
                                             {ZeroPageDetection::kMultifd, "multifd"},
                                             {ZeroPageDetection::kDsaAccel, "dsa-accel"}});
}

// Values of accel-completion: the thread that waits for the DSA devices.
enum class CompletionModel {
    kInline,  // each channel, for its own batches
    kThread,  // one thread, for the batches of all channels
};
constexpr auto enum_names(CompletionModel) {
    return names_of_enum<CompletionModel>(
        {{CompletionModel::kInline, "inline"}, {CompletionModel::kThread, "thread"}});
}

// Values of accel-share: the pages that DSA devices check.
enum class AccelShare {
    kAuto,  // as many as they check in time
    kAll,
};
constexpr auto enum_names(AccelShare) {
    return names_of_enum<AccelShare>({{AccelShare::kAuto, "auto"}, {AccelShare::kAll, "all"}});
}

// Values of zero-kernel.
enum class ZeroKernelName { kAuto, kScalar, kAvx2, kAvx512 };
constexpr auto enum_names(ZeroKernelName) {
    return names_of_enum<ZeroKernelName>({{ZeroKernelName::kAuto, "auto"},
                                          {ZeroKernelName::kScalar, "scalar"},
                                          {ZeroKernelName::kAvx2, "avx2"},
                                          {ZeroKernelName::kAvx512, "avx512"}});
}

// Values of multifd-compression. The numbers are on the wire.
enum class Compression : std::uint8_t { kNone = 0, kLz4 = 1, kZstd = 2 };
constexpr auto enum_names(Compression) {
    return names_of_enum<Compression>(
        {{Compression::kNone, "none"}, {Compression::kLz4, "lz4"}, {Compression::kZstd, "zstd"}});
}

// Values of multifd-device-state, zero-copy-send and progress.
enum class AutoOnOff { kAuto, kOn, kOff };
constexpr auto enum_names(AutoOnOff) {
    return names_of_enum<AutoOnOff>(
        {{AutoOnOff::kAuto, "auto"}, {AutoOnOff::kOn, "on"}, {AutoOnOff::kOff, "off"}});
}

// Values of dirty-tracker.
enum class TrackerName { kAuto, kUffdWp, kSoftDirty, kHash };
constexpr auto enum_names(TrackerName) {
    return names_of_enum<TrackerName>({{TrackerName::kAuto, "auto"},
                                       {TrackerName::kUffdWp, "uffd-wp"},
                                       {TrackerName::kSoftDirty, "soft-dirty"},
                                       {TrackerName::kHash, "hash"}});
}

// Values of on-deadline: what happens to a live migration at its deadline.
enum class OnDeadline { kSwitch, kCancel };
constexpr auto enum_names(OnDeadline) {
    return names_of_enum<OnDeadline>(
        {{OnDeadline::kSwitch, "switch"}, {OnDeadline::kCancel, "cancel"}});
}

// Values of fill in anon:; kMixed is followed by the share of random pages in percent.
enum class AnonFill { kUntouched, kRead, kZero, kRandom, kMixed };
constexpr auto enum_names(AnonFill) {
    return names_of_enum<AnonFill>({{AnonFill::kUntouched, "untouched"},
                                    {AnonFill::kRead, "read"},
                                    {AnonFill::kZero, "zero"},
                                    {AnonFill::kRandom, "random"},
                                    {AnonFill::kMixed, "mixed:N"}});
}

// Values of pattern in workload:, which selects the page that a vCPU writes next. The numbers are
// part of the saved state.
enum class WritePattern : std::uint8_t {
    kSequential = 0,  // page after page, round and round
    kUniform = 1,     // any page
    kHotSpot = 2,     // 90 % of the writes go to the first 10 % of the working set
};
constexpr auto enum_names(WritePattern) {
    return names_of_enum<WritePattern>({{WritePattern::kSequential, "sequential"},
                                        {WritePattern::kUniform, "uniform"},
                                        {WritePattern::kHotSpot, "hot-spot"}});
}

// Values of fill in workload:, the pages that have content before the first write. The numbers are
// part of the saved state.
enum class WorkloadFill : std::uint8_t { kWorkingSet = 0, kAll = 1, kNone = 2 };
constexpr auto enum_names(WorkloadFill) {
    return names_of_enum<WorkloadFill>({{WorkloadFill::kWorkingSet, "working-set"},
                                        {WorkloadFill::kAll, "all"},
                                        {WorkloadFill::kNone, "none"}});
}

// Values of memory in workload:.
enum class MemoryKind {
    kAnon,     // private
    kMemfd,    // shared
    kHugetlb,  // shared, in 2 MiB pages of the host's pool, all allocated at once
};
constexpr auto enum_names(MemoryKind) {
    return names_of_enum<MemoryKind>({{MemoryKind::kAnon, "anon"},
                                      {MemoryKind::kMemfd, "memfd"},
                                      {MemoryKind::kHugetlb, "hugetlb"}});
}

// Values of pause in pid:, how the process is stopped for the last round.
enum class PauseBy { kNothing, kSigstop, kFreezer };
constexpr auto enum_names(PauseBy) {
    return names_of_enum<PauseBy>({{PauseBy::kNothing, "none"},
                                   {PauseBy::kSigstop, "sigstop"},
                                   {PauseBy::kFreezer, "freezer"}});
}

// Values of unseen-processes in the sink qemu:.
enum class UnseenProcesses {
    kRefuse,
    kAllow,  // warn: the user vouches for those processes
};
constexpr auto enum_names(UnseenProcesses) {
    return names_of_enum<UnseenProcesses>(
        {{UnseenProcesses::kRefuse, "refuse"}, {UnseenProcesses::kAllow, "allow"}});
}

// Values of machine-differences in qemu:.
enum class MachineDifferences {
    kRefuse,
    kWarn,
    kIgnore,  // the machine is neither described nor compared
};
constexpr auto enum_names(MachineDifferences) {
    return names_of_enum<MachineDifferences>({{MachineDifferences::kRefuse, "refuse"},
                                              {MachineDifferences::kWarn, "warn"},
                                              {MachineDifferences::kIgnore, "ignore"}});
}

// Values of preset in sim:.
enum class SimulatedPreset { kPaper, kIdeal };
constexpr auto enum_names(SimulatedPreset) {
    return names_of_enum<SimulatedPreset>(
        {{SimulatedPreset::kPaper, "paper"}, {SimulatedPreset::kIdeal, "ideal"}});
}

// Values of mode in softdsa:, and the kinds of DSA work queues.
enum class QueueMode : std::uint8_t { kShared, kDedicated };
constexpr auto enum_names(QueueMode) {
    return names_of_enum<QueueMode>(
        {{QueueMode::kShared, "shared"}, {QueueMode::kDedicated, "dedicated"}});
}

}  // namespace migrate
