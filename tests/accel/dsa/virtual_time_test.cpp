// SPDX-License-Identifier: Apache-2.0
// Compares a scan with a DSA device and one without, in virtual time: with the figures of the
// published measurements, with slower devices, and with a device that several migrations share.
// Prints the figures.
#include <cstdio>
#include <optional>

#include "accel/cpu_page_scanner.hpp"
#include "accel/dsa/dsa_page_scanner.hpp"
#include "catch.hpp"
#include "tests/accel/mapped_pages.hpp"
#include "tests/support/must.hpp"
#include "tests/support/virtual_machine.hpp"

namespace migrate::accel::dsa {
namespace {

constexpr std::uint32_t kPacketPages = 128;
constexpr unsigned kChannels = 8;
constexpr double kLookNs = 11;  // to read the first 64 bytes of a page

// The published guests, as ns per page of 25,600,000 pages (100 GB): QEMU's tables for its threads,
// divided by the pages. `main_ns` is how long QEMU's main thread takes to hand out a page.
struct Guest {
    const char* name;
    double check_ns;          // CPU of a channel to check a page
    double submit_ns;         // CPU of a channel to have a device check it
    double send_ns;           // CPU of a channel for all else
    double main_ns;           // of the main thread
    double main_dsa_ns;       // the same while a device checks
    double device_ns;         // time of the device for a page
    double published_saving;  // of the CPU time of all threads
};
constexpr double kPages = 25'600'000;
// Channels: 36,264 ms on the CPU, 22,833 ms with the device; dsa_completion 3,613 ms.
constexpr Guest kHalf{"dsa-50",
                      (36264 - 22833) * 1e6 / kPages + 55,
                      55,
                      22833 * 1e6 / kPages - 55,
                      5657.6e6 / kPages,
                      6129.2e6 / kPages,
                      137,
                      0.223};
// Channels: 6,293 ms on the CPU, 1,431 ms with the device; dsa_completion 3,429 ms.
constexpr Guest kZero{
    "dsa-zero", 6293e6 / kPages, 1431e6 / kPages, 0, 4860.7e6 / kPages, 3847e6 / kPages, 131, 0.22};

struct Way {
    std::optional<AccelShare> share;  // nothing: the CPU alone
    bool thread = false;              // accel-completion=thread
    bool prefilter = false;
    bool published = false;  // QEMU's main thread takes as long as it did with the device
};
constexpr Way kCpu{};
constexpr Way kPublished{.share = AccelShare::kAll, .thread = true, .published = true};
constexpr Way kDefault{.share = AccelShare::kAuto, .prefilter = true};
constexpr Way kDefaultThread{.share = AccelShare::kAuto, .thread = true, .prefilter = true};

struct Load {
    double speed = 1;         // of the device; 1: as published
    unsigned migrations = 1;  // on one device
    bool main_thread = true;  // QEMU's, which hands out the pages
    unsigned nonzero_percent = 0;
    std::uint32_t packets = 300;  // of each channel
    std::uint32_t batch = 128;
    double latency_ns = 700;
};

struct Figures {
    double total_ms = 0;
    double cpu_ms = 0;
    std::uint64_t by_device = 0;
    std::uint64_t by_cpu = 0;
    std::uint64_t prefiltered = 0;
};

struct Charged {
    VirtualMachine* machine = nullptr;
    double check_ns = 0;
};
Charged charged;  // NOLINT: a kernel has no context

bool check_page(const std::byte* page) {
    if (page[0] != std::byte{0}) {
        charged.machine->charge(kLookNs);
        return false;
    }
    charged.machine->charge(charged.check_ns);
    return page[kPageSize - 1] == std::byte{0};
}

const ZeroKernel kKernel{"charged", 0, [] { return true; }, check_page};

// Packets that pass through a scanner, as SpanScanner passes them.
class Channel {
  public:
    Channel(VirtualMachine& machine, const Guest& guest, PageScanner& scanner, const Mapping& pages)
        : machine_(machine), guest_(guest), scanner_(scanner), pages_(pages) {}

    // `looked_at` counts the pages whose first bytes were read.
    void packet(const QueueCounters* counters) {
        const PageExtent extent{pages_.data(), kPacketPages};
        if (waiting_ == scanner_.depth()) take();
        const std::uint64_t before = counters != nullptr ? counters->looked_at.load() : 0;
        scanner_.look_first({&extent, 1});
        scanner_.submit({&extent, 1});
        if (counters != nullptr)
            machine_.charge(kLookNs * static_cast<double>(counters->looked_at - before));
        ++waiting_;
    }
    void finish() {
        while (waiting_ != 0) take();
    }

  private:
    void take() {
        std::array<std::uint64_t, kPacketPages / 64> map{};
        must(scanner_.await());
        must(scanner_.collect(map));
        --waiting_;
        machine_.charge(guest_.send_ns * kPacketPages);
    }

    VirtualMachine& machine_;
    const Guest& guest_;
    PageScanner& scanner_;
    const Mapping& pages_;
    std::size_t waiting_ = 0;
};

// A migration: its queue, its completion and, in `main_free`, the time of its main thread.
struct Migration {
    Migration(VirtualMachine& machine, const Guest& guest, const Way& way, const Load& load)
        : queue(std::make_unique<VirtualPortal>(machine, guest.submit_ns, load.batch)),
          in_line(machine),
          threaded(way.thread ? std::make_unique<VirtualThreadCompletion>(machine) : nullptr) {}
    Completion& completion() { return threaded ? static_cast<Completion&>(*threaded) : in_line; }
    WorkQueue queue;
    InlineCompletion in_line;
    std::unique_ptr<VirtualThreadCompletion> threaded;
    Time::Point main_free{};
};

Figures run(const Guest& guest, const Way& way, const Load& load) {
    VirtualMachine machine(
        {.page_ns = guest.device_ns / load.speed, .latency_ns = load.latency_ns});
    charged = {&machine, guest.check_ns};
    const Mapping pages = map_pages(kPacketPages, MAP_POPULATE);
    for (std::uint32_t page = 0; page < kPacketPages; ++page) {
        if (page * 37 % 100 < load.nonzero_percent) pages.data()[page * kPageSize] = std::byte{1};
    }
    std::vector<std::unique_ptr<Migration>> migrations;
    std::vector<std::function<void()>> bodies;
    Time::Point end{};
    const double main_ns = way.published ? guest.main_dsa_ns : guest.main_ns;
    for (unsigned m = 0; m < load.migrations; ++m) {
        migrations.push_back(std::make_unique<Migration>(machine, guest, way, load));
        Migration& own = *migrations.back();
        const auto body = [&] {
            std::unique_ptr<PageScanner> scanner = std::make_unique<CpuPageScanner>(kKernel);
            if (way.share) {
                scanner =
                    must(DsaPageScanner::create({&own.queue}, own.completion(), kKernel,
                                                {.share = *way.share, .prefilter = way.prefilter}));
            }
            Channel channel(machine, guest, *scanner, pages);
            for (std::uint32_t packet = 0; packet < load.packets; ++packet) {
                if (load.main_thread) {
                    own.main_free = std::max(own.main_free, machine.now()) +
                                    std::chrono::nanoseconds(std::llround(main_ns * kPacketPages));
                    machine.sleep_until(own.main_free);
                }
                channel.packet(way.share ? &own.queue.counters() : nullptr);
            }
            channel.finish();
            end = std::max(end, machine.now());
        };
        for (unsigned c = 0; c < kChannels; ++c) bodies.emplace_back(body);
    }
    std::chrono::nanoseconds cpu{};
    for (const auto& time : machine.run(bodies)) cpu += time;
    Figures figures;
    for (const auto& migration : migrations) {
        cpu += migration->completion().waiter_cost().busy;
        figures.by_device += migration->queue.counters().descriptors;
        figures.by_cpu += migration->queue.counters().cpu_pages;
        figures.prefiltered += migration->queue.counters().prefiltered;
    }
    figures.total_ms = static_cast<double>((end - Time::Point()).count()) / 1e6;
    figures.cpu_ms = static_cast<double>(cpu.count()) / 1e6;
    const double pages_sent = double{kPacketPages} * load.packets * kChannels * load.migrations;
    if (load.main_thread) figures.cpu_ms += main_ns * pages_sent / 1e6;
    return figures;
}

double saving(const Figures& of, const Figures& against) { return 1 - of.cpu_ms / against.cpu_ms; }

TEST_CASE("the published CPU saving is reached with the published settings, and more by default") {
    for (const Guest* guest : {&kHalf, &kZero}) {
        const Figures cpu = run(*guest, kCpu, {});
        const Figures published = run(*guest, kPublished, {});
        Way looks = kPublished;
        looks.prefilter = true;
        Way defaults = kDefault;
        defaults.published = true;
        const Figures prefiltered = run(*guest, looks, {});
        const Figures ours = run(*guest, defaults, {});
        std::printf(
            "%s: CPU saved: published %.1f %%, published settings %.1f %%, with prefilter %.1f %%, "
            "defaults %.1f %%\n",
            guest->name, 100 * guest->published_saving, 100 * saving(published, cpu),
            100 * saving(prefiltered, cpu), 100 * saving(ours, cpu));
        CHECK(saving(published, cpu) > guest->published_saving * 0.95);
        CHECK(saving(published, cpu) < guest->published_saving * 1.05);
        CHECK(saving(ours, cpu) >= guest->published_saving);
        CHECK(published.by_cpu == 0);
    }
}

TEST_CASE("a real guest's pages stay off the device where their first bytes say enough") {
    Load load;
    load.nonzero_percent = 58;
    for (const std::uint32_t batch : {128U, 1U}) {
        load.batch = batch;
        Guest guest = kZero;
        // One system call for each page.
        if (batch == 1) guest.submit_ns += 250;
        const Figures all = run(guest, {.share = AccelShare::kAll}, load);
        const Figures filtered = run(guest, {.share = AccelShare::kAll, .prefilter = true}, load);
        std::printf(
            "58 %% not zero, batches of %u: prefilter off %.1f ms CPU, %llu pages by the device; "
            "on %.1f ms, %llu pages\n",
            batch, all.cpu_ms, static_cast<unsigned long long>(all.by_device), filtered.cpu_ms,
            static_cast<unsigned long long>(filtered.by_device));
        CHECK(filtered.cpu_ms < all.cpu_ms);
        CHECK(filtered.by_device * 100 <= all.by_device * 43);
        CHECK(filtered.prefiltered * 100 >= all.by_device * 57);
    }
}

// `cpu` has the figures of the CPU alone under the same load.
void check_never_slower(const Guest& guest, const Way& way, const Load& load, const Figures& cpu) {
    const Figures ours = run(guest, way, load);
    std::printf(
        "%s, %s main thread, completion %s, device %.2f x, %u migrations: time %.3f, CPU %.3f of "
        "the CPU alone; %.1f %% by the device\n",
        guest.name, load.main_thread ? "with" : "without", way.thread ? "thread" : "inline",
        load.speed, load.migrations, ours.total_ms / cpu.total_ms, ours.cpu_ms / cpu.cpu_ms,
        100 * static_cast<double>(ours.by_device) /
            static_cast<double>(ours.by_device + ours.by_cpu));
    CAPTURE(guest.name, way.thread, load.main_thread, load.speed, load.migrations);
    CHECK(ours.total_ms <= 1.05 * cpu.total_ms);
    CHECK(ours.cpu_ms <= 1.05 * cpu.cpu_ms);
}

// A table: every speed of the device, with several numbers of migrations on it.
void check_table(const Guest& guest, bool main_thread) {
    for (const unsigned migrations : {1U, 4U, 16U}) {
        Load load;
        load.main_thread = main_thread;
        load.migrations = migrations;
        if (migrations > 1) load.packets = 150;
        const Figures cpu = run(guest, kCpu, load);
        for (const Way* way : {&kDefault, &kDefaultThread}) {
            for (const double speed : {1.0, 0.3, 0.1, 0.01}) {
                load.speed = speed;
                check_never_slower(guest, *way, load, cpu);
            }
        }
    }
}

TEST_CASE("half zeros: never slower with a device, however slow or shared", "[table][part-1]") {
    check_table(kHalf, true);
}

TEST_CASE("half zeros, no main thread: never slower with a device, however slow or shared",
          "[table][part-2]") {
    check_table(kHalf, false);
}

TEST_CASE("zeros only: never slower with a device, however slow or shared", "[table][part-3]") {
    check_table(kZero, true);
}

TEST_CASE("zeros only, no main thread: never slower with a device, however slow or shared",
          "[table][part-4]") {
    check_table(kZero, false);
}

TEST_CASE("figures in virtual time are the same in every run") {
    Load load;
    load.migrations = 4;
    load.packets = 100;
    for (const Way* way : {&kDefault, &kDefaultThread}) {
        const Figures first = run(kHalf, *way, load);
        const Figures second = run(kHalf, *way, load);
        CHECK(first.total_ms == second.total_ms);
        CHECK(first.cpu_ms == second.cpu_ms);
        CHECK(first.by_device == second.by_device);
        CHECK(first.by_cpu == second.by_cpu);
    }
}

TEST_CASE("a device with ten milliseconds of latency does not hold up a migration") {
    Load load;
    load.latency_ns = 10e6;
    load.main_thread = false;
    const Figures cpu = run(kZero, kCpu, load);
    check_never_slower(kZero, kDefault, load, cpu);
    check_never_slower(kZero, kDefaultThread, load, cpu);
}

}  // namespace
}  // namespace migrate::accel::dsa
