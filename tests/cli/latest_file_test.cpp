// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/latest_file.hpp"

#include <semaphore>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "catch.hpp"

namespace migrate::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{20'000};

// A file system that holds each write until it is let go.
class SlowFiles {
  public:
    LatestFile::Write write() {
        return [this](const std::string& text) -> Status {
            begun_.release();
            go_on_.acquire();
            const MutexLock lock(mutex_);
            texts_.push_back(text);
            return {};
        };
    }
    void await_begin() { begun_.acquire(); }
    void go_on() { go_on_.release(); }
    std::vector<std::string> texts() const {
        const MutexLock lock(mutex_);
        return texts_;
    }

  private:
    std::counting_semaphore<8> begun_{0};
    std::counting_semaphore<8> go_on_{0};
    mutable Mutex mutex_;
    std::vector<std::string> texts_ GUARDED_BY(mutex_);
};

TEST_CASE("a text that comes while another one is being written is dropped, and the last is not") {
    SlowFiles files;
    LatestFile file(files.write(), milliseconds(0));
    file.offer("first");
    files.await_begin();
    CHECK_FALSE(file.wants_text());
    file.offer("second");
    files.go_on();
    files.go_on();
    file.finish("last", kLong);
    CHECK(files.texts() == std::vector<std::string>{"first", "last"});
}

TEST_CASE("a text that comes too soon after another one is dropped") {
    SlowFiles files;
    for (int i = 0; i < 2; ++i) files.go_on();
    LatestFile file(files.write(), kLong);
    CHECK(file.wants_text());
    file.offer("first");
    file.offer("second");
    CHECK_FALSE(file.wants_text());
    file.finish("last", kLong);
    CHECK(files.texts() == std::vector<std::string>{"first", "last"});
}

TEST_CASE("a file system that does not answer delays the end by no more than its limit") {
    // Used by the call that is left behind, which ends before the program does.
    static SlowFiles files;
    {
        LatestFile file(files.write(), milliseconds(0));
        file.offer("first");
        files.await_begin();
        file.finish("last", milliseconds(1));
        CHECK(files.texts().empty());
    }
    files.go_on();
}

TEST_CASE("a text that cannot be written does not keep the next one from being written") {
    int calls = 0;
    LatestFile file(
        [&calls](const std::string&) -> Status {
            ++calls;
            return Error(ErrorKind::kFailed, "no room");
        },
        milliseconds(0));
    file.offer("first");
    file.finish("last", kLong);
    CHECK(calls == 2);
}

}  // namespace
}  // namespace migrate::cli
