// SPDX-License-Identifier: Apache-2.0
// The tables of the parts of a report; report_json.cpp has that of the whole, accel_members.cpp
// those of the accelerators.
#include "engine/report/report_members.hpp"

#include <cstdint>

namespace migrate::engine {
namespace {

// A rate or a percentage; 0 is not known.
std::optional<std::uint64_t> whole_rate(double value) {
    return value > 0 ? std::optional(static_cast<std::uint64_t>(value)) : std::nullopt;
}

std::optional<double> unless_zero(double value) {
    return value > 0 ? std::optional(value) : std::nullopt;
}

std::uint64_t whole(double value) { return static_cast<std::uint64_t>(value); }

std::optional<std::int64_t> latency_of(const PostcopyReport& report,
                                       std::chrono::nanoseconds time) {
    return report.latency.faults == 0 ? std::nullopt : std::optional(time.count());
}

// The value if the view's side is the sender, else nothing.
template <typename View, typename Get>
auto at_sender(Get get) {
    using Value = std::remove_cvref_t<std::invoke_result_t<const Get&, const View&>>;
    return [get](const View& view) {
        return view.of.side == "send" ? std::optional<Value>(get(view)) : std::nullopt;
    };
}

}  // namespace

const Members<RamView>& MembersOf<RamView>::all() {
    using View = RamView;
    static const Members<View> kAll{
        member<View>("total", "Size of the memory in bytes.",
                     [](const View& ram) { return ram.of.total_bytes; }),
        member<View>("transferred", "Bytes from sender to receiver, with headers.",
                     [](const View& ram) { return ram.of.transferred; }),
        member<View>("normal", "Pages sent with their content.",
                     [](const View& ram) { return ram.of.pages.normal; }),
        member<View>("normal-bytes", "Size of these pages.",
                     [](const View& ram) { return ram.of.pages.normal * kPageSize; }),
        member<View>("duplicate", "Zero pages that the sender found by reading them.",
                     [](const View& ram) { return ram.of.pages.zero; }),
        member<View>("unpopulated", "Pages that were never written at the source.",
                     [](const View& ram) { return ram.of.pages.unpopulated; }),
        member<View>("reused", "Pages that the receiver had already.",
                     [](const View& ram) { return ram.of.reuse.pages; }),
        member<View>("mbps", "Mbit/s (10^6) of transferred over total time minus setup time.",
                     [](const View& ram) { return ram.of.mbps(); }),
        member<View>("pages-per-second", "Pages read and sent per second.",
                     [](const View& ram) { return whole(ram.of.pages_per_second()); }),
        member<View>("page-size", "Bytes.", [](const View&) { return std::uint64_t{kPageSize}; }),
        member<View>("multifd-bytes", "The data channels' part of transferred.",
                     [](const View& ram) { return ram.of.multifd_bytes(); }),
        member<View>("payload-bytes", "Page content in transferred.",
                     [](const View& ram) { return ram.of.payload_bytes; }),
        member<View>("header-bytes", "The rest of transferred.",
                     [](const View& ram) { return ram.of.transferred - ram.of.payload_bytes; }),
        member<View>("dirty-sync-missed-zero-copy",
                     "Sender: how often a channel sent memory in a round, and none without a copy.",
                     at_sender<View>([](const View& ram) -> std::uint64_t {
                         return ram.of.zero_copy ? ram.of.zero_copy->figures.missed_rounds : 0;
                     })),
        member<View>("dirty-sync-count", "With a guest: number of rounds.",
                     [](const View& ram) {
                         return ram.of.guest ? std::optional(ram.of.rounds.size()) : std::nullopt;
                     }),
        member<View>("postcopy-requests", "In post-copy: pages that the guest waited for.",
                     [](const View& ram) {
                         return ram.of.postcopy ? std::optional(ram.of.postcopy->requests)
                                                : std::nullopt;
                     }),
        member<View>("postcopy-bytes", "In post-copy: the part of transferred after the handover.",
                     [](const View& ram) {
                         return ram.of.postcopy ? std::optional(ram.of.postcopy->bytes)
                                                : std::nullopt;
                     }),
        member<View>("planned-pages", "With a guest: pages of all rounds.",
                     [](const View& ram) {
                         return ram.of.guest ? std::optional(ram.of.planned_pages) : std::nullopt;
                     }),
        member<View>(
            "postponed-pages",
            "With a guest: those of them that it had written again before their turn. They were "
            "not sent, and are in the next round's plan.",
            [](const View& ram) {
                return ram.of.guest ? std::optional(ram.of.postponed_pages) : std::nullopt;
            }),
        member<View>("dirty-pages-rate", "While a guest is moved: pages it writes per second.",
                     [](const View& ram) -> std::optional<std::uint64_t> {
                         const Report& report = ram.of;
                         if (!report.guest || report.rounds.empty() || is_final(report.status)) {
                             return std::nullopt;
                         }
                         return whole(report.rounds.back().figures.dirty_pages_per_second());
                     }),
        // QEMU, too, reports it only while the migration runs.
        member<View>("remaining", "While the migration runs: bytes that are still to be sent.",
                     [](const View& ram) {
                         return is_final(ram.of.status) ? std::nullopt
                                                        : std::optional(ram.of.remaining_bytes());
                     })};
    return kAll;
}

const Members<RoundReport>& MembersOf<RoundReport>::all() {
    using Round = RoundReport;
    static const Members<Round> kAll{
        member<Round>("round", "From 1.", [](const Round& one) { return one.figures.round; }),
        member<Round>("pages", "Pages of its plan.",
                      [](const Round& one) { return one.figures.pages; }),
        member<Round>("normal", "Pages of its plan that were sent with their content.",
                      [](const Round& one) { return one.figures.normal_pages; }),
        member<Round>("postponed",
                      "Pages of its plan that the guest had written again before their turn. They "
                      "were not sent, and are in the next round's plan.",
                      [](const Round& one) { return one.figures.postponed_pages; }),
        member<Round>("bytes", "Sent on the data channels.",
                      [](const Round& one) { return one.figures.bytes; }),
        member<Round>("duration-us", "Until the receiver confirmed that all is in place.",
                      [](const Round& one) { return one.figures.duration; }),
        member<Round>("outage-us", "The part of it without a data channel or a main channel.",
                      [](const Round& one) { return one.figures.outage; }),
        member<Round>("collect-us", "Time to collect the dirty pages after it.",
                      [](const Round& one) { return one.figures.collect_time; }),
        member<Round>("dirty-pages", "Pages that the guest wrote since it began.",
                      [](const Round& one) { return one.figures.dirty_pages; }),
        member<Round>("dirty-pages-rate", "The same per second.",
                      [](const Round& one) { return whole(one.figures.dirty_pages_per_second()); }),
        member<Round>("bandwidth", "Bytes per second on which the expectation is based.",
                      [](const Round& one) { return whole(one.decision.bandwidth); }),
        member<Round>("expected-downtime-us", "If the guest were paused now.",
                      [](const Round& one) { return one.decision.expected_downtime; }),
        member<Round>("downtime-limit-us", "The limit in force.",
                      [](const Round& one) { return one.decision.downtime_limit; }),
        member<Round>("smallest-downtime-limit-us",
                      "The smallest downtime-limit that would have allowed the switchover.",
                      [](const Round& one) { return one.decision.smallest_limit; }),
        member<Round>("obstacle", "The reason why the guest was not switched over.",
                      [](const Round& one) { return one.decision.obstacle; }),
        member<Round>("cpu-throttle-percentage", "In force from then on.",
                      [](const Round& one) { return one.decision.cpu_throttle; }),
        member<Round>("stalled", "Further rounds did not help.",
                      [](const Round& one) { return one.decision.stalled; }),
        member<Round>("decision", "What was done after the round.",
                      [](const Round& one) { return one.decision.action; })};
    return kAll;
}

const Members<RoundTotals>& MembersOf<RoundTotals>::all() {
    static const Members<RoundTotals> kAll{
        member<RoundTotals>("rounds", "", &RoundTotals::rounds),
        member<RoundTotals>("pages", "", &RoundTotals::pages),
        member<RoundTotals>("normal", "", &RoundTotals::normal_pages),
        member<RoundTotals>("postponed", "", &RoundTotals::postponed_pages),
        member<RoundTotals>("bytes", "", &RoundTotals::bytes),
        member<RoundTotals>("duration-us", "", &RoundTotals::duration),
        member<RoundTotals>("collect-us", "", &RoundTotals::collect_time)};
    return kAll;
}

const Members<DowntimeReport>& MembersOf<DowntimeReport>::all() {
    using Down = DowntimeReport;
    static const Members<Down> kAll = [] {
        Members<Down> rows;
        for (const DowntimePart& part : kDowntimeParts) {
            rows.push_back(member<Down>(part.key, part.meaning, part.time));
        }
        return rows;
    }();
    return kAll;
}

const Members<PathView>& MembersOf<PathView>::all() {
    using View = PathView;
    static const Members<View> kAll{
        member<View>("remote", "Address of the receiver.",
                     [](const View& one) { return one.path.remote; }),
        member<View>("local", "Address of this host, on the last connection.",
                     [](const View& one) { return unless_empty(one.path.local); }),
        member<View>("interface", "The interface that has it.",
                     [](const View& one) { return unless_empty(one.path.interface_name); }),
        member<View>("main", "The main channel goes by this path.",
                     [](const View& one) { return one.path.main; }),
        member<View>("mptcp", "Both sides use MPTCP on its data channels that work.",
                     [](const View& one) { return one.path.mptcp; }),
        member<View>("channels", "Data channels that work.",
                     [](const View& one) { return one.path.channels; }),
        member<View>("channels-lost", "Data channels that were lost so far.",
                     [](const View& one) { return one.path.channels_lost; }),
        member<View>("bytes", "Sent on its data channels.",
                     [](const View& one) { return one.path.bytes; }),
        member<View>("mbps", "Mbit/s (10^6) of bytes over total time minus setup time.",
                     [](const View& one) { return one.of.mbps_of(one.path.bytes); }),
        member<View>("retransmits", "Packets that TCP sent again.",
                     [](const View& one) { return one.path.retransmits; }),
        member<View>("round-trip-us", "TCP's mean over the data channels that work.",
                     [](const View& one) {
                         return one.path.round_trip.count() != 0
                                    ? std::optional(one.path.round_trip)
                                    : std::nullopt;
                     }),
        member<View>("max-bandwidth", "Bytes per second, if the path has a limit.",
                     [](const View& one) {
                         return one.path.max_bandwidth != 0 ? std::optional(one.path.max_bandwidth)
                                                            : std::nullopt;
                     })};
    return kAll;
}

const Members<DeviceView>& MembersOf<DeviceView>::all() {
    using View = DeviceView;
    static const Members<View> kAll{
        member<View>("name", "", [](const View& one) { return one.device.name; }),
        member<View>("kind", "", [](const View& one) { return one.device.kind; }),
        member<View>("complete", "Saved and sent, or loaded.",
                     [](const View& one) { return one.device.complete; }),
        member<View>("bytes", "", [](const View& one) { return one.device.bytes; }),
        member<View>("chunks", "", [](const View& one) { return one.device.chunks; }),
        member<View>("save-us", "Sender: time in its save functions.",
                     at_sender<View>([](const View& one) { return one.device.save; })),
        member<View>("load-us", "Receiver: time in its load functions.",
                     [](const View& one) {
                         return one.of.side == "send" ? std::nullopt
                                                      : std::optional(one.device.load);
                     }),
        member<View>("config-us", "Saving or loading its configuration.",
                     [](const View& one) { return one.device.config; }),
        member<View>("wait-us", "Waiting for room in the queue, or for the next chunk.",
                     [](const View& one) { return one.device.wait; }),
        member<View>("wire-us", "Sending or receiving, summed over the channels.",
                     [](const View& one) { return one.device.wire; }),
        member<View>("total-us", "", [](const View& one) { return one.device.total; })};
    return kAll;
}

const Members<GuestReport>& MembersOf<GuestReport>::all() {
    using Guest = GuestReport;
    static const Members<Guest> kAll{
        member<Guest>("kind", "", &Guest::kind),
        member<Guest>("state", "QEMU's RunState on this side.", &Guest::state),
        member<Guest>("method", "How it is moved, if there are several ways.",
                      [](const Guest& guest) { return unless_empty(guest.method); }),
        member<Guest>("dirty-tracker", "Sender: how its writes were found.",
                      [](const Guest& guest) { return unless_empty(guest.dirty_tracker); }),
        member<Guest>("attach-us", "Time for which its owner was stopped to attach to it.",
                      [](const Guest& guest) {
                          return guest.stood_still.count() != 0 ? std::optional(guest.stood_still)
                                                                : std::nullopt;
                      }),
        member<Guest>("bytes-per-second-before", "What it wrote before the migration.",
                      [](const Guest& guest) { return whole_rate(guest.rate_before); }),
        member<Guest>("bytes-per-second-during", "What it wrote during the rounds.",
                      [](const Guest& guest) { return whole_rate(guest.rate_during); }),
        member<Guest>("bytes-per-second-after", "What it wrote at the receiver.",
                      [](const Guest& guest) { return whole_rate(guest.rate_after); }),
        member<Guest>("vcpu-percent-before", "CPU time of its vCPUs, in percent of one CPU.",
                      [](const Guest& guest) { return unless_zero(guest.cpu_before); }),
        member<Guest>("vcpu-percent-during", "The same during the migration.",
                      [](const Guest& guest) { return unless_zero(guest.cpu_during); }),
        member<Guest>("longest-gap-us", "Longest gap between two of its writes on this side.",
                      &Guest::longest_gap),
        member<Guest>("check", "The check of its memory: \"passed\", or the error.",
                      [](const Guest& guest) { return unless_empty(guest.check); })};
    return kAll;
}

const Members<PostcopyReport>& MembersOf<PostcopyReport>::all() {
    using Postcopy = PostcopyReport;
    static const Members<Postcopy> kAll{
        member<Postcopy>("missing", "Pages that were missing when the guest began to run there.",
                         &Postcopy::missing),
        member<Postcopy>("normal", "Pages sent or placed with their content.", &Postcopy::normal),
        member<Postcopy>("zero", "Pages that are zero, which cost no page on the wire.",
                         &Postcopy::zero),
        member<Postcopy>("dropped", "Receiver: pages that came although they were not missing.",
                         &Postcopy::dropped),
        member<Postcopy>("duration-us", "Until every page was in place.", &Postcopy::duration),
        member<Postcopy>("interruptions", "How often its connections were lost.",
                         &Postcopy::interruptions),
        member<Postcopy>("paused-us", "The part of the duration without connections.",
                         &Postcopy::paused),
        member<Postcopy>("latency-median-ns",
                         "Receiver: half of the requested pages were in place within this time.",
                         [](const Postcopy& one) { return latency_of(one, one.latency.median); }),
        member<Postcopy>("latency-p99-ns", "The same for 99 of 100.",
                         [](const Postcopy& one) { return latency_of(one, one.latency.p99); }),
        member<Postcopy>("latency-longest-ns", "The same for all.",
                         [](const Postcopy& one) { return latency_of(one, one.latency.longest); })};
    return kAll;
}

const Members<ChannelReport>& MembersOf<ChannelReport>::all() {
    using Channel = ChannelReport;
    static const Members<Channel> kAll{
        member<Channel>("name", "main, 0, 1, …", &Channel::name),
        member<Channel>("bytes", "From sender to receiver, with headers.", &Channel::bytes),
        member<Channel>("payload-bytes", "Page content.", &Channel::payload_bytes),
        member<Channel>("device-bytes", "Device state.", &Channel::device_bytes),
        member<Channel>("packets", "", &Channel::packets),
        member<Channel>("pages", "Pages of all kinds.",
                        [](const Channel& one) { return one.pages.total(); }),
        member<Channel>("normal", "", [](const Channel& one) { return one.pages.normal; }),
        member<Channel>("duplicate", "", [](const Channel& one) { return one.pages.zero; }),
        member<Channel>("unpopulated", "",
                        [](const Channel& one) { return one.pages.unpopulated; })};
    return kAll;
}

const Members<MultifdReport>& MembersOf<MultifdReport>::all() {
    using Multifd = MultifdReport;
    static const Members<Multifd> kAll{
        member<Multifd>("channels", "Number of data channels.", &Multifd::channels),
        member<Multifd>(
            "limited-by", "multifd-channels=auto: why there are not more.",
            [](const Multifd& multifd) { return value_named<ChannelLimit>(multifd.limited_by); }),
        member<Multifd>("reason", "The same in words.", [](const Multifd& multifd) {
            return multifd.limited_by.empty() ? std::nullopt : std::optional(multifd.reason);
        })};
    return kAll;
}

const Members<OutagesView>& MembersOf<OutagesView>::all() {
    using View = OutagesView;
    static const Members<View> kAll{
        member<View>("channels-lost", "Data channels that were lost.",
                     [](const View& view) { return view.of.outages.channels_lost; }),
        member<View>("main-channel-lost", "How often the main channel was lost.",
                     [](const View& view) { return view.of.outages.main_channel_lost; }),
        member<View>("count", "How often there was no data channel or no main channel.",
                     at_sender<View>([](const View& view) { return view.of.outages.outages; })),
        member<View>("duration-us", "How long altogether.",
                     at_sender<View>([](const View& view) { return view.of.outages.duration; })),
        member<View>("pages-sent-again", "", at_sender<View>([](const View& view) {
                         return view.of.outages.pages_sent_again;
                     })),
        member<View>("bytes-lost", "Sent on lost channels and not arrived.",
                     at_sender<View>([](const View& view) { return view.of.outages.bytes_lost; }))};
    return kAll;
}

const Members<ZeroCopyReport>& MembersOf<ZeroCopyReport>::all() {
    using ZeroCopy = ZeroCopyReport;
    static const Members<ZeroCopy> kAll{
        member<ZeroCopy>("used", "It was tried.", &ZeroCopy::used),
        member<ZeroCopy>("sends", "", [](const ZeroCopy& one) { return one.figures.sends; }),
        member<ZeroCopy>("completed", "Sends that the kernel has finished.",
                         [](const ZeroCopy& one) { return one.figures.completed; }),
        member<ZeroCopy>("copied", "Completed sends that the kernel copied all the same.",
                         [](const ZeroCopy& one) { return one.figures.copied; }),
        member<ZeroCopy>("refused", "Sends that the kernel refused, sent with a copy.",
                         [](const ZeroCopy& one) { return one.figures.refused; }),
        member<ZeroCopy>("reason", "Why it was not used, or why channels copied.",
                         [](const ZeroCopy& one) { return unless_empty(one.reason); })};
    return kAll;
}

const Members<ChecksumReport>& MembersOf<ChecksumReport>::all() {
    using Checksums = ChecksumReport;
    static const Members<Checksums> kAll{
        member<Checksums>("used", "Both sides agreed on checksums of packets.", &Checksums::used),
        member<Checksums>("packets", "Packets whose content had one.", &Checksums::with),
        member<Checksums>("without", "Packets whose content had none.", &Checksums::without),
        member<Checksums>("reason", "Why they are not used.",
                          [](const Checksums& one) { return unless_empty(one.reason); })};
    return kAll;
}

const Members<ReuseReport>& MembersOf<ReuseReport>::all() {
    using Reuse = ReuseReport;
    static const Members<Reuse> kAll{
        member<Reuse>("digests", "Pages that the sender asked for.", &Reuse::digests),
        member<Reuse>("pages", "Those that the receiver had.", &Reuse::pages),
        member<Reuse>("bytes", "Sender: size of the questions.", &Reuse::bytes),
        member<Reuse>("time-us", "Until the last answer, or for all answers.", &Reuse::time)};
    return kAll;
}

const Members<ThreadTime>& MembersOf<ThreadTime>::all() {
    static const Members<ThreadTime> kAll{
        member<ThreadTime>("name", "", [](const ThreadTime& one) { return std::string(one.name); }),
        member<ThreadTime>("run-time", "CPU time in ms.", [](const ThreadTime& one) {
            return static_cast<double>(one.run_time_ns) / 1e6;
        })};
    return kAll;
}

const Members<CpuReport>& MembersOf<CpuReport>::all() {
    using Cpu = CpuReport;
    static const Members<Cpu> kAll{
        member<Cpu>("affinity", "Value of cpu-affinity.", &Cpu::affinity),
        member<Cpu>("numa-groups", "Sender: groups of channels near memory of their own.",
                    &Cpu::numa_groups),
        member<Cpu>("host-cpus", "Number of CPUs of this host.", &Cpu::host_cpus),
        member<Cpu>("used-percent", "CPU time used, in percent of the host's.",
                    [](const Cpu& cpu) { return cpu.used_percent(); }),
        member<Cpu>("budget-percent", "Value of cpu-budget, if there is one.",
                    [](const Cpu& cpu) {
                        return cpu.budget_percent != 0 ? std::optional(cpu.budget_percent)
                                                       : std::nullopt;
                    }),
        member<Cpu>("waited-us", "Time that threads waited for the budget.", [](const Cpu& cpu) {
            return cpu.budget_percent != 0 ? std::optional(cpu.use.waited) : std::nullopt;
        })};
    return kAll;
}

const Members<transport::SecurityInfo>& MembersOf<transport::SecurityInfo>::all() {
    using Security = transport::SecurityInfo;
    static const Members<Security> kAll{
        member<Security>("mode", "plaintext, x509 or psk.",
                         [](const Security& one) {
                             return one.is_encrypted() ? one.credentials : std::string("plaintext");
                         }),
        member<Security>("protocol", "",
                         [](const Security& one) { return unless_empty(one.protocol); }),
        member<Security>("cipher", "",
                         [](const Security& one) { return unless_empty(one.cipher); }),
        member<Security>("peer", "Subject of the peer's certificate, or the PSK identity.",
                         [](const Security& one) {
                             return one.is_encrypted() ? std::optional(one.peer) : std::nullopt;
                         })};
    return kAll;
}

}  // namespace migrate::engine
