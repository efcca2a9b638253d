// SPDX-License-Identifier: Apache-2.0
// The tables of the accelerators' part of a report.
#include <chrono>
#include <cmath>
#include <cstdint>

#include "engine/report/report_members.hpp"

namespace migrate::engine {
namespace {

double tenths(double value) { return std::round(value * 10) / 10; }

std::int64_t whole_us(std::chrono::nanoseconds time) { return time.count() / 1000; }

}  // namespace

const Members<accel::AccelCounts>& MembersOf<accel::AccelCounts>::all() {
    using Counts = accel::AccelCounts;
    static const Members<Counts> kAll{
        member<Counts>("batches", "", &Counts::batches),
        member<Counts>("descriptors", "Pages that devices checked.", &Counts::descriptors),
        member<Counts>("retries", "", &Counts::retries),
        member<Counts>("queue-full", "", &Counts::full),
        member<Counts>("page-faults", "", &Counts::page_faults),
        member<Counts>("list-faults", "", &Counts::list_faults),
        member<Counts>("record-faults", "", &Counts::record_faults),
        member<Counts>("bad-statuses", "", &Counts::bad_statuses),
        member<Counts>("timeouts", "", &Counts::timeouts),
        member<Counts>("late-pages", "", &Counts::late_pages),
        member<Counts>("times-left", "", &Counts::times_left),
        member<Counts>("cpu-pages", "Pages that the CPU finished.", &Counts::cpu_pages),
        member<Counts>("looked-at", "Pages that the prefilter looked at.", &Counts::looked_at),
        member<Counts>("prefiltered", "Pages that it recognized.", &Counts::prefiltered),
        member<Counts>("verified", "Pages that the CPU checked again.", &Counts::verified),
        member<Counts>("device-time-us", "",
                       [](const Counts& counts) { return whole_us(counts.device_time); }),
        member<Counts>("wait-time-us", "",
                       [](const Counts& counts) { return whole_us(counts.wait_time); })};
    return kAll;
}

const Members<accel::AccelShareReport>& MembersOf<accel::AccelShareReport>::all() {
    using Share = accel::AccelShareReport;
    static const Members<Share> kAll{
        member<Share>("device-percent", "The devices' part of the pages that were checked whole.",
                      [](const Share& share) { return tenths(share.device_part * 100); }),
        member<Share>("cpu-ns-per-page", "",
                      [](const Share& share) { return tenths(share.cpu_ns); }),
        member<Share>("device-ns-per-page", "",
                      [](const Share& share) { return tenths(share.device_ns); }),
        member<Share>("overhead-ns-per-page", "",
                      [](const Share& share) { return tenths(share.overhead_ns); }),
        member<Share>("reason", "", &Share::reason)};
    return kAll;
}

const Members<accel::AccelQueueReport>& MembersOf<accel::AccelQueueReport>::all() {
    using Queue = accel::AccelQueueReport;
    static const Members<Queue> kAll = [] {
        Members<Queue> rows{
            member<Queue>("name", "", &Queue::name),
            member<Queue>("mode", "shared or dedicated.", &Queue::mode),
            member<Queue>("numa-node", "-1: unknown.", &Queue::numa_node),
            member<Queue>("software", "A queue of the software device.", &Queue::software),
            member<Queue>("disabled", "It failed and was not used any more.", &Queue::disabled),
            member<Queue>("left", "It gets only a trial batch from time to time.", &Queue::left),
            member<Queue>("trouble", "Why it was disabled or left.",
                          [](const Queue& queue) { return unless_empty(queue.trouble); })};
        add_members_of(rows, [](const Queue& queue) { return queue.counts; });
        return rows;
    }();
    return kAll;
}

const Members<accel::AccelReport>& MembersOf<accel::AccelReport>::all() {
    using Accel = accel::AccelReport;
    static const Members<Accel> kAll = [] {
        Members<Accel> rows{
            member<Accel>("device", "DSA, or software DSA.",
                          [](const Accel& accel) {
                              return std::string(accel.software ? "software DSA" : "DSA");
                          }),
            member<Accel>("completion", "Value of accel-completion.", &Accel::completion)};
        add_members_of(rows, [](const Accel& accel) { return accel.total(); });
        rows.push_back(member<Accel>("share", "How the pages were divided between devices and CPU.",
                                     &Accel::share));
        rows.push_back(member<Accel>("queues", "", &Accel::queues));
        return rows;
    }();
    return kAll;
}

}  // namespace migrate::engine
