// SPDX-License-Identifier: Apache-2.0
// The client against the software device in this process, under every fault it can be told to make:
// whatever the device does, every page is answered rightly, nothing hangs, and what the device
// writes late or never harms nobody.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "accel/dsa/dsa_page_scanner.hpp"
#include "accel/dsa_accelerator.hpp"
#include "accel/softdsa/fault_plan.hpp"
#include "base/units.hpp"
#include "catch.hpp"
#include "tests/accel/mapped_pages.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"
#include "tests/support/seed.hpp"

namespace migrate::accel {
namespace {

constexpr std::size_t kBatchPages = 64;
constexpr std::size_t kBatches = 12;
constexpr std::size_t kPlanPages = kBatchPages * kBatches;
// For devices that do not answer; kLong is for those that do.
constexpr std::chrono::milliseconds kShort{20};

// Memory with pages of zeros, and pages that differ from zero in one byte anywhere.
struct Pages {
    explicit Pages(std::uint64_t seed)
        : memory(map_pages(kPlanPages, MAP_POPULATE)), zero(kPlanPages) {
        std::mt19937_64 random(seed);
        for (std::size_t page = 0; page < kPlanPages; ++page) {
            zero[page] = random() % 2 == 0;
            if (!zero[page]) memory.data()[page * kPageSize + random() % kPageSize] = std::byte{1};
        }
    }
    Mapping memory;
    std::vector<bool> zero;
};

// Returns the number of pages for which the scanner's answer is wrong.
std::size_t wrong_answers(PageScanner& scanner, const Pages& pages) {
    std::size_t wrong = 0;
    std::size_t submitted = 0;
    for (std::size_t collected = 0; collected < kBatches; ++collected) {
        for (; submitted < kBatches && submitted - collected < scanner.depth(); ++submitted) {
            const PageExtent extent{pages.memory.data() + submitted * kBatchPages * kPageSize,
                                    kBatchPages};
            scanner.look_first({&extent, 1});
            scanner.submit({&extent, 1});
        }
        std::array<std::uint64_t, kBatchPages / 64> map{};
        must(scanner.await());
        must(scanner.collect(map));
        for (std::size_t i = 0; i < kBatchPages; ++i) {
            const bool zero = (map[i / 64] >> (i % 64) & 1) != 0;
            wrong += zero != pages.zero[collected * kBatchPages + i];
        }
    }
    return wrong;
}

// Scans the pages twice on a device with these faults, and says what it came to.
AccelCounts scan_under(const std::string& faults, const Pages& pages,
                       CompletionModel completion = CompletionModel::kInline,
                       const std::string& words = "2,batch=32",
                       std::chrono::milliseconds timeout = kLong,
                       AccelShare share = AccelShare::kAll) {
    const auto accelerator = must(DsaAccelerator::open(
        {.path = "softdsa:" + words + (faults.empty() ? "" : ",faults=" + faults),
         .completion = completion,
         .share = share,
         .prefilter = share == AccelShare::kAuto,
         .batch_pages = kBatchPages,
         .timeout = timeout}));
    const std::stop_source stop;
    std::jthread thread;
    if (accelerator->needs_thread())
        thread = std::jthread([&] { accelerator->run_completion(stop.get_token()); });
    auto scanner = must(accelerator->make_scanner(0, all_zero_kernels().back()));
    CHECK(wrong_answers(*scanner, pages) == 0);
    CHECK(wrong_answers(*scanner, pages) == 0);
    scanner.reset();
    // These mappings reuse the scanner's memory: a late completion record must not land in them.
    std::vector<Mapping> canaries;
    canaries.reserve(8);
    for (int i = 0; i < 8; ++i) canaries.push_back(map_pages(6, MAP_POPULATE));
    std::stop_source(stop).request_stop();
    if (thread.joinable()) thread.join();
    const AccelCounts counts = accelerator->report().total();
    for (const Mapping& canary : canaries) {
        CHECK(std::ranges::all_of(canary.bytes(), [](std::byte b) { return b == std::byte{0}; }));
    }
    return counts;
}

TEST_CASE("a device without faults answers for every page, shared and dedicated, either way") {
    const Pages pages(1);
    for (const char* words :
         {"1", "2,devices=2", "1,mode=dedicated,size=4", "1,batch=1", "4,batch=128,engines=2",
          "2,engines=0", "1,timing=on", "1,timing=on,engines=0"}) {
        for (const auto model : {CompletionModel::kInline, CompletionModel::kThread}) {
            CAPTURE(words, model == CompletionModel::kThread);
            const AccelCounts counts = scan_under("", pages, model, words);
            CHECK(counts.descriptors + counts.cpu_pages == 2 * kPlanPages);
            CHECK(counts.bad_statuses + counts.timeouts + counts.page_faults == 0);
        }
    }
}

TEST_CASE("the counters name the cause of every fault") {
    const Pages pages(2);
    struct Case {
        const char* faults;
        std::uint64_t AccelCounts::*counter;
    };
    const Case made = GENERATE(values<Case>({{"full=5@/3", &AccelCounts::retries},
                                             {"full=ever", &AccelCounts::full},
                                             {"fault-byte=100@/7", &AccelCounts::page_faults},
                                             {"fault-byte=any@0.1", &AccelCounts::page_faults},
                                             {"list-fault=3@/2", &AccelCounts::list_faults},
                                             {"bad-child=5", &AccelCounts::cpu_pages},
                                             {"batch-status=0x14@/3", &AccelCounts::bad_statuses},
                                             {"status=0x10@/9", &AccelCounts::bad_statuses},
                                             {"status=0x83@/9", &AccelCounts::page_faults},
                                             {"status=4@/9", &AccelCounts::page_faults},
                                             {"status=2@/9", &AccelCounts::bad_statuses},
                                             {"record-fault@/50", &AccelCounts::cpu_pages},
                                             {"drop@/50", &AccelCounts::cpu_pages},
                                             {"late=1000s@4", &AccelCounts::timeouts},
                                             {"halt-after=100", &AccelCounts::timeouts}}));
    const auto model = GENERATE(CompletionModel::kInline, CompletionModel::kThread);
    CAPTURE(made.faults, model == CompletionModel::kThread);
    const bool silent = made.counter == &AccelCounts::timeouts;
    const AccelCounts counts =
        scan_under(made.faults, pages, model, "2,batch=32", silent ? kShort : kLong);
    CHECK(counts.*made.counter > 0);
    if (made.counter != &AccelCounts::retries) CHECK(counts.cpu_pages > 0);
}

TEST_CASE("answers that come late or in another order are answers") {
    const Pages pages(3);
    for (const char* faults : {"late=1ms", "reorder", "late=500us@0.3:reorder"}) {
        CAPTURE(faults);
        const AccelCounts counts = scan_under(faults, pages);
        CHECK(counts.timeouts == 0);
    }
}

TEST_CASE("a lying device is found out by accel-verify") {
    const Pages pages(4);
    const auto accelerator = must(DsaAccelerator::open(
        {.path = "softdsa:1,faults=wrong@/10", .batch_pages = kBatchPages, .verify_every = 3}));
    auto scanner = must(accelerator->make_scanner(0, all_zero_kernels().back()));
    Status status;
    for (std::size_t batch = 0; batch < kBatches && status; ++batch) {
        const PageExtent extent{pages.memory.data() + batch * kBatchPages * kPageSize, kBatchPages};
        scanner->submit({&extent, 1});
        must(scanner->await());
        std::array<std::uint64_t, kBatchPages / 64> map{};
        status = scanner->collect(map);
    }
    CHECK_THAT(message_of(status), Catch::Contains("do not use this device"));
    CHECK(accelerator->report().queues[0].disabled);
}

TEST_CASE("pages that are not there are finished by the CPU, whose touch brings them") {
    Pages pages(5);
    // The device does not bring in what was never touched, or was given back.
    REQUIRE(::madvise(pages.memory.data(), kPlanPages * kPageSize, MADV_DONTNEED) == 0);
    std::fill(pages.zero.begin(), pages.zero.end(), true);
    CHECK(scan_under("", pages).page_faults > 0);
}

TEST_CASE("a queue that refuses its work or stays full is left, and the report says so") {
    const Pages pages(6);
    struct Case {
        const char* faults;
        const char* trouble;  // of queue 0
        bool other_serves;    // queue 1 is without a fault
    };
    const Case made = GENERATE(values<Case>(
        {{"status=0x10", "refuses its work with status 0x10", false},
         {"wq0.status=0x11", "refuses its work with status 0x11", true},
         {"wq0.batch-status=0x14", "refuses its work with status 0x14", true},
         {"full=ever", "stays full: other programs fill it, or it was disabled", false},
         {"wq0.full=ever", "stays full: other programs fill it, or it was disabled", true}}));
    const auto model = GENERATE(CompletionModel::kInline, CompletionModel::kThread);
    CAPTURE(made.faults, model == CompletionModel::kThread);
    const auto accelerator =
        must(DsaAccelerator::open({.path = std::string("softdsa:2,batch=32,faults=") + made.faults,
                                   .completion = model,
                                   .batch_pages = kBatchPages}));
    const std::stop_source stop;
    std::jthread thread;
    if (accelerator->needs_thread())
        thread = std::jthread([&] { accelerator->run_completion(stop.get_token()); });
    auto scanner = must(accelerator->make_scanner(0, all_zero_kernels().back()));
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i) CHECK(wrong_answers(*scanner, pages) == 0);
    const auto elapsed = std::chrono::steady_clock::now() - begin;
    scanner.reset();
    std::stop_source(stop).request_stop();
    if (thread.joinable()) thread.join();
    const AccelReport report = accelerator->report();
    CHECK(report.queues[0].trouble == made.trouble);
    CHECK(report.queues[0].counts.times_left == 1);
    CHECK(report.queues[0].left);
    CHECK_FALSE(report.queues[0].disabled);
    std::printf("%s: %llu pages given to queue 0, %llu to queue 1, %llu checked by the CPU; %s\n",
                made.faults, static_cast<unsigned long long>(report.queues[0].counts.descriptors),
                static_cast<unsigned long long>(report.queues[1].counts.descriptors),
                static_cast<unsigned long long>(report.total().cpu_pages),
                report.queues[0].trouble.c_str());
    const AccelQueueReport& other = report.queues[1];
    if (made.other_serves && other.trouble.empty()) {
        CHECK(other.counts.descriptors > 2 * kPlanPages);
    } else if (made.other_serves) {
        // A sound queue is left for a time, too, if its device gets no CPU.
        CHECK(other.trouble == "stays full: other programs fill it, or it was disabled");
        CHECK(other.counts.descriptors > 0);
    } else {
        // The batches that were in flight at first, and a trial every 20 ms.
        const auto batches =
            static_cast<std::uint64_t>(8 + elapsed / std::chrono::milliseconds(20));
        CHECK(report.queues[0].counts.descriptors <= batches * kBatchPages);
    }
}

// MIGRATE_TEST_PLANS=1000 for the long run.
TEST_CASE("under random mixtures of faults every page is answered rightly and nothing hangs") {
    const char* const asked = std::getenv("MIGRATE_TEST_PLANS");
    const std::uint64_t plans = asked == nullptr ? 60 : std::strtoull(asked, nullptr, 10);
    const std::uint64_t first = test_seed();
    for (std::uint64_t seed = first; seed < first + plans; ++seed) {
        const std::string plan = softdsa::to_string(softdsa::random_plan(seed));
        CAPTURE(seed, plan);
        const Pages pages(seed);
        scan_under("random=" + std::to_string(seed), pages,
                   seed % 2 == 0 ? CompletionModel::kInline : CompletionModel::kThread,
                   seed % 3 == 0 ? "2,mode=dedicated,size=16" : "2,batch=32", kShort,
                   seed % 4 < 2 ? AccelShare::kAuto : AccelShare::kAll);
    }
}

}  // namespace
}  // namespace migrate::accel
