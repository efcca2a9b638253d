// SPDX-License-Identifier: Apache-2.0
// The C API in one process: what it takes, what it refuses, and that nothing gets past its errors.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/config/option_lookup.hpp"
#include "base/fd.hpp"
#include "catch.hpp"
#include "lib/library_options.hpp"
#include "tests/lib/small_vmm.hpp"

namespace migrate::lib {
namespace {

constexpr std::uint64_t kSize = 2 * kMiB;

// Two sessions that move one region of private memory.
struct Pair {
    Mapping source = private_memory(kSize);
    Mapping destination = private_memory(kSize);
    SmallVmm there;
    SmallVmm here;
    Session sender = make_session(MIGRATE_SEND, &here);
    Session receiver = make_session(MIGRATE_RECV, &there);

    Pair() {
        for (std::size_t i = 0; i < kSize; i += 3 * kPageSize) source.bytes()[i] = std::byte{7};
        std::memset(destination.data(), 1, 4 * kPageSize);
        const migrate_region from = region_at("ram", source.bytes());
        const migrate_region to = region_at("ram", destination.bytes());
        REQUIRE(migrate_add_region(sender.get(), &from) == 0);
        REQUIRE(migrate_add_region(receiver.get(), &to) == 0);
        must_set(sender.get(), "verify=digest");
        must_set(sender.get(), "reconnect-timeout=0");
    }
    Outcomes run() { return run_both(sender.get(), receiver.get()); }
};

TEST_CASE("a guest moves with its memory and its state") {
    Pair pair;
    const Outcomes outcomes = pair.run();
    INFO(migrate_error(pair.sender.get()));
    INFO(migrate_error(pair.receiver.get()));
    CHECK(outcomes.sent == MIGRATE_COMPLETED);
    CHECK(outcomes.received == MIGRATE_COMPLETED);
    CHECK(std::memcmp(pair.source.data(), pair.destination.data(), kSize) == 0);
    CHECK(pair.there.loaded == "the state");
    CHECK(pair.here.calls == "ps");
    CHECK(pair.there.calls == "lr");
    for (migrate_session* session : {pair.sender.get(), pair.receiver.get()}) {
        CHECK(migrate_get_owner(session) == MIGRATE_OWNER_DESTINATION);
        CHECK(std::string(migrate_error(session)).empty());
        migrate_progress progress{};
        progress.struct_size = sizeof progress;
        REQUIRE(migrate_get_progress(session, &progress) == 0);
        CHECK(progress.status == MIGRATE_STATUS_COMPLETED);
        CHECK(progress.total_bytes == kSize);
        CHECK(progress.transferred_bytes != 0);
        char* text = nullptr;
        REQUIRE(migrate_statistics(session, &text) == 0);
        const auto json = nlohmann::json::parse(text);
        std::free(text);
        CHECK(json["guest-owner"] == "destination");
        // It has run.
        CHECK(migrate_run(session) == MIGRATE_USAGE);
        CHECK(migrate_start(session) == MIGRATE_USAGE);
        CHECK(migrate_wait(session, 0) == MIGRATE_COMPLETED);
    }
}

TEST_CASE("memory moves without a guest") {
    Mapping source = private_memory(kSize);
    Mapping destination = private_memory(kSize);
    std::memset(source.data(), 9, kSize / 2);
    const Session sender = make_session(MIGRATE_SEND, nullptr);
    const Session receiver = make_session(MIGRATE_RECV, nullptr);
    const migrate_region from = region_at("ram", source.bytes());
    const migrate_region to = region_at("ram", destination.bytes());
    REQUIRE(migrate_add_region(sender.get(), &from) == 0);
    REQUIRE(migrate_add_region(receiver.get(), &to) == 0);
    const Outcomes outcomes = run_both(sender.get(), receiver.get());
    CHECK(outcomes.sent == MIGRATE_COMPLETED);
    CHECK(outcomes.received == MIGRATE_COMPLETED);
    CHECK(migrate_get_owner(sender.get()) == MIGRATE_OWNER_NONE);
    CHECK(std::memcmp(source.data(), destination.data(), kSize) == 0);
}

TEST_CASE("regions of one file move in any order, to memory that the library maps") {
    constexpr std::uint64_t kHalf = kMiB;
    const UniqueFd source = make_memfd(2 * kHalf);
    const UniqueFd destination = make_memfd(3 * kHalf);
    const auto map = [](const UniqueFd& file, std::uint64_t size) {
        return must(Mapping::create({.size = size,
                                     .protection = PROT_READ | PROT_WRITE,
                                     .flags = MAP_SHARED,
                                     .fd = file.get(),
                                     .what = "memory"}));
    };
    const Mapping from = map(source, 2 * kHalf);
    const Mapping to = map(destination, 3 * kHalf);
    std::memset(from.data(), 3, kHalf / 2);
    std::memset(from.data() + kHalf, 4, kHalf / 4);
    std::memset(to.data(), 5, 3 * kHalf);
    SmallVmm here;
    SmallVmm there;
    const Session sender = make_session(MIGRATE_SEND, &here);
    const Session receiver = make_session(MIGRATE_RECV, &there);
    for (const std::uint64_t half : {0U, 1U}) {
        migrate_region region =
            region_at(half == 0 ? "low" : "high", from.bytes().subspan(half * kHalf, kHalf));
        region.fd = source.get();
        region.offset = half * kHalf;
        REQUIRE(migrate_add_region(sender.get(), &region) == 0);
    }
    // The file has other content before the regions, which nobody touches.
    for (const std::uint64_t half : {1U, 0U}) {
        migrate_region region = region_at(half == 0 ? "low" : "high", {});
        region.size = kHalf;
        region.fd = destination.get();
        region.offset = (half + 1) * kHalf;
        REQUIRE(migrate_add_region(receiver.get(), &region) == 0);
    }
    must_set(sender.get(), "verify=digest");
    const Outcomes outcomes = run_both(sender.get(), receiver.get());
    INFO(migrate_error(sender.get()));
    CHECK(outcomes.sent == MIGRATE_COMPLETED);
    CHECK(outcomes.received == MIGRATE_COMPLETED);
    CHECK(std::memcmp(from.data(), to.data() + kHalf, 2 * kHalf) == 0);
    CHECK(to.bytes()[kHalf - 1] == std::byte{5});
}

TEST_CASE("a callback that fails ends the migration with its reason, and the guest stays") {
    Pair pair;
    const auto fails = [](char* error) {
        std::snprintf(error, MIGRATE_ERROR_BYTES, "the disk is gone");
        return 1;
    };
    SECTION("pause") {
        pair.here.pausing = fails;
        CHECK(pair.run().sent == MIGRATE_FAILED);
        CHECK(pair.here.calls == "p");
    }
    SECTION("save_state") {
        pair.here.saving = [&](migrate_buffer*, char* error) { return fails(error); };
        CHECK(pair.run().sent == MIGRATE_FAILED);
        CHECK(pair.here.calls == "psr");
    }
    SECTION("load_state") {
        pair.there.loading = fails;
        CHECK(pair.run().sent == MIGRATE_FAILED);
        CHECK(pair.here.calls == "psr");
        CHECK(pair.there.calls == "l");
    }
    SECTION("resume at the receiver") {
        pair.there.resuming = fails;
        CHECK(pair.run().sent == MIGRATE_FAILED);
        CHECK(pair.here.calls == "psr");
    }
    SECTION("an exception") {
        pair.here.pausing = [](char*) -> int { throw std::runtime_error("the disk is gone"); };
        CHECK(pair.run().sent == MIGRATE_FAILED);
    }
    for (migrate_session* session : {pair.sender.get(), pair.receiver.get()}) {
        CHECK(migrate_get_owner(session) == MIGRATE_OWNER_SOURCE);
        CHECK_THAT(migrate_error(session), Catch::Contains("the disk is gone"));
    }
}

TEST_CASE("a receiver that does not know whether its guest runs leaves the owner open") {
    Pair pair;
    pair.there.resuming = [](char*) { return static_cast<int>(MIGRATE_OWNER_UNKNOWN); };
    const Outcomes outcomes = pair.run();
    CHECK(outcomes.received == MIGRATE_OWNER_UNKNOWN);
    CHECK(outcomes.sent == MIGRATE_OWNER_UNKNOWN);
    CHECK(migrate_get_owner(pair.sender.get()) == MIGRATE_OWNER_UNKNOWN_SIDE);
    // The guest stays paused at its source.
    CHECK(pair.here.calls == "ps");
}

TEST_CASE("a state that is too large fails, whatever the callback returns") {
    Pair pair;
    pair.here.saving = [](migrate_buffer* buffer, char*) {
        const std::vector<char> much(64 * kMiB);
        int last = 0;
        for (int i = 0; i < 5; ++i) last = migrate_buffer_append(buffer, much.data(), much.size());
        CHECK(last == MIGRATE_FAILED);
        return 0;
    };
    CHECK(pair.run().sent == MIGRATE_FAILED);
    CHECK_THAT(migrate_error(pair.sender.get()), Catch::Contains("256 MiB"));
}

// A VMM that writes to its memory by itself whenever it is asked for its log.
struct LoggingVmm {
    std::span<std::byte> memory;
    std::string calls{};
    std::atomic<int> inside = 0;
    bool alone = true;
    std::byte last{};

    int enter(char call) {
        alone = inside.fetch_add(1) == 0 && alone;
        calls += call;
        std::this_thread::yield();
        inside.fetch_sub(1);
        return 0;
    }
};

TEST_CASE("a VMM's own dirty log is used, and its callbacks come one at a time") {
    constexpr std::uint64_t kPages = 65;
    const Mapping source = private_memory(kPages * kPageSize);
    const Mapping destination = private_memory(kPages * kPageSize);
    std::memset(source.data(), 1, source.size());
    LoggingVmm vmm{.memory = source.bytes()};
    SmallVmm there;
    migrate_guest guest{};
    guest.struct_size = sizeof guest;
    guest.opaque = &vmm;
    guest.kind = "small";
    static constexpr auto kEnter = [](void* opaque, char call) {
        return static_cast<LoggingVmm*>(opaque)->enter(call);
    };
    guest.pause = [](void* opaque, char*) { return kEnter(opaque, 'p'); };
    guest.resume = [](void* opaque, char*) { return kEnter(opaque, 'r'); };
    guest.save_state = [](void* opaque, migrate_buffer* buffer, char*) {
        return kEnter(opaque, 's') + migrate_buffer_append(buffer, "x", 1);
    };
    guest.dirty_start = [](void* opaque, char*) { return kEnter(opaque, 'b'); };
    guest.dirty_collect = [](void* opaque, std::size_t region, std::uint64_t* bitmap,
                             std::size_t words, char*) {
        auto& logging = *static_cast<LoggingVmm*>(opaque);
        CHECK(region == 0);
        CHECK(words == 2);
        // The last page, and bits that belong to no page.
        logging.last = static_cast<std::byte>(std::to_integer<int>(logging.last) + 1);
        logging.memory.back() = logging.last;
        bitmap[1] = ~std::uint64_t{0};
        return kEnter(opaque, 'c');
    };
    guest.dirty_stop = [](void* opaque) { kEnter(opaque, 'e'); };
    Session sender = make_session(MIGRATE_SEND, nullptr);
    const Session receiver = make_session(MIGRATE_RECV, &there);
    REQUIRE(migrate_set_guest(sender.get(), &guest) == 0);
    const migrate_region from = region_at("ram", source.bytes());
    const migrate_region to = region_at("ram", destination.bytes());
    REQUIRE(migrate_add_region(sender.get(), &from) == 0);
    REQUIRE(migrate_add_region(receiver.get(), &to) == 0);
    must_set(sender.get(), "verify=digest");
    const Outcomes outcomes = run_both(sender.get(), receiver.get());
    INFO(migrate_error(sender.get()));
    CHECK(outcomes.sent == MIGRATE_COMPLETED);
    CHECK(outcomes.received == MIGRATE_COMPLETED);
    CHECK(std::memcmp(source.data(), destination.data(), source.size()) == 0);
    sender.reset();
    CHECK(vmm.alone);
    CHECK(vmm.calls.front() == 'b');
    CHECK(std::count(vmm.calls.begin(), vmm.calls.end(), 'c') >= 1);
    CHECK(std::count(vmm.calls.begin(), vmm.calls.end(), 'e') == 1);
    CHECK(std::count(vmm.calls.begin(), vmm.calls.end(), 'r') == 0);
}

TEST_CASE("a guest of another kind is refused before its memory moves") {
    Pair pair;
    const migrate_guest other = pair.here.guest("other");
    REQUIRE(migrate_set_guest(pair.sender.get(), &other) == 0);
    const Outcomes outcomes = pair.run();
    CHECK(outcomes.sent == MIGRATE_REFUSED);
    CHECK(outcomes.received == MIGRATE_CANCELLED);
    CHECK_THAT(migrate_error(pair.sender.get()), Catch::Contains("vmm:other"));
    CHECK(pair.here.calls.empty());
    // Its memory is as it was.
    CHECK(pair.destination.bytes()[0] == std::byte{1});
}

TEST_CASE("other regions are refused before memory is cleared") {
    Pair pair;
    Mapping more = private_memory(kSize);
    const migrate_region extra = region_at("extra", more.bytes());
    REQUIRE(migrate_add_region(pair.sender.get(), &extra) == 0);
    CHECK(pair.run().sent == MIGRATE_REFUSED);
    CHECK_THAT(migrate_error(pair.sender.get()), Catch::Contains("'extra'"));
    CHECK(pair.destination.bytes()[0] == std::byte{1});
}

TEST_CASE("a cancel before the start ends the migration") {
    Pair pair;
    must_set(pair.sender.get(), "connect=127.0.0.1:1");
    SECTION("before it is opened") {
        migrate_cancel(pair.sender.get(), "not today");
        CHECK(migrate_run(pair.sender.get()) == MIGRATE_CANCELLED);
    }
    SECTION("after it is opened") {
        REQUIRE(migrate_open(pair.sender.get()) == 0);
        migrate_cancel(pair.sender.get(), "not today");
        CHECK(migrate_run(pair.sender.get()) == MIGRATE_CANCELLED);
        CHECK(migrate_wait(pair.sender.get(), 0) == MIGRATE_CANCELLED);
    }
    CHECK(std::string(migrate_error(pair.sender.get())) == "not today");
    CHECK(migrate_get_owner(pair.sender.get()) == MIGRATE_OWNER_SOURCE);
    CHECK(pair.here.calls.empty());
}

TEST_CASE("a receiver that runs ends when it is released") {
    Pair pair;
    must_set(pair.receiver.get(), "listen=127.0.0.1:0");
    REQUIRE(migrate_start(pair.receiver.get()) == 0);
    CHECK_THAT(migrate_address(pair.receiver.get()), Catch::StartsWith("127.0.0.1:"));
    CHECK(migrate_wait(pair.receiver.get(), 0) == MIGRATE_UNFINISHED);
    pair.receiver.reset();
}

TEST_CASE("events and changes reach and come from a migration that runs") {
    Pair pair;
    std::vector<std::string> events;
    REQUIRE(migrate_set_event_handler(
                pair.sender.get(),
                [](void* opaque, const char* event, const char* data) {
                    CHECK(nlohmann::json::parse(data).is_object());
                    static_cast<std::vector<std::string>*>(opaque)->emplace_back(event);
                },
                &events) == 0);
    CHECK(migrate_change(pair.sender.get(), "max-bandwidth=1G/s") == MIGRATE_USAGE);
    must_set(pair.sender.get(), "pause-before-switchover=on");
    must_set(pair.receiver.get(), "listen=127.0.0.1:0");
    REQUIRE(migrate_start(pair.receiver.get()) == 0);
    must_set(pair.sender.get(),
             (std::string("connect=") + migrate_address(pair.receiver.get())).c_str());
    REQUIRE(migrate_start(pair.sender.get()) == 0);
    CHECK(migrate_change(pair.sender.get(), "max-bandwidth=1G/s") == 0);
    CHECK(migrate_change(pair.sender.get(), "multifd-channels=3") == MIGRATE_USAGE);
    CHECK(migrate_change(pair.sender.get(), "auto-converge=on") == MIGRATE_USAGE);
    CHECK(migrate_change(pair.receiver.get(), "max-bandwidth=1G/s") == MIGRATE_USAGE);
    while (migrate_continue(pair.sender.get()) != 0 &&
           migrate_wait(pair.sender.get(), 1) == MIGRATE_UNFINISHED) {
    }
    CHECK(migrate_wait(pair.sender.get(), -1) == MIGRATE_COMPLETED);
    CHECK(migrate_wait(pair.receiver.get(), -1) == MIGRATE_COMPLETED);
    CHECK(std::count(events.begin(), events.end(), "STOP") == 1);
}

TEST_CASE("options of the program are refused, and the library has all others") {
    std::string refused;
    for (const Option& option : kOptions) {
        if (!is_library_option(option.key)) refused += std::string(option.key) + ' ';
    }
    // A new option belongs either here or into docs/libmigrate.md: it must not be without effect.
    CHECK(refused ==
          "port-file sandbox source sink quit-source reuse resume repeat return-listen run-for qmp "
          "progress json verbose quiet stats events metrics metrics-file log-level ");
    const Session session = make_session(MIGRATE_SEND, nullptr);
    CHECK(migrate_set_option(session.get(), "stats=x.json") == MIGRATE_USAGE);
    CHECK_THAT(migrate_error(session.get()), Catch::Contains("program"));
    for (const char* wrong : {"", "=", "connect", "no-such=1", "listen=127.0.0.1:0",
                              "multifd-channels=many", "multifd-channels=256"}) {
        INFO(wrong);
        CHECK(migrate_set_option(session.get(), wrong) == MIGRATE_USAGE);
        CHECK_FALSE(std::string(migrate_error(session.get())).empty());
    }
    must_set(session.get(), "multifd-channels=4");
    CHECK(std::string(migrate_error(session.get())).empty());
}

TEST_CASE("null pointers and structs of a wrong size are wrong usage") {
    const Session session = make_session(MIGRATE_SEND, nullptr);
    // A caller in C can give any number.
    const unsigned number = 7;
    migrate_side neither = MIGRATE_SEND;
    static_assert(sizeof neither == sizeof number);
    std::memcpy(&neither, &number, sizeof neither);
    CHECK(migrate_new(neither) == nullptr);
    CHECK(migrate_open(nullptr) == MIGRATE_USAGE);
    CHECK(migrate_wait(nullptr, 0) == MIGRATE_USAGE);
    CHECK(migrate_get_owner(nullptr) == MIGRATE_OWNER_NONE);
    CHECK(std::string(migrate_address(nullptr)).empty());
    migrate_free(nullptr);
    CHECK(migrate_set_option(session.get(), nullptr) == MIGRATE_USAGE);
    CHECK(migrate_add_region(session.get(), nullptr) == MIGRATE_USAGE);
    CHECK(migrate_set_guest(session.get(), nullptr) == MIGRATE_USAGE);
    CHECK(migrate_get_progress(session.get(), nullptr) == MIGRATE_USAGE);
    CHECK(migrate_statistics(session.get(), nullptr) == MIGRATE_USAGE);
    CHECK(migrate_buffer_append(nullptr, "", 0) == MIGRATE_USAGE);
    Mapping memory = private_memory(kSize);
    // A later version's struct: its further members are 0, or this version cannot know them.
    struct Later {
        migrate_region region;
        std::uint64_t more;
    } later{region_at("ram", memory.bytes()), 0};
    later.region.struct_size = sizeof later;
    CHECK(migrate_add_region(session.get(), &later.region) == 0);
    later.more = 1;
    CHECK(migrate_add_region(session.get(), &later.region) == MIGRATE_USAGE);
    later.region.struct_size = 8;
    CHECK(migrate_add_region(session.get(), &later.region) == MIGRATE_USAGE);
}

TEST_CASE("a session without what it needs is wrong usage") {
    SmallVmm vmm;
    Mapping memory = private_memory(kSize);
    const migrate_region ram = region_at("ram", memory.bytes());
    const Session session = make_session(MIGRATE_SEND, &vmm);
    const auto refusal = [&] {
        CHECK(migrate_open(session.get()) == MIGRATE_USAGE);
        return std::string(migrate_error(session.get()));
    };
    CHECK_THAT(refusal(), Catch::Contains("connect"));
    must_set(session.get(), "connect=127.0.0.1:1");
    CHECK_THAT(refusal(), Catch::Contains("no region"));
    REQUIRE(migrate_add_region(session.get(), &ram) == 0);
    migrate_guest guest = vmm.guest();
    guest.save_state = nullptr;
    REQUIRE(migrate_set_guest(session.get(), &guest) == 0);
    CHECK_THAT(refusal(), Catch::Contains("save_state"));
    guest = vmm.guest();
    guest.dirty_stop = [](void*) {};
    CHECK(migrate_set_guest(session.get(), &guest) == MIGRATE_USAGE);
    for (const char* kind : {"", "a kind", "0123456789012345678901234567890123456789012345678"}) {
        guest = vmm.guest(kind);
        CHECK(migrate_set_guest(session.get(), &guest) == MIGRATE_USAGE);
    }
    guest = vmm.guest();
    REQUIRE(migrate_set_guest(session.get(), &guest) == 0);
    must_set(session.get(), "auto-converge=on");
    CHECK_THAT(refusal(), Catch::Contains("throttle"));
    must_set(session.get(), "auto-converge=off");
    REQUIRE(migrate_open(session.get()) == 0);
    // It is set up.
    CHECK(migrate_set_option(session.get(), "verify=digest") == MIGRATE_USAGE);
    CHECK(migrate_add_region(session.get(), &ram) == MIGRATE_USAGE);
}

}  // namespace
}  // namespace migrate::lib
