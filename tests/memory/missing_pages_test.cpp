// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/missing_pages.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/shared_backing.hpp"
#include "tests/support/must.hpp"

namespace migrate::memory {
namespace {

constexpr RegionId kRam{0};
constexpr std::uint64_t kPages = 64;

std::vector<std::byte> pages_of(char content, std::uint64_t count = 1) {
    return std::vector<std::byte>(count * kPageSize, static_cast<std::byte>(content));
}

// Memory in which every page holds 'o', the content of an earlier round.
class Guest {
  public:
    explicit Guest(BackingKind kind = BackingKind::kPrivate) {
        if (kind == BackingKind::kPrivate) {
            mapping_ = must(map_anonymous(kPages * kPageSize, HugePages::kOff, "a test"));
            bytes = mapping_.bytes();
        } else {
            backing_ =
                must(SharedBacking::create_memfd(kPages * kPageSize, HugePages::kOff, "a test"));
            bytes = backing_->bytes();
        }
        std::memset(bytes.data(), 'o', bytes.size());
        std::vector<MissingPages::Memory> memory{{{"ram", kPages * kPageSize}, bytes, kind}};
        missing = must(MissingPages::create(std::move(memory)));
    }

    char at(std::uint64_t page) const {
        return static_cast<char>(*const_cast<const volatile std::byte*>(&bytes[page * kPageSize]));
    }

    std::span<std::byte> bytes;
    std::unique_ptr<MissingPages> missing;
    Wakeup wakeup = must(Wakeup::create());

    void remove(PageRange pages) const { must(missing->remove(kRam, std::span(&pages, 1))); }
    // The next fault, which a thread causes.
    MissingPages::Fault await_fault() {
        const auto fault = must(missing->next_fault(wakeup, after(std::chrono::seconds(20))));
        REQUIRE(fault);
        return *fault;
    }

  private:
    Mapping mapping_;
    std::optional<SharedBacking> backing_;
};

TEST_CASE("a thread that touches a missing page waits until it was placed") {
    const auto kind = GENERATE(BackingKind::kPrivate, BackingKind::kShared);
    Guest guest(kind);
    guest.remove({3, 2});
    CHECK(guest.missing->awaited() == 2);
    must(guest.missing->arm());
    CHECK(guest.at(2) == 'o');
    std::atomic<char> seen{0};
    std::thread vcpu([&] { seen = guest.at(4); });
    const MissingPages::Fault fault = guest.await_fault();
    CHECK(fault.page == 4);
    CHECK(guest.missing->is_awaited(kRam, 4));
    CHECK(seen == 0);
    const auto placed = must(guest.missing->place(kRam, {4, 1}, pages_of('n')));
    vcpu.join();
    CHECK(seen == 'n');
    CHECK(placed.placed == 1);
    CHECK(guest.missing->awaited() == 1);
    must(guest.missing->place(kRam, {3, 1}, pages_of('m')));
    CHECK(guest.missing->awaited() == 0);
    guest.missing->disarm();
    CHECK(guest.at(3) == 'm');
    CHECK(guest.at(2) == 'o');
    CHECK(guest.at(5) == 'o');
}

TEST_CASE("a page is placed once, and never over what the guest has written") {
    Guest guest(GENERATE(BackingKind::kPrivate, BackingKind::kShared));
    guest.remove({0, 4});
    must(guest.missing->arm());
    must(guest.missing->place(kRam, {1, 1}, pages_of('n')));
    guest.bytes[kPageSize] = std::byte{'g'};
    // The same page again, a page that was never missing, and two that are.
    const auto again = must(guest.missing->place(kRam, {1, 4}, pages_of('x', 4)));
    CHECK(again.placed == 2);
    CHECK(again.dropped == 2);
    CHECK(guest.at(1) == 'g');
    CHECK(guest.at(4) == 'o');
    CHECK(guest.at(2) == 'x');
    const auto zeros = must(guest.missing->place_zeros(kRam, {0, kPages}));
    CHECK(zeros.placed == 1);
    CHECK(zeros.dropped == kPages - 1);
    CHECK(guest.at(0) == 0);
    CHECK(guest.at(1) == 'g');
    CHECK(guest.missing->awaited() == 0);
}

TEST_CASE("pages of zeros take no memory before the guest touches them") {
    Guest guest;
    guest.remove({0, kPages});
    must(guest.missing->arm());
    std::atomic<int> seen{-1};
    std::thread vcpu([&] { seen = guest.at(9); });
    CHECK(guest.await_fault().page == 9);
    must(guest.missing->place_zeros(kRam, {0, kPages}));
    // The thread was woken, and tries again.
    const MissingPages::Fault fault = guest.await_fault();
    CHECK(fault.page == 9);
    CHECK_FALSE(guest.missing->is_awaited(kRam, 9));
    must(guest.missing->resolve_locally(fault));
    vcpu.join();
    CHECK(seen == 0);
    std::vector<unsigned char> present(kPages);
    REQUIRE(::mincore(guest.bytes.data(), guest.bytes.size(), present.data()) == 0);
    CHECK(std::count_if(present.begin(), present.end(),
                        [](unsigned char page) { return (page & 1U) != 0; }) == 1);
}

TEST_CASE("a fault in a page that is there by now only wakes the thread") {
    Guest guest;
    guest.remove({0, 1});
    must(guest.missing->arm());
    std::thread vcpu([&] { static_cast<void>(guest.at(0)); });
    const MissingPages::Fault fault = guest.await_fault();
    must(guest.missing->place(kRam, {0, 1}, pages_of('n')));
    must(guest.missing->resolve_locally(fault));
    vcpu.join();
    CHECK(guest.at(0) == 'n');
}

TEST_CASE("runs are removed, and what is between them stays") {
    Guest guest(GENERATE(BackingKind::kPrivate, BackingKind::kShared));
    const std::vector<PageRange> runs{{1, 1}, {3, 2}, {60, 4}};
    must(guest.missing->remove(kRam, runs));
    CHECK(guest.missing->awaited() == 7);
    // Named again, they count once.
    must(guest.missing->remove(kRam, runs));
    CHECK(guest.missing->awaited() == 7);
    for (const std::uint64_t page : {0U, 2U, 5U, 59U}) CHECK(guest.at(page) == 'o');
    for (const std::uint64_t page : {1U, 3U, 4U, 60U, 63U}) {
        CHECK(guest.missing->is_awaited(kRam, page));
        CHECK(guest.at(page) == 0);
    }
}

TEST_CASE("a wait for faults ends by its time and by a wake-up") {
    Guest guest;
    must(guest.missing->arm());
    CHECK_FALSE(must(guest.missing->next_fault(guest.wakeup, WaitClock::now())));
    guest.wakeup.wake();
    CHECK_FALSE(must(guest.missing->next_fault(guest.wakeup, kNever)));
}

TEST_CASE("memory on a disk cannot be missing") {
    std::vector<std::byte> memory(kPageSize);
    const auto made = MissingPages::create({{{"ram", kPageSize}, memory, BackingKind::kDisk}});
    REQUIRE_FALSE(made);
    CHECK(made.error().kind() == ErrorKind::kRefused);
    must(MissingPages::check_host());
}

}  // namespace
}  // namespace migrate::memory
