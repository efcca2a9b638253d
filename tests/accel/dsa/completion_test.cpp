// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/completion.hpp"

#include <array>
#include <random>
#include <thread>

#include "catch.hpp"

namespace migrate::accel::dsa {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Awaited {
    std::atomic<std::uint8_t> status{0};
    Watch watch;

    void begin(Completion& completion, steady_clock::duration timeout,
               Time::Point polled_until = Time::Point::max()) {
        status = 0;
        watch.status = &status;
        watch.submitted = steady_clock::now();
        watch.deadline = watch.submitted + timeout;
        watch.polled_until = polled_until;
        completion.watch(watch);
    }
};

// Waits without a limit; returns true if an answer came. Any thread.
bool await_answer(Completion& completion, Watch& watch) {
    return completion.await(watch, Time::Point::max()) && watch.answered();
}

// A ThreadCompletion with its thread.
struct Threaded {
    Threaded() : thread([this](const std::stop_token& stop) { completion.run(stop); }) {}
    RealTime time;
    ThreadCompletion completion{time};
    std::jthread thread;
};

TEST_CASE("a channel that polls sees an answer, and the deadline without one") {
    RealTime time;
    InlineCompletion completion(time);
    Awaited awaited;
    awaited.begin(completion, std::chrono::hours(1));
    CHECK_FALSE(completion.settled(awaited.watch));
    std::jthread device([&] { awaited.status = 1; });
    CHECK(await_answer(completion, awaited.watch));
    CHECK(completion.settled(awaited.watch));
    CHECK(awaited.watch.seen >= awaited.watch.submitted);

    awaited.begin(completion, milliseconds(1));
    CHECK_FALSE(await_answer(completion, awaited.watch));
    CHECK(awaited.watch.seen >= awaited.watch.deadline);
}

TEST_CASE("one thread brings all channels their answers, and ends when it is told to") {
    constexpr unsigned kSeed = 7;
    INFO("seed " << kSeed);
    Threaded threaded;
    constexpr std::size_t kChannels = 6;
    std::array<Awaited, kChannels> awaited;
    std::atomic<unsigned> unanswered{0};
    std::atomic<std::size_t> turns{0};
    {
        std::vector<std::jthread> channels;
        for (std::size_t c = 0; c < kChannels; ++c) {
            channels.emplace_back([&, c] {
                for (int turn = 0; turn < 300; ++turn) {
                    awaited[c].begin(threaded.completion, std::chrono::hours(1));
                    unanswered += await_answer(threaded.completion, awaited[c].watch) ? 0 : 1;
                    ++turns;
                }
            });
        }
        // Answers whatever is outstanding, in random order, from a thread of its own.
        std::jthread device([&] {
            std::mt19937 random(kSeed);
            while (turns < kChannels * 300) awaited[random() % kChannels].status = 1;
        });
    }
    CHECK(unanswered == 0);
}

TEST_CASE("the thread gives up on descriptors without an answer, and no wait is endless") {
    Threaded threaded;
    Awaited silent;
    Awaited prompt;
    silent.begin(threaded.completion, milliseconds(2));
    prompt.begin(threaded.completion, std::chrono::hours(1));
    CHECK_FALSE(await_answer(threaded.completion, silent.watch));
    prompt.status = 1;
    CHECK(await_answer(threaded.completion, prompt.watch));
}

TEST_CASE("the thread does not end before what is outstanding has been settled") {
    Threaded threaded;
    Awaited late;
    late.begin(threaded.completion, milliseconds(5));
    threaded.thread.request_stop();
    CHECK_FALSE(await_answer(threaded.completion, late.watch));
}

TEST_CASE("a wait ends at its limit, and the answer is still taken later") {
    RealTime time;
    InlineCompletion inline_completion(time);
    Threaded threaded;
    for (Completion* completion : {static_cast<Completion*>(&inline_completion),
                                   static_cast<Completion*>(&threaded.completion)}) {
        Awaited awaited;
        awaited.begin(*completion, std::chrono::hours(1));
        CHECK_FALSE(completion->await(awaited.watch, steady_clock::now() - milliseconds(1)));
        for (int i = 0; i < 3; ++i) {
            const auto limit = steady_clock::now() + milliseconds(1);
            CHECK_FALSE(completion->await(awaited.watch, limit));
            CHECK(steady_clock::now() >= limit);
        }
        CHECK_FALSE(completion->settled(awaited.watch));
        awaited.status = 1;
        CHECK(await_answer(*completion, awaited.watch));
    }
    CHECK(threaded.completion.waiter_cost().busy > std::chrono::nanoseconds(0));
    CHECK(inline_completion.waiter_cost().busy == std::chrono::nanoseconds(0));
}

// Notes what it is asked to watch, and answers the record that was submitted first last.
class NotedTime final : public Time {
  public:
    Point now() override { return Point(); }
    void pass(const std::atomic<std::uint8_t>* status, std::uint32_t) override {
        watched.push_back(status);
        if (!to_answer.empty()) {
            to_answer.back()->store(1);
            to_answer.pop_back();
        }
    }
    std::vector<const std::atomic<std::uint8_t>*> watched;
    std::vector<std::atomic<std::uint8_t>*> to_answer;
};

TEST_CASE("the thread sleeps on a record only if it is the only one outstanding") {
    NotedTime time;
    ThreadCompletion completion(time);
    std::array<Awaited, 3> awaited;
    for (Awaited& each : awaited) {
        each.watch.status = &each.status;
        each.watch.deadline = Time::Point::max();
        completion.watch(each.watch);
        time.to_answer.push_back(&each.status);
    }
    std::stop_source stop;
    stop.request_stop();
    completion.run(stop.get_token());
    CHECK(time.watched ==
          std::vector<const std::atomic<std::uint8_t>*>{nullptr, nullptr, &awaited[0].status});
}

// Counts the steps of a wait.
class CountedTime final : public Time {
  public:
    Point now() override { return steady_clock::now(); }
    void pass(const std::atomic<std::uint8_t>*, std::uint32_t) override { ++steps; }
    std::atomic<std::int64_t> steps{0};
};

TEST_CASE("the thread looks once in a millisecond for an answer that is not polled for any more") {
    CountedTime time;
    ThreadCompletion completion(time);
    std::jthread thread([&](const std::stop_token& stop) { completion.run(stop); });
    Awaited awaited;
    const auto begin = steady_clock::now();
    awaited.begin(completion, std::chrono::hours(1), begin);
    // The limit is seen by the thread, so some looks are over by then.
    CHECK_FALSE(completion.await(awaited.watch, begin + milliseconds(20)));
    awaited.status = 1;
    CHECK(await_answer(completion, awaited.watch));
    CHECK(time.steps.load() <= (steady_clock::now() - begin) / milliseconds(1) + 2);
}

}  // namespace
}  // namespace migrate::accel::dsa
