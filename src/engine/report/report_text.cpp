// SPDX-License-Identifier: Apache-2.0
// The list of all figures that `migrate --verbose` prints at the end.
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "engine/report/report.hpp"

namespace migrate::engine {
namespace {

// Lines of "name: value", one after the other.
class Lines {
  public:
    void add(std::string_view name, std::string_view value) {
        text_ += fmt::format("{}: {}\n", name, value);
    }
    void add_ms(std::string_view name, Microseconds time) {
        add(name, fmt::format("{} ms", whole_ms(time)));
    }
    void add_kbytes(std::string_view name, std::uint64_t bytes) {
        add(name, fmt::format("{} kbytes", bytes / kKiB));
    }
    void add_pages(std::string_view name, std::uint64_t pages) {
        add(name, fmt::format("{} pages", pages));
    }

    std::string take() { return std::move(text_); }

  private:
    std::string text_;
};

void add_downtime(Lines& lines, const Report& report) {
    if (report.has_downtime()) {
        const DowntimeReport& down = report.downtime;
        std::string parts;
        for (const DowntimePart& part : kDowntimeParts) {
            std::string words(part.key);
            std::replace(words.begin(), words.end(), '-', ' ');
            parts +=
                fmt::format("{}{} {}", parts.empty() ? "" : ", ", words, (down.*part.time).count());
        }
        lines.add("downtime", fmt::format("{} ms ({} us: {})", whole_ms(down.total),
                                          down.total.count(), parts));
    } else if (report.status != MigrationStatus::kCompleted && !report.rounds.empty()) {
        lines.add_ms("expected downtime", report.expected_downtime);
    }
}

void add_guest_speed(Lines& lines, const GuestReport& guest) {
    constexpr double kMiBBytes = static_cast<double>(kMiB);
    if (guest.rate_before > 0 && guest.rate_during > 0) {
        lines.add("guest speed",
                  fmt::format("{:.0f} MiB/s written before, {:.0f} MiB/s during",
                              guest.rate_before / kMiBBytes, guest.rate_during / kMiBBytes));
    }
    if (guest.cpu_before > 0 && guest.cpu_during > 0) {
        lines.add("guest speed", fmt::format("vCPUs used {:.0f} % of a CPU before, {:.0f} % during",
                                             guest.cpu_before, guest.cpu_during));
    }
}

void add_guest_state(Lines& lines, const Report& report) {
    if (!report.guest) return;
    lines.add("guest", fmt::format("{}, {}", report.guest->kind, report.guest->state));
}

void add_guest(Lines& lines, const Report& report) {
    add_guest_state(lines, report);
    if (!report.guest) return;
    const GuestReport& guest = *report.guest;
    if (!guest.check.empty()) lines.add("guest memory check", guest.check);
    if (guest.stood_still.count() != 0) {
        lines.add("attached within", fmt::format("{} us", guest.stood_still.count()));
    }
    if (report.side == "send") {
        add_guest_speed(lines, guest);
        lines.add("dirty sync count", fmt::format("{}", report.rounds.size()));
        lines.add_pages("postponed", report.postponed_pages);
        lines.add("cpu throttle percentage", fmt::format("{}", guest.cpu_throttle));
    }
}

void add_ram(Lines& lines, const Report& report) {
    lines.add_kbytes("transferred ram", report.transferred);
    lines.add("throughput", fmt::format("{:.2f} mbps", report.mbps()));
    if (!is_final(report.status)) lines.add_kbytes("remaining ram", report.remaining_bytes());
    lines.add_kbytes("total ram", report.total_bytes);
    lines.add_pages("duplicate", report.pages.zero);
    lines.add_pages("normal", report.pages.normal);
    lines.add_kbytes("normal bytes", report.pages.normal * kPageSize);
    lines.add_pages("unpopulated", report.pages.unpopulated);
    lines.add_kbytes("page size", kPageSize);
    lines.add_kbytes("multifd bytes", report.multifd_bytes());
    lines.add("payload bytes", fmt::format("{} bytes", report.payload_bytes));
    lines.add("header bytes", fmt::format("{} bytes", report.transferred - report.payload_bytes));
    lines.add("pages-per-second", fmt::format("{:.0f}", report.pages_per_second()));
}

void add_reuse(Lines& lines, const ReuseReport& report) {
    if (report.digests == 0) return;
    lines.add("reused", fmt::format("{} of {} pages that the sender asked for, within {} ms",
                                    report.pages, report.digests, whole_ms(report.time)));
}

void add_multifd(Lines& lines, const MultifdReport& report) {
    if (report.channels == 0) return;
    lines.add("multifd channels", report.limited_by.empty()
                                      ? std::to_string(report.channels)
                                      : fmt::format("{} (auto; limited by {}: {})", report.channels,
                                                    report.limited_by, report.reason));
}

void add_paths(Lines& lines, const Report& report) {
    for (const PathReport& path : report.paths) {
        std::string text;
        if (!path.local.empty()) text += fmt::format("from {}", path.local);
        if (!path.interface_name.empty()) text += fmt::format(" ({})", path.interface_name);
        if (!text.empty()) text += ", ";
        if (path.main) text += "main channel, ";
        if (path.mptcp) text += "MPTCP, ";
        text += fmt::format("{} channels", path.channels);
        if (path.channels_lost != 0) text += fmt::format(" ({} lost)", path.channels_lost);
        const std::string round_trip = path.round_trip.count() == 0
                                           ? "unknown"
                                           : fmt::format("{} us", path.round_trip.count());
        text += fmt::format(", {} bytes, {:.2f} mbps, {} retransmits, round trip {}", path.bytes,
                            report.mbps_of(path.bytes), path.retransmits, round_trip);
        if (path.max_bandwidth != 0) {
            text += fmt::format(", max-bandwidth {} bytes/s", path.max_bandwidth);
        }
        lines.add("path " + path.remote, text);
    }
}

void add_outages(Lines& lines, const Report& report) {
    const OutageReport& outages = report.outages;
    if (outages.channels_lost == 0 && outages.outages == 0) return;
    std::string text = fmt::format("{} channels lost", outages.channels_lost);
    if (outages.main_channel_lost != 0) {
        text += fmt::format(" (the main channel {} times)", outages.main_channel_lost);
    }
    if (report.side == "send") {
        text += fmt::format("; {} pages sent again, {} bytes lost; {} times no channel, {} ms",
                            outages.pages_sent_again, outages.bytes_lost, outages.outages,
                            whole_ms(outages.duration));
    }
    lines.add("outages", text);
}

void add_postcopy(Lines& lines, const PostcopyReport& report) {
    const auto us = [](std::chrono::nanoseconds time) { return time.count() / 1000; };
    lines.add("postcopy",
              fmt::format("{} pages missing at the handover, {} sent or placed, {} zero; "
                          "{} ms, interrupted {} times for {} ms",
                          report.missing, report.normal, report.zero, whole_ms(report.duration),
                          report.interruptions, whole_ms(report.paused)));
    lines.add("postcopy request count", fmt::format("{}", report.requests));
    const FaultLatencyReport& latency = report.latency;
    if (latency.faults == 0) return;
    lines.add(
        "postcopy latency",
        fmt::format("{} us on average, median {} us, 99 % within {} us, at most {} us",
                    us(latency.average), us(latency.median), us(latency.p99), us(latency.longest)));
    std::string distribution;
    for (std::size_t power = 0; power < latency.distribution.size(); ++power) {
        if (latency.distribution[power] == 0) continue;
        distribution += fmt::format("{}{} … {} us: {}", distribution.empty() ? "" : ", ",
                                    std::uint64_t{1} << power, std::uint64_t{2} << power,
                                    latency.distribution[power]);
    }
    lines.add("postcopy latency distribution", distribution);
}

void add_zero_copy(Lines& lines, const ZeroCopyReport& report) {
    if (!report.used) return;
    const transport::ZeroCopyFigures& figures = report.figures;
    lines.add("zero copy",
              fmt::format("{} sends, {} copied by the kernel, {} refused, {} rounds missed{}{}",
                          figures.sends, figures.copied, figures.refused, figures.missed_rounds,
                          report.reason.empty() ? "" : "; ", report.reason));
}

void add_checksums(Lines& lines, const ChecksumReport& report) {
    const std::string without =
        report.without == 0 ? "" : fmt::format(", {} packets without", report.without);
    lines.add("packet checksum", report.used ? fmt::format("{} packets{}", report.with, without)
                                             : "off: " + report.reason);
}

void add_cpu(Lines& lines, const CpuReport& cpu) {
    const std::string budget = cpu.budget_percent == 0
                                   ? ""
                                   : fmt::format(" (cpu-budget {} %, waited {} ms)",
                                                 cpu.budget_percent, whole_ms(cpu.use.waited));
    lines.add("cpu used",
              fmt::format("{:.1f} % of {} CPUs{}", cpu.used_percent(), cpu.host_cpus, budget));
}

void add_devices(Lines& lines, const Report& report) {
    const bool sends = report.side == "send";
    for (const DeviceReport& device : report.devices) {
        lines.add(
            "device " + device.name,
            fmt::format("{} bytes in {} chunks, {} {} ms, waited {} ms, wire {} ms, {} after {} ms",
                        device.bytes, device.chunks, sends ? "save" : "load",
                        whole_ms(sends ? device.save : device.load), whole_ms(device.wait),
                        whole_ms(device.wire), device.complete ? "complete" : "NOT COMPLETE",
                        whole_ms(device.total)));
    }
}

void add_accel(Lines& lines, const accel::AccelReport& accel) {
    const accel::AccelCounts counts = accel.total();
    lines.add(
        accel.software ? "software DSA" : "DSA",
        fmt::format("{} pages in {} batches on {} queues, {} pages finished on the CPU",
                    counts.descriptors, counts.batches, accel.queues.size(), counts.cpu_pages));
    lines.add("DSA share",
              fmt::format("{:.1f} % of the pages checked whole; per page: device {:.0f} ns, CPU "
                          "{:.0f} ns; {}",
                          accel.share.device_part * 100, accel.share.device_ns, accel.share.cpu_ns,
                          accel.share.reason));
    lines.add("DSA troubles",
              fmt::format("{} retries, {} times full, faults: {} of pages, {} of lists, {} of "
                          "records, {} bad statuses, {} timeouts",
                          counts.retries, counts.full, counts.page_faults, counts.list_faults,
                          counts.record_faults, counts.bad_statuses, counts.timeouts));
    for (const accel::AccelQueueReport& queue : accel.queues) {
        if (!queue.trouble.empty()) lines.add(queue.name, queue.trouble);
    }
}

}  // namespace

std::string to_text(const Report& report) {
    Lines lines;
    lines.add("Migration status", name_of(report.status));
    if (!report.error_desc.empty()) lines.add("error", report.error_desc);
    if (report.outcome && report.outcome != Outcome::kCompleted) {
        lines.add("outcome", name_of(*report.outcome));
        lines.add("guest owner", name_of(report.guest_owner));
    }
    lines.add_ms("total time", report.total_time);
    // Without a peer there are no figures but zeros.
    if (report.peer.empty() && report.transferred == 0) {
        add_guest_state(lines, report);
        return lines.take();
    }
    if (!report.peer.empty()) lines.add("security", report.security.text());
    lines.add_ms("setup", report.setup_time);
    add_downtime(lines, report);
    add_guest(lines, report);
    add_ram(lines, report);
    add_reuse(lines, report.reuse);
    add_multifd(lines, report.multifd);
    add_paths(lines, report);
    add_outages(lines, report);
    if (report.postcopy) add_postcopy(lines, *report.postcopy);
    if (report.zero_copy) add_zero_copy(lines, *report.zero_copy);
    if (report.checksums) add_checksums(lines, *report.checksums);
    add_cpu(lines, report.cpu);
    add_devices(lines, report);
    if (report.accel) add_accel(lines, *report.accel);
    for (std::size_t i = 0; i < report.digests.size(); ++i) {
        lines.add(fmt::format("digest of region {}", i), report.digests[i] + " on both sides");
    }
    return lines.take();
}

}  // namespace migrate::engine
