// SPDX-License-Identifier: Apache-2.0
// Credentials that are read for several connections at once, and that take long.
#include "transport/credential_reader.hpp"

#include <future>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::transport {
namespace {

using ContextPtr = std::shared_ptr<const TlsContext>;
using Reading = TlsEndpoint::Reading;

// A place for credentials that counts how often it is read, and waits for the test each time.
class SlowFiles {
  public:
    SlowFiles() = default;
    SlowFiles(const SlowFiles&) = delete;
    SlowFiles& operator=(const SlowFiles&) = delete;
    ~SlowFiles() { let_read(); }

    CredentialReader::Read read() {
        return [this](std::function<void()> ended) {
            ++readings_;
            return Reading::start(
                "read",
                [open = open_]() -> Result<ContextPtr> {
                    open.wait();
                    return std::make_shared<const TlsContext>();
                },
                std::move(ended));
        };
    }
    // The present and all later readings end.
    void let_read() {
        if (!std::exchange(is_open_, true)) gate_.set_value();
    }
    int readings() const { return readings_; }

  private:
    std::promise<void> gate_;
    std::shared_future<void> open_ = gate_.get_future().share();
    bool is_open_ = false;
    int readings_ = 0;
};

// Runs what is ready. A loop stops when it has no work.
void run_ready(asio::io_context& loop) {
    loop.restart();
    loop.poll();
}

// Runs the loop until `ended` is true.
void run_until(asio::io_context& loop, const bool& ended) {
    const auto work = asio::make_work_guard(loop);
    loop.restart();
    while (!ended) loop.run_one();
}

TEST_CASE("one reading serves all connections that asked before it began, and no later one") {
    asio::io_context loop;
    SlowFiles files;
    CredentialReader reader(loop, files.read());
    std::vector<ContextPtr> answers;
    bool has_ended = false;
    for (int i = 0; i < 5; ++i) {
        reader.ask([&](const Result<ContextPtr>& context) { answers.push_back(must(context)); });
    }
    run_ready(loop);
    CHECK(files.readings() == 1);
    // The files may have been changed since the reading began.
    reader.ask([&](const Result<ContextPtr>& context) {
        answers.push_back(must(context));
        has_ended = true;
    });
    run_ready(loop);
    CHECK(files.readings() == 1);
    CHECK(answers.empty());
    files.let_read();
    run_until(loop, has_ended);
    CHECK(files.readings() == 2);
    REQUIRE(answers.size() == 6);
    CHECK(answers[0] == answers[4]);
    CHECK(answers[0] != answers[5]);
}

TEST_CASE("files that do not answer stop nothing else") {
    asio::io_context loop;
    SlowFiles files;
    CredentialReader reader(loop, files.read());
    bool is_answered = false;
    bool has_ended = false;
    reader.ask([&](const Result<ContextPtr>&) { is_answered = true; });
    asio::steady_timer timer(loop, std::chrono::milliseconds(1));
    timer.async_wait([&](const asio::error_code&) { has_ended = true; });
    run_until(loop, has_ended);
    CHECK(files.readings() == 1);
    CHECK_FALSE(is_answered);
}

TEST_CASE("every connection that asked learns that the credentials cannot be read") {
    asio::io_context loop;
    int failures = 0;
    CredentialReader reader(loop, [](const std::function<void()>&) -> Result<Reading> {
        return Error(ErrorKind::kUsage, "no thread");
    });
    for (int i = 0; i < 3; ++i) {
        reader.ask([&](const Result<ContextPtr>& context) {
            CHECK_FALSE(context);
            ++failures;
        });
    }
    run_ready(loop);
    CHECK(failures == 3);
}

}  // namespace
}  // namespace migrate::transport
