// SPDX-License-Identifier: Apache-2.0
#include "bench/plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/config/unit_text.hpp"
#include "base/units.hpp"

namespace migrate::bench {
namespace {

constexpr std::uint64_t kSmallestGuest = 16 * kMiB;

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
    for (std::size_t at = text.find(what); at != std::string::npos;
         at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
    return text;
}

// The part of the guest's pages that are sent with their content, in percent.
unsigned content_percent(const Variant& variant) {
    unsigned percent = 0;
    const std::string& source = variant.source;
    if (source.starts_with("image:")) percent = image_spec(source, 0).percent;
    if (const std::size_t at = source.find("fill=mixed:"); at != std::string::npos)
        percent = static_cast<unsigned>(std::atoi(source.c_str() + at + 11));
    const bool workload = source.starts_with("workload:") && !contains(source, "fill=none");
    if (contains(source, "fill=random") || workload) percent = 100;
    const std::string ratio = option_in(variant.send, "multifd-normal-page-ratio");
    if (!ratio.empty() && ratio != "off")
        percent = std::max(percent, static_cast<unsigned>(std::atoi(ratio.c_str())));
    return std::min(percent, 100U);
}

std::uint64_t sender_memory(const Variant& variant, std::uint64_t guest) {
    const std::string& source = variant.source;
    const bool holds_pages = source.starts_with("image:") || contains(source, "fill=zero") ||
                             contains(source, "fill=random") || contains(source, "fill=mixed") ||
                             (source.starts_with("workload:") && !contains(source, "fill=none"));
    // Page tables of memory that is mapped page by page.
    return holds_pages ? guest : guest / 512;
}

std::uint64_t receiver_memory(const Variant& variant, std::uint64_t guest) {
    if (variant.sink == "null:") return 0;
    const unsigned percent = content_percent(variant);
    // Scattered pages of content leave no huge page untouched.
    const bool huge = variant.sink == "anon:";
    return huge && percent > 0 ? guest : guest / 100 * percent;
}

std::string too_large(std::uint64_t needed, const Limits& limits) {
    return fmt::format("{} of memory are needed, {} may be used", format_bytes(needed),
                       format_bytes(limits.memory));
}

// Leaves the received pages out, or the variant, where memory does not suffice.
void fit(PlannedVariant& planned, const Limits& limits) {
    const std::uint64_t at_sender = sender_memory(planned.variant, planned.guest);
    std::uint64_t at_receiver = receiver_memory(planned.variant, planned.guest);
    const bool can_discard = !planned.peer.has_value() && !planned.source.starts_with("workload:");
    if (at_sender + at_receiver > limits.memory && at_receiver > 0 && can_discard &&
        at_sender <= limits.memory) {
        planned.sink = "null:";
        planned.notes.push_back(fmt::format(
            "received pages are checked and discarded (null:): {} do not fit into memory",
            format_bytes(at_receiver)));
        at_receiver = 0;
    }
    if (at_sender + at_receiver > limits.memory) {
        planned.skipped = too_large(at_sender + at_receiver, limits);
    }
    planned.warm = at_receiver + (planned.image ? 0 : at_sender);
}

// Chooses the software device where there is no DSA. It may make the guest smaller, so that it
// comes before everything that depends on the size.
void choose_device(PlannedVariant& planned, const Mode& mode, const Limits& limits) {
    if (option_in(planned.send, "zero-page-detection") != "dsa-accel" || limits.dsa) return;
    if (!option_in(planned.send, "accel-path").empty()) return;
    planned.send.emplace_back("accel-path", "softdsa:2");
    planned.label += " (software device)";
    planned.notes.emplace_back(
        "no DSA work queue here: the software device ran, which says nothing about the hardware's "
        "speed");
    // The software device takes some 3 s a GiB: at the published sizes, minutes a run for nothing.
    const std::uint64_t quick = scaled_guest(planned.variant.quick_guest, mode.scale);
    if (quick >= planned.guest) return;
    planned.guest = quick;
    planned.notes.push_back(
        fmt::format("it checked a guest of {} only, for its slowness", format_bytes(quick)));
}

PlannedVariant plan_variant(const Variant& variant, const Mode& mode, const Limits& limits) {
    PlannedVariant planned;
    planned.variant = variant;
    planned.name = variant.name;
    planned.label = variant.label;
    planned.guest = scaled_guest(mode.quick ? variant.quick_guest : variant.guest, mode.scale);
    planned.send = variant.send;
    choose_device(planned, mode, limits);
    planned.backing = backing_of(variant.source, variant.send);
    if (variant.source.starts_with("image:")) {
        planned.image = image_spec(variant.source, planned.guest);
        planned.source = "file:{image}";
    } else {
        planned.source = replaced(variant.source, "{size}", exact_bytes_text(planned.guest));
    }
    planned.sink = variant.sink == "tmpfs:" ? "file:{scratch}/arrived.mem" : variant.sink;
    return planned;
}

// The same variant, run by a QEMU.
PlannedVariant peer_of(const PlannedVariant& ours, const Peer& peer) {
    PlannedVariant planned = ours;
    planned.name += "-" + peer.name;
    planned.label = peer.label + ": " + ours.variant.label;
    planned.peer = peer;
    planned.notes.clear();
    planned.skipped = peer.missing;
    if (planned.skipped.empty() && ours.variant.sink == "null:") {
        planned.skipped = "QEMU has no receiver that discards";
    }
    if (planned.skipped.empty() && ours.source.starts_with("workload:")) {
        planned.skipped = "QEMU has no such guest";
    }
    // QEMU asks for huge pages, and looks at every page.
    if (!planned.image) {
        planned.backing = contains(ours.source, "fill=zero")
                              ? "touched zeros, read"
                              : "never touched, read: the huge zero page where the host allows it";
    }
    planned.variant.published = Json();
    planned.variant.compare_to.clear();
    return planned;
}

// Memory of the source or target, and of both where one is copied to the other.
std::uint64_t baseline_memory(const BaselineSpec& spec, std::uint64_t guest) {
    switch (spec.kind) {
        case BaselineSpec::Kind::kIperf3:
            return 0;
        case BaselineSpec::Kind::kRead:
            return guest;
        case BaselineSpec::Kind::kCopy:
            return 2 * guest;
        case BaselineSpec::Kind::kNetwork:
            break;
    }
    const bool keeps = spec.receiver != Receiver::kDiscard && spec.receiver != Receiver::kTruncate;
    return keeps ? 2 * guest : guest;
}

std::string baseline_backing(const BaselineSpec& spec) {
    const std::string pages = spec.pages == PageSizing::kHuge ? "huge pages" : "4 KiB pages";
    switch (spec.kind) {
        case BaselineSpec::Kind::kIperf3:
            return "iperf3's own buffer";
        case BaselineSpec::Kind::kRead:
            return "touched zeros, " + pages;
        case BaselineSpec::Kind::kCopy:
            return "random, huge pages";
        case BaselineSpec::Kind::kNetwork:
            break;
    }
    return "random, " + pages;
}

PlannedVariant plan_baseline(const Variant& variant, const Mode& mode, const Limits& limits) {
    PlannedVariant planned;
    planned.variant = variant;
    planned.baseline = variant.baseline;
    planned.name = variant.name;
    planned.label = variant.label;
    planned.guest = scaled_guest(mode.quick ? variant.quick_guest : variant.guest, mode.scale);
    planned.backing = baseline_backing(*variant.baseline);
    planned.sink = "baseline: " + variant.baseline->words();
    const std::uint64_t needed = baseline_memory(*variant.baseline, planned.guest);
    if (variant.baseline->kind == BaselineSpec::Kind::kIperf3) {
        planned.skipped = limits.iperf3_missing;
    } else if (needed > limits.memory) {
        planned.skipped = too_large(needed, limits);
    }
    return planned;
}

}  // namespace

std::size_t Plan::runs() const {
    const auto runs =
        std::count_if(variants.begin(), variants.end(),
                      [](const PlannedVariant& variant) { return variant.skipped.empty(); });
    return static_cast<std::size_t>(runs) * (repeats + warm_ups);
}

std::uint64_t scaled_guest(std::uint64_t bytes, double scale) {
    const auto scaled =
        static_cast<std::uint64_t>(std::llround(static_cast<double>(bytes) * scale));
    return std::max(kSmallestGuest, scaled / kHugePageSize * kHugePageSize);
}

std::string backing_of(const std::string& source, const OptionList& send) {
    const bool read = option_in(send, "skip-unpopulated") == "off";
    if (source.starts_with("image:")) {
        const ImageSpec spec = image_spec(source, 0);
        return fmt::format("file on tmpfs, {} % {} pages, {} % written zeros", spec.percent,
                           spec.kind == ImageSpec::Kind::kMixed ? "random" : "compressible",
                           100 - spec.percent);
    }
    if (source.starts_with("workload:")) {
        return contains(source, "fill=none")
                   ? (read ? "running guest, memory never touched but read"
                           : "running guest, memory never touched")
                   : "running guest, random pages";
    }
    const std::string scanned = read ? ", read" : ", found by page table";
    if (contains(source, "fill=read")) {
        return (contains(source, "huge=on") ? "huge zero page" : "shared 4 KiB zero page") +
               scanned;
    }
    if (contains(source, "fill=zero")) return "touched zeros, read";
    if (contains(source, "fill=random")) return "random pages";
    if (contains(source, "fill=mixed")) return "random pages and touched zeros";
    return read ? "never touched, read" : "never touched, not read";
}

Plan make_plan(Scenario scenario, const Mode& mode, const Limits& limits) {
    Plan plan;
    plan.repeats = mode.quick ? scenario.quick_repeats : scenario.repeats;
    plan.warm_ups = mode.quick ? scenario.quick_warm_ups : scenario.warm_ups;
    plan.legs = mode.quick ? scenario.quick_legs : scenario.legs;
    Peer installed;
    installed.missing = limits.peer_missing;
    std::vector<Peer> peers{std::move(installed)};
    peers.insert(peers.end(), limits.more_peers.begin(), limits.more_peers.end());
    for (const Variant& variant : scenario.variants) {
        if (variant.baseline) {
            plan.variants.push_back(plan_baseline(variant, mode, limits));
            continue;
        }
        PlannedVariant ours = plan_variant(variant, mode, limits);
        std::vector<PlannedVariant> theirs;
        for (const Peer& peer : peers) theirs.push_back(peer_of(ours, peer));
        fit(ours, limits);
        plan.variants.push_back(std::move(ours));
        if (!variant.peer || !mode.peer) continue;
        for (PlannedVariant& peer : theirs) {
            if (peer.skipped.empty()) fit(peer, limits);
            plan.variants.push_back(std::move(peer));
        }
    }
    plan.scenario = std::move(scenario);
    return plan;
}

}  // namespace migrate::bench
