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

    void begin(Completion& completion, steady_clock::duration timeout) {
        status = 0;
        watch.status = &status;
        watch.submitted = steady_clock::now();
        watch.deadline = watch.submitted + timeout;
        completion.watch(watch);
    }
};

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
    CHECK_FALSE(completion.ready(awaited.watch));
    std::jthread device([&] { awaited.status = 1; });
    CHECK(completion.await(awaited.watch));
    CHECK(completion.ready(awaited.watch));
    CHECK(awaited.watch.seen >= awaited.watch.submitted);

    awaited.begin(completion, milliseconds(1));
    CHECK_FALSE(completion.await(awaited.watch));
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
                    unanswered += threaded.completion.await(awaited[c].watch) ? 0 : 1;
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

TEST_CASE("the thread gives up on what is not answered, and nobody waits for ever") {
    Threaded threaded;
    Awaited silent;
    Awaited prompt;
    silent.begin(threaded.completion, milliseconds(2));
    prompt.begin(threaded.completion, std::chrono::hours(1));
    CHECK_FALSE(threaded.completion.await(silent.watch));
    prompt.status = 1;
    CHECK(threaded.completion.await(prompt.watch));
}

TEST_CASE("the thread does not end before what is outstanding has been settled") {
    Threaded threaded;
    Awaited late;
    late.begin(threaded.completion, milliseconds(5));
    threaded.thread.request_stop();
    CHECK_FALSE(threaded.completion.await(late.watch));
}

}  // namespace
}  // namespace migrate::accel::dsa
