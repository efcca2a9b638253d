// SPDX-License-Identifier: Apache-2.0
#include "guest/external/process_guest.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/config/form_tables.hpp"
#include "base/log.hpp"
#include "base/outcome.hpp"
#include "base/regular_file.hpp"
#include "base/wait.hpp"
#include "guest/clock.hpp"
#include "guest/external/cgroup.hpp"
#include "guest/external/guardian.hpp"
#include "guest/external/process_claim.hpp"
#include "guest/external/throttle.hpp"
#include "memory/foreign/foreign_writers.hpp"
#include "memory/source/shared_source.hpp"

namespace migrate::guest {
namespace {

// The saved state of a process is empty apart from this magic: only its memory moves.
constexpr std::string_view kState = "MPRC\1";
constexpr std::chrono::milliseconds kStopPatience{5000};
constexpr std::chrono::microseconds kLookAgain{200};
constexpr std::chrono::microseconds kSettle{100};

struct ProcessSpec {
    pid_t pid = 0;
    std::vector<std::string> files;
    PauseBy pause = PauseBy::kNothing;
};

ProcessSpec process_spec(const ParsedForm& parsed) {
    const Words<kProcessWords> words(parsed);
    ProcessSpec spec;
    spec.pid = static_cast<pid_t>(parsed.operand.value.number);
    for (const std::string_view file : split_values(words.get<"map">())) {
        spec.files.emplace_back(file);
    }
    spec.pause = words.get<"pause", PauseBy>();
    return spec;
}

// The files that freeze a process's own cgroup.
struct Freezer {
    std::string knob;
    std::string freeze;
    std::string thaw;
    std::string state;   // file that holds the state
    std::string frozen;  // line in that file once all threads are frozen
    bool tells = false;  // true if the file signals changes by POLLPRI
};

Freezer find_freezer(pid_t pid) {
    if (const std::string group = own_cgroup(pid, "cgroup.freeze", ""); !group.empty()) {
        return {group + "/cgroup.freeze", "1", "0", group + "/cgroup.events", "frozen 1", true};
    }
    if (const std::string group = own_cgroup(pid, "freezer.state", "freezer"); !group.empty()) {
        return {group + "/freezer.state", "FROZEN", "THAWED",
                group + "/freezer.state", "FROZEN", false};
    }
    return {};
}

// `file` is one of the kernel's. It is read from its beginning, which arms the notification of the
// next change.
bool has_line(int file, std::string_view wanted) {
    std::array<char, 256> text{};
    const ssize_t size = ::pread(file, text.data(), text.size(), 0);
    if (size <= 0) return false;
    std::istringstream lines(std::string(text.data(), static_cast<std::size_t>(size)));
    for (std::string line; std::getline(lines, line);) {
        if (line == wanted) return true;
    }
    return false;
}

// Returns true if all threads are stopped ("State:\tT", proc(5)).
bool all_stopped(pid_t pid) {
    std::error_code failed;
    for (const auto& thread :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), failed)) {
        std::ifstream status(thread.path() / "status");
        bool stopped = !status;  // the thread has ended
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with("State:")) stopped = line.find_first_of("TtZX", 6) == 7;
        }
        if (!stopped) return false;
    }
    return !failed;
}

// Total run time of all threads, from schedstat (Documentation/scheduler/sched-stats.rst).
std::uint64_t run_time_ns(pid_t pid) {
    std::error_code failed;
    std::uint64_t sum = 0;
    for (const auto& thread :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), failed)) {
        std::ifstream file(thread.path() / "schedstat");
        std::uint64_t time = 0;
        if (file >> time) sum += time;
    }
    return sum;
}

// A thread that has just stopped is still leaving its CPU, so its last run time is not counted yet.
// The kernel reports to nobody when that is over.
Result<std::uint64_t> settled_run_time_ns(pid_t pid, const StopWait& wait) {
    std::uint64_t time = run_time_ns(pid);
    for (int turn = 0; turn < 50; ++turn) {
        MIGRATE_TRY(wait.wait(-1, 0, kSettle));
        const std::uint64_t now = run_time_ns(pid);
        if (std::exchange(time, now) == now) break;
    }
    return time;
}

// Waits until done() is true, which is checked whenever `told` reports POLLPRI. If `told` is -1,
// done() is polled: the kernel reports a stop only to the parent or the tracer of a process, and it
// does not report that a freezer of cgroup version 1 has frozen.
template <typename Done>
Status await_standstill(std::string_view what, const StopWait& wait, int told, Done done) {
    const auto until = Clock::now() + kStopPatience;
    while (!done()) {
        const auto left = std::chrono::ceil<std::chrono::microseconds>(until - Clock::now());
        if (left.count() <= 0) {
            return make_error(ErrorKind::kTimeout, "{} within {} ms", what, kStopPatience.count());
        }
        MIGRATE_TRY(wait.wait(told, POLLPRI, told < 0 ? std::min(left, kLookAgain) : left));
    }
    return {};
}

class ProcessGuest final : public Guest {
  public:
    ProcessGuest(pid_t pid, PauseBy by, Freezer freezer, std::unique_ptr<Guardian> guardian,
                 std::unique_ptr<Throttle> throttle)
        : pid_(pid),
          by_(by),
          freezer_(std::move(freezer)),
          guardian_(std::move(guardian)),
          throttle_(std::move(throttle)) {}
    ~ProcessGuest() override {
        if (!given_away_ && !running_) {
            const Status resumed = resume();
            if (!resumed) log::error("the process stands still: {}", resumed.error().message());
        }
    }

    void obey(std::stop_token stop) override { stop_ = std::move(stop); }
    std::string_view kind() const override { return kProcessKind; }
    bool lives_here() const override { return false; }
    bool running() const override { return running_; }
    bool can_stand_still() const override { return by_ != PauseBy::kNothing; }

    // If another process has stopped this one, it stays stopped.
    Status pause() override {
        if (!running_) return {};
        MIGRATE_TRY(throttle_->hold());
        if (by_ == PauseBy::kNothing) return {};
        if (stands_still()) {
            log::info("another process had already stopped this process: it stays stopped");
        } else {
            held_ = true;
            MIGRATE_TRY(guardian_->entrust(undo_all()));
        }
        running_ = false;
        const StopWait wait(stop_);
        if (held_) MIGRATE_TRY(by_ == PauseBy::kSigstop ? stop(wait) : freeze(wait));
        MIGRATE_ASSIGN(run_time_, settled_run_time_ns(pid_, wait));
        return {};
    }

    Status resume() override {
        if (running_) return {};
        if (held_ && by_ == PauseBy::kSigstop) MIGRATE_TRY(guardian_->signal(SIGCONT));
        if (held_ && by_ == PauseBy::kFreezer) {
            MIGRATE_TRY(write_knob(freezer_.knob, freezer_.thaw));
        }
        running_ = held_ || !stands_still();
        held_ = false;
        return throttle_->release();
    }

    // A thread that ran has used some run time.
    Status check_still() override {
        if (running_ || by_ == PauseBy::kNothing) return {};
        if (stands_still() && run_time_ns(pid_) == run_time_) return {};
        return make_error(
            "the process ran during the switchover: another process continued it, so the copy is "
            "not consistent; keep other tools away from it and try again");
    }

    int alarm() const override { return guardian_->process(); }
    Status check_alive() override {
        return guardian_->alive() ? Status() : make_error("process {} has ended", pid_);
    }

    Status throttle(unsigned percent) override {
        MIGRATE_TRY(guardian_->entrust(undo_all()));
        return throttle_->set(percent);
    }

    Result<std::string> save_state() override { return std::string(kState); }
    Activity activity() const override {
        return {.run_time =
                    std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began_)};
    }
    // The sum over all threads of the process.
    std::optional<std::chrono::microseconds> cpu_time() const override {
        return std::chrono::duration_cast<std::chrono::microseconds>(
            std::chrono::nanoseconds(run_time_ns(pid_)));
    }
    Status check() override { return {}; }

    void give_away() override {
        given_away_ = true;
        static_cast<void>(guardian_->entrust(throttle_->undo()));
    }
    void take_back() override {
        given_away_ = false;
        static_cast<void>(guardian_->entrust(undo_all()));
    }

  private:
    Status freeze(const StopWait& wait) const {
        const UniqueFd state(::open(freezer_.state.c_str(), O_RDONLY | O_CLOEXEC));
        if (!state) return Error::system("open " + freezer_.state, errno);
        MIGRATE_TRY(write_knob(freezer_.knob, freezer_.freeze));
        return await_standstill("the process's cgroup did not freeze", wait,
                                freezer_.tells ? state.get() : -1,
                                [&] { return has_line(state.get(), freezer_.frozen); });
    }
    Status stop(const StopWait& wait) const {
        MIGRATE_TRY(guardian_->signal(SIGSTOP));
        return await_standstill("the process did not stop", wait, -1,
                                [this] { return all_stopped(pid_); });
    }
    bool stands_still() const {
        if (by_ == PauseBy::kSigstop) return all_stopped(pid_);
        const UniqueFd state(::open(freezer_.state.c_str(), O_RDONLY | O_CLOEXEC));
        return state && has_line(state.get(), freezer_.frozen);
    }
    Undo undo_all() const {
        Undo undo = throttle_->undo();
        if (held_ && by_ == PauseBy::kSigstop) undo.wake = true;
        if (held_ && by_ == PauseBy::kFreezer) {
            undo.files.emplace_back(freezer_.knob, freezer_.thaw);
        }
        return undo;
    }

    pid_t pid_;
    PauseBy by_;
    Freezer freezer_;
    std::unique_ptr<Guardian> guardian_;
    std::unique_ptr<Throttle> throttle_;
    std::stop_token stop_;
    std::atomic<bool> running_{true};
    bool held_ = false;           // true if we stopped it in pause()
    std::uint64_t run_time_ = 0;  // sum over its threads once it stood still
    bool given_away_ = false;
    Clock::time_point began_ = Clock::now();
};

// A process's memory at the destination; nothing runs there.
class ArrivedProcess final : public Guest {
  public:
    std::string_view kind() const override { return kProcessKind; }
    bool lives_here() const override { return false; }
    bool running() const override { return false; }
    Status pause() override { return {}; }
    Status resume() override { return {}; }
    Status throttle(unsigned) override { return {}; }
    Result<std::string> save_state() override { return std::string(kState); }
    Activity activity() const override { return {}; }
    Status check() override { return {}; }
};

Status add_region(const ProcessSpec& spec, const std::string& path,
                  const std::vector<memory::SharedFileMapping>& mappings,
                  std::vector<memory::SharedRegion>& regions, memory::MemoryOwner& owner) {
    MIGRATE_ASSIGN(UniqueFd file, open_regular_file(path, O_RDONLY));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return Error::system("examine " + path, errno);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size == 0 || size % kPageSize != 0) {
        return make_error("{} has {} bytes, which are no whole pages", path, size);
    }
    MIGRATE_ASSIGN(const memory::FileIdentity identity, memory::identify(file.get()));
    std::vector<memory::ForeignMapping> where = memory::mappings_of(mappings, identity);
    if (where.empty()) {
        return make_error("process {} does not have {} mapped shared and writable", spec.pid, path);
    }
    for (memory::ForeignMapping& mapping : where) {
        if (mapping.file_offset + mapping.size > (size + kPageSize - 1) / kPageSize * kPageSize) {
            return make_error("process {} has more of {} mapped than there is of it", spec.pid,
                              path);
        }
    }
    owner.files.push_back(identity);
    owner.regions.push_back(std::move(where));
    const std::string name = spec.files.size() == 1 ? "ram" : fmt::format("ram{}", regions.size());
    regions.push_back({name, std::move(file), size, path});
    return {};
}

Result<Machine> open_spec(std::string_view uri, const ProcessSpec& spec) {
    MIGRATE_ASSIGN(ProcessClaim claim,
                   ProcessClaim::take(spec.pid, fmt::format("process {}", spec.pid)));
    MIGRATE_ASSIGN(const auto mappings, memory::shared_file_mappings(spec.pid));
    std::vector<memory::SharedRegion> regions;
    memory::MemoryOwner owner{spec.pid, memory::process_name(spec.pid), std::nullopt, {}, {}};
    for (const std::string& path : spec.files) {
        MIGRATE_TRY(add_region(spec, path, mappings, regions, owner));
    }
    Freezer freezer;
    if (spec.pause == PauseBy::kFreezer) {
        freezer = find_freezer(spec.pid);
        if (freezer.knob.empty()) {
            return make_error(
                "pause=freezer: the process has no cgroup of its own with a freezer; "
                "use pause=sigstop");
        }
    }
    if (spec.pause == PauseBy::kNothing) {
        log::info("{} is not paused (pause=none): the copy is of no single moment",
                  owner.description);
    }
    const auto files = memory::unmarked_files_of(spec.pid);
    if (files.contains(memory::FileAccessPath::kPinned) ||
        files.contains(memory::FileAccessPath::kRing)) {
        log::warning(
            "{} reads files by direct I/O: what is under way when it is stopped may arrive later, "
            "and not be in the copy",
            owner.description);
    }
    MIGRATE_ASSIGN(auto guardian, Guardian::start(std::move(claim), {}));
    auto throttle =
        Throttle::create(*guardian, spec.pid, std::max(1U, std::thread::hardware_concurrency()));
    MIGRATE_ASSIGN(auto source,
                   memory::open_shared_source(uri, std::move(regions), std::move(owner)));
    return Machine{std::move(source),
                   std::make_unique<ProcessGuest>(spec.pid, spec.pause, std::move(freezer),
                                                  std::move(guardian), std::move(throttle)),
                   {}};
}

}  // namespace

Result<Machine> open_process_machine(std::string_view uri, const ParsedForm& parsed) {
    auto machine = open_spec(uri, process_spec(parsed));
    if (!machine) return as_refusal(std::move(machine).error().with_context(uri));
    return machine;
}

Result<std::unique_ptr<Guest>> load_process(std::string_view state) {
    if (state != kState) {
        return make_error(ErrorKind::kProtocol,
                          "the saved state of {} bytes does not belong to a process", state.size());
    }
    return std::unique_ptr<Guest>(std::make_unique<ArrivedProcess>());
}

}  // namespace migrate::guest
