// SPDX-License-Identifier: Apache-2.0
#include "transport/zero_copy.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <thread>

#include "base/units.hpp"
#include "catch.hpp"
#include "tests/support/forked.hpp"
#include "tests/support/late_stream.hpp"
#include "tests/support/noise.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::transport {
namespace {

// A connection with a LateKernel, and its other end.
struct LatePair {
    explicit LatePair(std::chrono::milliseconds limit = std::chrono::seconds(30)) {
        TcpPair pair = make_tcp_pair();
        const int fd = pair.near.get();
        kernel = std::make_shared<LateKernel>(fd);
        near.emplace(must(Socket::adopt(std::move(pair.near), StallLimits::both(limit),
                                        std::make_unique<LateStream>(fd, kernel))));
        far.emplace(adopt(std::move(pair.far)));
        must(near->use_zero_copy());
    }
    // A head that is copied, and memory that is not.
    Status send(std::span<std::byte> head, std::span<std::byte> memory) {
        std::array<iovec, 2> parts{iovec{head.data(), head.size()},
                                   iovec{memory.data(), memory.size()}};
        return near->send_in_place(parts, 1);
    }
    std::vector<std::byte> receive(std::size_t bytes) {
        std::vector<std::byte> got(bytes);
        must(far->receive(got));
        return got;
    }

    std::shared_ptr<LateKernel> kernel;
    std::optional<Socket> near;
    std::optional<Socket> far;
};

TEST_CASE("memory sent in place is read until its completion, and the head before it is not") {
    LatePair pair;
    auto head = noise(100, 1);
    const auto sent_head = head;
    auto memory = noise(4 * kPageSize, 2);
    must(pair.send(head, memory));
    CHECK(pair.near->zero_copy_figures().sends == 1);
    CHECK(pair.near->zero_copy_figures().completed == 0);
    std::fill(head.begin(), head.end(), std::byte{});
    std::fill(memory.begin(), memory.end(), std::byte{7});
    must(pair.near->finish_in_place());
    CHECK(pair.receive(head.size()) == sent_head);
    CHECK(pair.receive(memory.size()) == memory);
    const ZeroCopyFigures figures = pair.near->zero_copy_figures();
    CHECK(figures.completed == 1);
    CHECK(figures.copied == 0);
    CHECK(figures.missed_rounds == 0);
    CHECK(pair.near->zero_copy_fallback().empty());
    CHECK(pair.near->bytes_sent() == head.size() + memory.size());
}

TEST_CASE("a kernel that copies makes the connection copy, and each round so sent is missed") {
    LatePair pair;
    pair.kernel->copies = true;
    auto head = noise(10, 1);
    auto memory = noise(4 * kPageSize, 2);
    for (std::uint64_t round = 1; round <= 3; ++round) {
        for (int i = 0; i < 2; ++i) must(pair.send(head, memory));
        must(pair.near->finish_in_place());
        for (int i = 0; i < 2; ++i) {
            CHECK(pair.receive(head.size()) == head);
            CHECK(pair.receive(memory.size()) == memory);
        }
        CHECK(pair.near->zero_copy_figures().missed_rounds == round);
    }
    // Only the first round was tried.
    CHECK(pair.kernel->in_place == 2);
    CHECK(pair.near->zero_copy_figures().copied == 2);
    CHECK_THAT(pair.near->zero_copy_fallback(), Catch::Matchers::Contains("copied"));
    // A round without memory misses nothing.
    must(pair.near->send(head));
    must(pair.near->finish_in_place());
    CHECK(pair.near->zero_copy_figures().missed_rounds == 3);
}

TEST_CASE("a round of which the kernel copied only a part is not missed") {
    LatePair pair;
    auto head = noise(10, 1);
    auto memory = noise(4 * kPageSize, 2);
    must(pair.send(head, memory));
    pair.kernel->deliver();
    must(pair.send(head, memory));  // takes the completion
    pair.kernel->copies = true;
    must(pair.near->finish_in_place());
    CHECK(pair.near->zero_copy_figures().copied == 1);
    CHECK(pair.near->zero_copy_figures().missed_rounds == 0);
}

TEST_CASE("a refused send is copied, and the connection copies once nothing can make room") {
    LatePair pair;
    auto head = noise(10, 1);
    auto memory = noise(4 * kPageSize, 2);
    // Others are pending, whose completions may make room.
    must(pair.send(head, memory));
    pair.kernel->refusals = 1;
    must(pair.send(head, memory));
    CHECK(pair.near->zero_copy_figures().refused == 1);
    CHECK(pair.near->zero_copy_fallback().empty());
    must(pair.near->finish_in_place());
    CHECK(pair.near->zero_copy_figures().missed_rounds == 0);
    // None is pending.
    pair.kernel->refusals = 1;
    must(pair.send(head, memory));
    CHECK_THAT(pair.near->zero_copy_fallback(), Catch::Matchers::Contains("RLIMIT_MEMLOCK"));
    must(pair.near->finish_in_place());
    CHECK(pair.near->zero_copy_figures().missed_rounds == 1);
    for (int i = 0; i < 3; ++i) {
        CHECK(pair.receive(head.size()) == head);
        CHECK(pair.receive(memory.size()) == memory);
    }
}

TEST_CASE("many refused sends in a row make the connection copy although others are pending") {
    LatePair pair;
    auto head = noise(10, 1);
    auto memory = noise(kPageSize, 2);
    must(pair.send(head, memory));
    pair.kernel->refusals = 100;
    for (int i = 0; i < 20; ++i) must(pair.send(head, memory));
    CHECK(pair.near->zero_copy_figures().refused == 8);
    CHECK_FALSE(pair.near->zero_copy_fallback().empty());
}

TEST_CASE("completions of ranges are counted, across the end of the 32-bit numbers too") {
    const auto kernel = std::make_shared<LateKernel>(-1);
    kernel->next_id = UINT32_MAX - 1;
    ZeroCopySender sender(std::make_unique<LateCalls>(kernel));
    auto memory = noise(kPageSize, 3);
    const iovec part{memory.data(), memory.size()};
    for (int i = 0; i < 5; ++i) must(sender.send(std::span(&part, 1)));
    CHECK(sender.pending() == 5);
    kernel->deliver();
    CHECK(must(sender.take_completions()) == 5);
    CHECK(sender.pending() == 0);
    CHECK(must(sender.take_completions()) == 0);
}

TEST_CASE("more completions than sends are an error") {
    const auto kernel = std::make_shared<LateKernel>(-1);
    ZeroCopySender sender(std::make_unique<LateCalls>(kernel));
    auto memory = noise(kPageSize, 3);
    const iovec part{memory.data(), memory.size()};
    must(sender.send(std::span(&part, 1)));
    kernel->report(0, 1);
    const auto taken = sender.take_completions();
    REQUIRE_FALSE(taken);
    CHECK(taken.error().message() ==
          "the kernel completed 2 zero-copy sends, but only 1 were pending");
}

TEST_CASE("a completion that never comes makes the connection copy, and nothing fails") {
    LatePair pair;
    pair.kernel->forgets = true;
    auto head = noise(10, 1);
    auto memory = noise(kPageSize, 2);
    must(pair.send(head, memory));
    must(pair.near->finish_in_place());
    CHECK_THAT(pair.near->zero_copy_fallback(), Catch::Matchers::Contains("did not report"));
    CHECK(pair.near->zero_copy_figures().missed_rounds == 1);
    must(pair.send(head, memory));
    must(pair.near->finish_in_place());
    CHECK(pair.kernel->in_place == 1);
}

TEST_CASE(
    "a connection that ends while completions are awaited leaves the error to the next send") {
    LatePair pair;
    auto head = noise(10, 1);
    auto memory = noise(kPageSize, 2);
    must(pair.send(head, memory));
    pair.kernel->ends = true;
    CHECK(pair.near->finish_in_place());
}

TEST_CASE("a kernel or a stream without zero-copy send is named") {
    TcpPair pair = make_tcp_pair();
    const int fd = pair.near.get();
    const auto kernel = std::make_shared<LateKernel>(fd);
    kernel->allow_error = EOPNOTSUPP;
    Socket near =
        must(Socket::adopt(std::move(pair.near), StallLimits::both(std::chrono::seconds(5)),
                           std::make_unique<LateStream>(fd, kernel)));
    const Status refused = near.use_zero_copy();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().kind() == ErrorKind::kRefused);
    CHECK_THAT(refused.error().message(), Catch::Matchers::Contains("SO_ZEROCOPY"));
    auto memory = noise(kPageSize, 2);
    iovec part{memory.data(), memory.size()};
    must(near.send_in_place(std::span(&part, 1), 0));
    must(near.finish_in_place());
    CHECK(kernel->in_place == 0);
    CHECK(near.zero_copy_figures().missed_rounds == 0);
}

// Sends so much by turns that it fits in the connection's buffers.
void send_by_turns(SocketPair& pair, std::span<std::byte> memory, int turns) {
    std::vector<std::byte> back(memory.size());
    for (int i = 0; i < turns; ++i) {
        iovec part{memory.data(), memory.size()};
        must(pair.near.send_in_place(std::span(&part, 1), 0));
        must(pair.far.receive(back));
        CHECK((std::equal(back.begin(), back.end(), memory.begin(), memory.end())));
    }
    must(pair.near.finish_in_place());
}

TEST_CASE("on loopback the kernel copies, which is counted, and the content arrives") {
    SocketPair pair = make_socket_pair();
    must(pair.near.use_zero_copy());
    CHECK(pair.near.peer_is_local());
    auto memory = noise(16 * kPageSize, 4);
    send_by_turns(pair, memory, 20);
    const ZeroCopyFigures figures = pair.near.zero_copy_figures();
    CHECK(figures.sends >= 1);
    CHECK(figures.sends < 20);
    CHECK(figures.completed == figures.sends);
    CHECK(figures.copied == figures.sends);
    CHECK(figures.missed_rounds == 1);
    CHECK_FALSE(pair.near.zero_copy_fallback().empty());
    send_by_turns(pair, memory, 2);
    CHECK(pair.near.zero_copy_figures().sends == figures.sends);
    CHECK(pair.near.zero_copy_figures().missed_rounds == 2);
}

TEST_CASE("without memory to lock the kernel refuses, and the content arrives by copies") {
    SocketPair pair = make_socket_pair();
    must(pair.near.use_zero_copy());
    auto memory = noise(16 * kPageSize, 4);
    const auto send_without = [&] {
        const rlimit none{0, 0};
        // The user id of nobody: without capabilities, so that the limit holds.
        if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0 || ::setuid(65534) != 0) return 2;
        iovec part{memory.data(), memory.size()};
        std::vector<std::byte> back(memory.size());
        if (!pair.near.send_in_place(std::span(&part, 1), 0)) return 3;
        if (!pair.far.receive(back) || back != memory) return 4;
        if (!pair.near.finish_in_place()) return 5;
        const ZeroCopyFigures figures = pair.near.zero_copy_figures();
        return figures.refused == 1 && figures.sends == 0 && figures.missed_rounds == 1 ? 0 : 6;
    };
    CHECK(exit_code_of_fork(send_without) == 0);
}

}  // namespace
}  // namespace migrate::transport
