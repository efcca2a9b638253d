// SPDX-License-Identifier: Apache-2.0
// Sessions whose threads cannot be started, or that run out of memory at any moment: both sides
// end, and at most one of them runs the guest.
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/memory_reserve.hpp"
#include "base/thread.hpp"
#include "catch.hpp"
#include "devices/device_spec.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "guest/guest.hpp"
#include "tests/engine/session_configs.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"
#include "tests/support/thread_sanitizer.hpp"

namespace {

// The heap of this program. After arm(n) it is empty from the n-th allocation on: it then gives out
// only memory that was freed, and the memory reserve. Exempt threads are not affected.
class ScarceHeap {
  public:
    void arm(long first) {
        migrate::keep_memory_reserve();
        left_.store(0);
        counted_.store(migrate::memory_reserves_given());
        seen_.store(0);
        first_.store(first);
    }
    // Returns the number of allocations requested since arm().
    long disarm() {
        first_.store(kNever);
        return seen_.load();
    }
    void* allocate(std::size_t bytes) {
        while (!take(bytes)) {
            const std::new_handler give = std::get_new_handler();
            if (give == nullptr) throw std::bad_alloc();
            give();
        }
        void* memory = std::malloc(bytes == 0 ? 1 : bytes);
        if (memory == nullptr) throw std::bad_alloc();
        return memory;
    }
    void free(void* memory) {
        if (scarce()) left_.fetch_add(static_cast<long>(::malloc_usable_size(memory)));
        std::free(memory);
    }
    static thread_local bool exempt;

  private:
    static constexpr long kNever = std::numeric_limits<long>::max();

    bool scarce() const { return seen_.load(std::memory_order_relaxed) > first_.load(); }
    bool take(std::size_t bytes) {
        if (first_.load(std::memory_order_relaxed) == kNever || exempt) return true;
        if (seen_.fetch_add(1) < first_.load()) return true;
        // The first thread that sees that a reserve was released adds it.
        const unsigned given = migrate::memory_reserves_given();
        for (unsigned counted = counted_.load(); counted != given;) {
            if (!counted_.compare_exchange_weak(counted, counted + 1)) continue;
            left_.fetch_add(static_cast<long>(migrate::kMemoryReserveBytes));
            ++counted;
        }
        const long wanted = static_cast<long>(bytes) + 16;
        if (left_.fetch_sub(wanted) >= wanted) return true;
        left_.fetch_add(wanted);
        return false;
    }

    std::atomic<long> first_{kNever};
    std::atomic<long> seen_{0};
    std::atomic<long> left_{0};
    std::atomic<unsigned> counted_{0};  // number of released reserves that left_ includes
};

thread_local bool ScarceHeap::exempt = false;
[[maybe_unused]] ScarceHeap heap;

}  // namespace

#ifndef MIGRATE_UNDER_TSAN
// ThreadSanitizer has operators of its own, which the linker does not replace.
void* operator new(std::size_t bytes) { return heap.allocate(bytes); }
void* operator new[](std::size_t bytes) { return heap.allocate(bytes); }
void operator delete(void* memory) noexcept { heap.free(memory); }
void operator delete[](void* memory) noexcept { heap.free(memory); }
void operator delete(void* memory, std::size_t) noexcept { heap.free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { heap.free(memory); }
#endif

namespace migrate::engine {
namespace {

using Catch::Matchers::Contains;
using transport::DeviceStateMode;

struct Journey {
    std::string source = "workload:2M,rate=20,threads=2,warm-up=0";
    SendConfig send = patient_sender();
    RecvConfig recv = patient_receiver();

    Status sent;
    Status received;
    Report sender;
    Report receiver;
    bool at_source = false;
    bool at_destination = false;

    explicit Journey(DeviceStateMode mode = DeviceStateMode::kOn) {
        set_negotiated(send.negotiated, "multifd-packet-size", "64K");
        send.tunables.downtime_limit = kLong;
        send.device_state = mode;
        send.devices = must(devices::parse_devices("sim:vf,count=2,size=1M"));
    }

    // Calls `begin` before both sides run, and `end` after both have ended.
    void go(const std::function<void()>& begin, const std::function<void()>& end) {
        EventLog events;
        guest::Machine machine = must(guest::open_machine(source));
        const auto receiving = must(RecvSession::create(recv, events));
        send.paths = path_to(receiving->port());
        const auto sending =
            must(SendSession::create(send, *machine.memory, events, machine.guest.get()));
        begin();
        std::jthread thread([&] { received = receiving->run(); });
        std::jthread other([&] { sent = sending->run(); });
        other.join();
        // The receiver cannot learn in another way that its sender failed before it connected.
        if (!sent) receiving->cancel("no sender");
        thread.join();
        end();
        sender = sending->report();
        receiver = receiving->report();
        at_source = machine.guest && machine.guest->running();
        at_destination = receiving->guest() != nullptr && receiving->guest()->running();
    }
};

std::string words_of(const Status& status) { return status ? "success" : status.error().message(); }

// These rules hold after any failure. If the guest was handed over and the receiver could not
// report that it runs, it stays paused at the source.
void check_owner(const Journey& journey) {
    INFO("sender: " << words_of(journey.sent) << "\nreceiver: " << words_of(journey.received));
    CHECK(is_final(journey.sender.status));
    CHECK(is_final(journey.receiver.status));
    if (journey.sender.guest) {
        CHECK_FALSE((journey.at_source && journey.at_destination));
        // A receiver that is out of memory may fail to report that it will not run the guest.
        const bool unknown =
            !journey.sent && journey.sent.error().kind() == ErrorKind::kOwnerUnknown;
        if (!unknown) CHECK((journey.at_source || journey.at_destination));
        CHECK(bool(journey.received) == journey.at_destination);
        if (journey.sent) CHECK(journey.at_destination);
    }
    CHECK((journey.sender.status == MigrationStatus::kCompleted) == bool(journey.sent));
    CHECK((journey.receiver.status == MigrationStatus::kCompleted) == bool(journey.received));
}

// One start of a thread. The order of the starts differs from run to run, but every thread that a
// session needs starts in every run. Both sides may have threads of the same name.
struct ThreadStart {
    std::string name;
    int occurrence = 0;  // index among the starts with this name
};

// Runs the migration; the start `first` and the `more` starts after it fail. Returns all starts
// that were requested.
std::vector<ThreadStart> run_with_failing_starts(Journey& journey, const ThreadStart& first,
                                                 int more) {
    std::mutex mutex;
    std::vector<ThreadStart> starts;
    std::map<std::string, int> occurrences;
    int left = 0;
    std::optional<ThreadStartHook> refuse;
    journey.go(
        [&] {
            refuse.emplace([&](std::string_view name) {
                const std::scoped_lock lock(mutex);
                const ThreadStart start{std::string(name), occurrences[std::string(name)]++};
                starts.push_back(start);
                if (start.name == first.name && start.occurrence == first.occurrence) {
                    left = more + 1;
                }
                return left-- > 0 ? EAGAIN : 0;
            });
        },
        [&] { refuse.reset(); });
    return starts;
}

TEST_CASE("if any thread cannot be started, one side keeps the guest and both sides end") {
    for (const char* source : {"workload:2M,rate=20,threads=2,warm-up=0", "anon:2M,fill=random"}) {
        for (const auto mode : {DeviceStateMode::kOn, DeviceStateMode::kOff}) {
            Journey undisturbed(mode);
            undisturbed.source = source;
            const auto starts = run_with_failing_starts(undisturbed, {"none", 0}, 0);
            // Fails one start, or all starts from there on, as a limit of the system does.
            for (const int more : {0, 1000}) {
                int failures = 0;
                for (const ThreadStart& first : starts) {
                    Journey journey(mode);
                    journey.source = source;
                    run_with_failing_starts(journey, first, more);
                    INFO(source << ", " << transport::name_of(mode) << ", start "
                                << first.occurrence << " of " << first.name << " and " << more
                                << " more");
                    check_owner(journey);
                    if (!journey.sent) {
                        ++failures;
                        CHECK(journey.at_source == (journey.sender.guest.has_value()));
                        CHECK_THAT(words_of(journey.sent) + words_of(journey.received),
                                   Contains("cannot start thread "));
                    }
                }
                // At least each side's link and two channels; helper threads are optional.
                CHECK(failures >= 6);
            }
        }
    }
}

TEST_CASE("a session whose own thread cannot be started ends with that error") {
    EventLog events;
    guest::Machine machine = must(guest::open_machine("workload:1M,rate=10,warm-up=0"));
    SendConfig config = patient_sender();
    config.paths = path_to(1);
    const auto session =
        must(SendSession::create(config, *machine.memory, events, machine.guest.get()));
    CHECK(words_of(session->fail(start_error("thread live_migration", EAGAIN))) ==
          "cannot start thread live_migration: Resource temporarily unavailable (check the limits "
          "pids.max, ulimit -u and ulimit -v)");
    CHECK(session->report().status == MigrationStatus::kFailed);
    CHECK(machine.guest->running());
    const auto receiver = must(RecvSession::create(patient_receiver(), events));
    CHECK_FALSE(receiver->fail(start_error("thread incoming", EAGAIN)));
    CHECK(receiver->report().status == MigrationStatus::kFailed);
}

#ifndef MIGRATE_UNDER_TSAN
int scarcity_runs() {
    const char* wanted = std::getenv("MIGRATE_TEST_SCARCITY");
    return wanted != nullptr ? std::atoi(wanted) : 40;
}

TEST_CASE("if memory runs out at any moment, one side keeps the guest and both sides end") {
    ScarceHeap::exempt = true;
    const int runs = scarcity_runs();
    for (const char* source : {"workload:2M,rate=20,threads=2,warm-up=0", "anon:2M,fill=random"}) {
        for (const auto mode : {DeviceStateMode::kOn, DeviceStateMode::kOff}) {
            Journey undisturbed(mode);
            undisturbed.source = source;
            long all = 0;
            undisturbed.go([] { heap.arm(std::numeric_limits<long>::max() - 1); },
                           [&] { all = heap.disarm(); });
            must(undisturbed.sent);
            int failures = 0;
            for (int run = 0; run < runs; ++run) {
                const long first = all * run / runs;
                INFO(source << ", " << transport::name_of(mode) << ": no memory from allocation "
                            << first << " of about " << all << " on");
                Journey journey(mode);
                journey.source = source;
                journey.go([&] { heap.arm(first); }, [] { heap.disarm(); });
                check_owner(journey);
                if (journey.sent) continue;
                ++failures;
                CHECK_THAT(words_of(journey.sent) + words_of(journey.received),
                           Contains("out of memory") || Contains("Cannot allocate memory"));
            }
            CAPTURE(source, transport::name_of(mode), runs);
            CHECK(failures > 0);
        }
    }
    ScarceHeap::exempt = false;
}
#endif

}  // namespace
}  // namespace migrate::engine
