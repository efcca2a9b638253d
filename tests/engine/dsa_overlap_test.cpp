// SPDX-License-Identifier: Apache-2.0
// The published model lets a sender stand still while the device works. Here the two are to
// overlap; in time that is made up, so that the figures are the design's and not the machine's.

#include "accel/dsa/dsa_page_scanner.hpp"
#include "catch.hpp"
#include "engine/send/span_scanner.hpp"
#include "memory/source/page_source.hpp"
#include "tests/engine/run_sinks.hpp"
#include "tests/support/made_up_device.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"

namespace migrate::engine {
namespace {

using accel::dsa::DsaPageScanner;
using accel::dsa::MadeUpDevice;
using std::chrono::nanoseconds;

constexpr std::uint64_t kPacketPages = 128;

// Returns the total time divided by the time of the longer of the two tasks alone.
double ratio_to_longer(nanoseconds check_packet, nanoseconds send_packet, std::uint32_t batch) {
    const auto source = must(memory::open_page_source("anon:64M,fill=random"));
    const std::uint64_t pages = source->regions()[0].size_bytes / kPageSize;
    auto made = std::make_unique<MadeUpDevice>(accel::dsa::QueueLimits{
        .entries = 128, .batch = batch, .transfer_bytes = std::uint32_t{1} << 21U});
    MadeUpDevice& device = *made;
    device.service_time = [&](const accel::dsa::Descriptor& descriptor) {
        return check_packet * descriptor.size / kPacketPages;
    };
    accel::dsa::WorkQueue queue(std::move(made));
    accel::dsa::InlineCompletion completion(device);
    SpanScanner scanner(
        *source,
        must(DsaPageScanner::create({&queue}, completion, accel::all_zero_kernels().back(), {})),
        {.normal_page_ratio = {}, .batch_pages = kPacketPages});
    std::uint64_t sent = 0;
    FunctionSink sink([&](RegionId, const PageRun& run, const std::byte*) -> Status {
        sent += run.pages.count;
        device.pass_time(send_packet * run.pages.count / kPacketPages);
        return {};
    });
    // The smallest claims there are.
    constexpr std::uint64_t kSpan = 512;
    for (std::uint64_t first = 0; first < pages; first += kSpan)
        must(scanner.scan({kRam, {first, kSpan}}, {}, sink));
    must(scanner.finish(sink));
    REQUIRE(sent == pages);
    CHECK(queue.counters().cpu_pages == 0);
    const double packets = static_cast<double>(pages) / kPacketPages;
    const auto longer = static_cast<double>(std::max(check_packet, send_packet).count());
    return static_cast<double>(device.elapsed().count()) / (packets * longer);
}

TEST_CASE("the device checks while the socket takes: the longer of the two works decides") {
    // The published device checks 128 pages in some 18 us; a 100 Gbit/s link takes 42 us for them.
    const auto check_us = GENERATE(5, 18, 42, 200);
    const auto send_us = GENERATE(0, 5, 18, 42, 200);
    const auto batch = GENERATE(32U, 128U);
    const double ratio = ratio_to_longer(std::chrono::microseconds(check_us),
                                         std::chrono::microseconds(send_us), batch);
    CAPTURE(check_us, send_us, batch, ratio);
    CHECK(ratio >= 1.0);
    CHECK(ratio <= 1.1);
}

}  // namespace
}  // namespace migrate::engine
