// SPDX-License-Identifier: Apache-2.0
#include "base/async_writer.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <deque>
#include <exception>
#include <string_view>
#include <utility>

#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "base/wait.hpp"

namespace migrate {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kChildPatience{1000};
// Interval at which a write to a full non-blocking output checks whether the writer was destroyed.
constexpr milliseconds kLookAgain{200};

// A fork() copies the queues and their locks in whatever state they are, but not the threads.
std::atomic<bool> in_forked_child{false};

// Registered at the start of the program: a fork() may come before the first writer.
[[maybe_unused]] const bool watches_forks =
    ::pthread_atfork(nullptr, nullptr, [] { in_forked_child.store(true); }) == 0;

// If poll() calls an output writable, it accepts PIPE_BUF bytes without waiting (pipe(7)).
void write_in_child(int fd, const std::string& message) {
    if (!writable_within(fd, kChildPatience)) return;
    (void)!::write(fd, message.data(), std::min<std::size_t>(message.size(), PIPE_BUF));
}

}  // namespace

struct AsyncWriter::State {
    struct Message {
        std::string text;
        // Number of dropped messages that this line reports; 0: a normal message.
        std::uint64_t stands_for = 0;
    };

    State(UniqueFd owned_fd, int number, Options given)
        : owned(std::move(owned_fd)), fd(owned ? owned.get() : number), options(std::move(given)) {}

    void push(std::string text, Importance importance);
    void start_thread(const std::shared_ptr<State>& self) REQUIRES(mutex);
    void run();
    void end();
    bool write_here(milliseconds longest_stall);
    int write_all(std::string_view text);
    void remove_last(off_t part) const;
    bool tells_of_dropped() REQUIRES(mutex);
    Message next() REQUIRES(mutex);
    void note_outcome(const Message& message, int error) REQUIRES(mutex);
    bool idle() const REQUIRES(mutex) {
        return ended || (queue.empty() && !writing && !owes_line());
    }
    bool owes_line() const REQUIRES(mutex) {
        return dropped != 0 && !failing && options.dropped_line != nullptr;
    }

    const UniqueFd owned;
    const int fd;
    const Options options;

    mutable Mutex mutex;
    Condition work;
    Condition change;  // something was written, or the thread has ended
    std::deque<Message> queue GUARDED_BY(mutex);
    // In the queue and in the message being written.
    std::size_t bytes GUARDED_BY(mutex) = 0;
    std::uint64_t dropped GUARDED_BY(mutex) = 0;
    std::uint64_t written GUARDED_BY(mutex) = 0;  // bytes
    bool writing GUARDED_BY(mutex) = false;
    bool failing GUARDED_BY(mutex) = false;  // the last write failed
    bool ended GUARDED_BY(mutex) = false;    // nothing more is written
    bool has_thread GUARDED_BY(mutex) = false;
    bool stop GUARDED_BY(mutex) = false;
};

// The line with the count takes the place of the dropped messages.
bool AsyncWriter::State::tells_of_dropped() {
    if (!owes_line()) return false;
    const std::uint64_t count = std::exchange(dropped, 0);
    Message line{options.dropped_line(count), count};
    bytes += line.text.size();
    queue.push_back(std::move(line));
    return true;
}

void AsyncWriter::State::push(std::string text, Importance importance) {
    const MutexLock lock(mutex);
    if (ended) return;
    const std::size_t limit =
        options.queue_bytes + (importance == Importance::kImportant ? options.reserve_bytes : 0);
    if (bytes != 0 && bytes + text.size() > limit) {
        ++dropped;
        return;
    }
    tells_of_dropped();
    bytes += text.size();
    queue.push_back({std::move(text)});
    work.notify_one();
}

AsyncWriter::State::Message AsyncWriter::State::next() {
    if (queue.empty()) tells_of_dropped();
    Message message = std::move(queue.front());
    queue.pop_front();
    writing = true;
    return message;
}

void AsyncWriter::State::remove_last(off_t part) const {
    if (!owned || part == 0) return;
    const off_t end = ::lseek(fd, 0, SEEK_CUR);
    if (end < part || ::ftruncate(fd, end - part) != 0) return;
    // Otherwise the next message would leave a hole in front of it.
    (void)::lseek(fd, end - part, SEEK_SET);
}

// Returns 0 or an errno. After an error an owned file keeps no part of the message.
int AsyncWriter::State::write_all(std::string_view text) {
    const std::size_t size = text.size();
    while (!text.empty()) {
        const ssize_t count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) {
            (void)writable_within(fd, kLookAgain);
            const MutexLock lock(mutex);
            if (stop) return EAGAIN;
            continue;
        }
        if (count < 0) {
            const int error = errno;
            remove_last(static_cast<off_t>(size - text.size()));
            return error;
        }
        text.remove_prefix(static_cast<std::size_t>(count));
        const MutexLock lock(mutex);
        written += static_cast<std::uint64_t>(count);
        change.notify_all();
    }
    return 0;
}

void AsyncWriter::State::note_outcome(const Message& message, int error) {
    writing = false;
    bytes -= message.text.size();
    failing = error != 0;
    if (error != 0) dropped += message.stands_for == 0 ? 1 : message.stands_for;
    ended = error != 0 && (options.ends_at_error || error == EPIPE || error == EBADF);
    if (ended) {
        dropped += queue.size();
        queue.clear();
        bytes = 0;
    }
    change.notify_all();
}

void AsyncWriter::State::run() {
    int error = 0;
    MutexLock lock(mutex);
    while (!ended) {
        work.wait(lock, [this]() REQUIRES(mutex) { return stop || !queue.empty() || owes_line(); });
        if (stop) break;
        const Message message = next();
        lock.unlock();
        error = write_all(message.text);
        lock.lock();
        note_outcome(message, error);
    }
    ended = true;
    change.notify_all();
    const bool tell = error != 0 && options.ends_at_error && !stop && options.on_end != nullptr;
    lock.unlock();
    if (tell) options.on_end(error);
}

// Called when the thread ran out of memory.
void AsyncWriter::State::end() {
    const MutexLock lock(mutex);
    ended = true;
    change.notify_all();
}

// The thread is detached: a thread that hangs in write(2) cannot be joined.
void AsyncWriter::State::start_thread(const std::shared_ptr<State>& self) {
    if (has_thread) return;
    // This also blocks SIGTTOU, which would stop a background process that writes to its terminal.
    const SignalsBlocked blocked;
    const auto run_self = [self](const std::stop_token&) -> Status {
        self->run();
        return {};
    };
    Result<Thread> thread =
        Thread::start("output", run_self, [self](const Error&) { self->end(); });
    // No thread could be started: the next message tries again, and flush() writes what is queued.
    if (!thread) return;
    thread->detach();
    has_thread = true;
}

// Used by flush() if no thread could be started. Returns false if the output accepted nothing for
// `longest_stall`.
bool AsyncWriter::State::write_here(milliseconds longest_stall) {
    MutexLock lock(mutex);
    while (!idle()) {
        const Message message = next();
        lock.unlock();
        std::string_view rest = message.text;
        int error = 0;
        while (!rest.empty() && error == 0) {
            const bool ready = writable_within(fd, longest_stall);
            error = ready ? write_all(rest.substr(0, PIPE_BUF)) : ETIMEDOUT;
            rest.remove_prefix(std::min<std::size_t>(rest.size(), PIPE_BUF));
        }
        lock.lock();
        note_outcome(message, error);
        if (error == ETIMEDOUT) return false;
    }
    return true;
}

AsyncWriter::AsyncWriter(UniqueFd owned, int fd, Options options)
    : state_(std::make_shared<State>(std::move(owned), fd, std::move(options))) {}

AsyncWriter::AsyncWriter(int fd, Options options)
    : AsyncWriter(UniqueFd(), fd, std::move(options)) {}

AsyncWriter::AsyncWriter(UniqueFd fd, Options options)
    : state_(std::make_shared<State>(std::move(fd), -1, std::move(options))) {}

AsyncWriter::~AsyncWriter() {
    const MutexLock lock(state_->mutex);
    state_->stop = true;
    state_->work.notify_one();
}

void AsyncWriter::write(std::string message, Importance importance) noexcept {
    if (message.empty()) return;
    if (in_forked_child.load(std::memory_order_relaxed)) {
        return write_in_child(state_->fd, message);
    }
    try {
        state_->push(std::move(message), importance);
        const MutexLock lock(state_->mutex);
        state_->start_thread(state_);
    } catch (const std::exception&) {
        // Out of memory: the message is lost.
    }
}

bool AsyncWriter::flush(milliseconds longest_stall) noexcept {
    if (in_forked_child.load(std::memory_order_relaxed)) return true;
    MutexLock lock(state_->mutex);
    if (!state_->has_thread) {
        lock.unlock();
        return state_->write_here(longest_stall);
    }
    const auto end = Clock::now() + kLongestFlush;
    while (!state_->idle()) {
        const std::uint64_t before = state_->written;
        const auto until = std::min(Clock::now() + longest_stall, end);
        const auto moved = [&]() REQUIRES(state_->mutex) {
            return state_->idle() || state_->written != before;
        };
        if (!state_->change.wait_until(lock, until, moved)) return false;
    }
    return true;
}

std::uint64_t AsyncWriter::unwritten() const {
    const MutexLock lock(state_->mutex);
    return state_->dropped + state_->queue.size() + (state_->writing ? 1 : 0);
}

}  // namespace migrate
