// SPDX-License-Identifier: Apache-2.0
// Measures what memory of another process costs beside memory of this one, with one thread: reading
// private memory of a process beside reading a mapped file, and placing pages into a process beside
// placing them into private memory of this one. Prints a table and the goals, and returns 7 if one
// was missed. It calls the classes of `memory` themselves, so that it cannot be a scenario of
// `migrate bench`: there, the network would hide the difference.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config/unit_text.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "bench/host.hpp"
#include "bench/loops/loop_memory.hpp"
#include "memory/foreign/process_memory.hpp"
#include "tests/perf/arguments.hpp"

namespace {

using migrate::Error;
using migrate::make_error;
using migrate::Mapping;
using migrate::Result;
using migrate::Status;
using migrate::UniqueFd;
using migrate::memory::ProcessMemory;
namespace bench = migrate::bench;

constexpr std::string_view kUsage = "Usage: foreign_cost [size=4G] [runs=5]\n";
constexpr int kGoalMissed = 7;

// A sender reads this much at a time (SpanScanner::kStagedPages), into a buffer of two packets.
constexpr std::uint64_t kReadBytes = 16 * migrate::kPageSize;
constexpr std::uint64_t kStagingBytes = migrate::kMiB;
// A receiver places this much at a time (the default of multifd-packet-size), from the same buffer.
constexpr std::uint64_t kPacketBytes = 512 * migrate::kKiB;

struct Cost {
    double cpu_s = 0;
    double wall_s = 0;
};

double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

Result<Cost> time(const std::function<Status()>& work) {
    const auto began = std::chrono::steady_clock::now();
    const double cpu = cpu_seconds();
    MIGRATE_TRY(work());
    return Cost{cpu_seconds() - cpu,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()};
}

// Another process with private memory, as QEMU's: huge pages are asked for.
class Process {
  public:
    enum class Memory { kFilled, kUntouched };

    static Result<Process> start(std::uint64_t bytes, Memory memory) {
        std::array<int, 2> pipe{};
        if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return Error::system("make a pipe", errno);
        Process process;
        const UniqueFd told(pipe[0]);
        UniqueFd tell(pipe[1]);
        process.pid_ = ::fork();
        if (process.pid_ < 0) return Error::system("start a process", errno);
        if (process.pid_ == 0) serve(bytes, memory, tell.get());
        tell.reset();
        if (::read(told.get(), &process.address_, sizeof process.address_) !=
            static_cast<ssize_t>(sizeof process.address_)) {
            return Error("the other process could not make its memory");
        }
        return process;
    }

    Process(Process&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)), address_(other.address_) {}
    Process& operator=(Process&&) = delete;
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }

    pid_t pid() const { return pid_; }
    std::uint64_t address() const { return address_; }

  private:
    Process() = default;

    [[noreturn]] static void serve(std::uint64_t bytes, Memory memory, int tell) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        const auto made = bench::private_memory(bytes, bench::PageSizing::kHuge);
        if (!made) ::_exit(1);
        if (memory == Memory::kFilled && !bench::fill_random(*made)) ::_exit(1);
        const auto address = reinterpret_cast<std::uintptr_t>(made->data());
        constexpr ssize_t kSize = sizeof address;
        if (::write(tell, &address, sizeof address) != kSize) ::_exit(1);
        while (true) ::pause();
    }

    pid_t pid_ = -1;
    std::uint64_t address_ = 0;
};

Result<Mapping> filled_buffer() {
    MIGRATE_ASSIGN(Mapping buffer, bench::private_memory(kStagingBytes, bench::PageSizing::kSmall));
    MIGRATE_TRY(bench::fill_random(buffer));
    return buffer;
}

// Calls step(offset, part of the buffer) for all of the memory.
Status in_steps(std::uint64_t bytes, std::uint64_t step, const Mapping& buffer,
                const std::function<Status(std::uint64_t, std::span<std::byte>)>& work) {
    for (std::uint64_t done = 0; done < bytes; done += step) {
        const auto size = std::min(step, bytes - done);
        MIGRATE_TRY(work(done, buffer.bytes().subspan(done % kStagingBytes / step * step, size)));
    }
    return {};
}

struct Reading {
    std::vector<Cost> process;
    std::vector<Cost> file;
};

// A file in memory that is mapped here, every page of it.
Result<Mapping> mapped_file(std::uint64_t bytes) {
    const UniqueFd file(::memfd_create("foreign_cost", MFD_CLOEXEC));
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
        return Error::system("make a memfd", errno);
    }
    MIGRATE_ASSIGN(Mapping mapping, Mapping::create({.size = bytes,
                                                     .protection = PROT_READ | PROT_WRITE,
                                                     .flags = MAP_SHARED,
                                                     .fd = file.get(),
                                                     .what = "a memfd"}));
    MIGRATE_TRY(bench::fill_random(mapping));
    return mapping;
}

Result<Reading> measure_reading(std::uint64_t bytes, std::uint64_t runs) {
    MIGRATE_TRY(bench::warm_memory(2 * bytes));
    MIGRATE_ASSIGN(const Process other, Process::start(bytes, Process::Memory::kFilled));
    MIGRATE_ASSIGN(const Mapping file, mapped_file(bytes));
    MIGRATE_ASSIGN(const ProcessMemory memory, ProcessMemory::open(other.pid()));
    MIGRATE_ASSIGN(const Mapping staging, filled_buffer());
    const auto from_process = [&](std::uint64_t at, std::span<std::byte> to) {
        return memory.read(other.address() + at, to);
    };
    const auto from_file = [&](std::uint64_t at, std::span<std::byte> to) -> Status {
        std::memcpy(to.data(), file.data() + at, to.size());
        return {};
    };
    Reading reading;
    for (std::uint64_t run = 0; run < runs; ++run) {
        MIGRATE_ASSIGN(const Cost process,
                       time([&] { return in_steps(bytes, kReadBytes, staging, from_process); }));
        reading.process.push_back(process);
        MIGRATE_ASSIGN(const Cost mapped,
                       time([&] { return in_steps(bytes, kReadBytes, staging, from_file); }));
        reading.file.push_back(mapped);
    }
    return reading;
}

struct Placing {
    std::vector<Cost> process;
    std::vector<Cost> own;
};

// The last step must have arrived: what was skipped would be cheap.
Status check_placed(std::span<const std::byte> there, std::span<const std::byte> sent) {
    if (std::equal(there.begin(), there.end(), sent.begin(), sent.end())) return {};
    return Error("the content that was placed is not there");
}

Result<Cost> place_into_process(std::uint64_t bytes, const Mapping& packets) {
    MIGRATE_TRY(bench::warm_memory(bytes));
    MIGRATE_ASSIGN(const Process other, Process::start(bytes, Process::Memory::kUntouched));
    MIGRATE_ASSIGN(const ProcessMemory memory, ProcessMemory::open(other.pid()));
    std::span<std::byte> last;
    MIGRATE_ASSIGN(const Cost cost, time([&] {
                       return in_steps(bytes, kPacketBytes, packets,
                                       [&](std::uint64_t at, std::span<std::byte> from) {
                                           last = from;
                                           return memory.write(other.address() + at, from);
                                       });
                   }));
    std::vector<std::byte> there(last.size());
    MIGRATE_TRY(memory.read(other.address() + bytes - last.size(), there));
    MIGRATE_TRY(check_placed(there, last));
    return cost;
}

Result<Cost> place_into_own(std::uint64_t bytes, const Mapping& packets) {
    MIGRATE_TRY(bench::warm_memory(bytes));
    MIGRATE_ASSIGN(const Mapping own, bench::private_memory(bytes, bench::PageSizing::kHuge));
    std::span<std::byte> last;
    MIGRATE_ASSIGN(const Cost cost, time([&] {
                       return in_steps(bytes, kPacketBytes, packets,
                                       [&](std::uint64_t at, std::span<std::byte> from) -> Status {
                                           last = from;
                                           std::memcpy(own.data() + at, from.data(), from.size());
                                           return {};
                                       });
                   }));
    MIGRATE_TRY(check_placed(own.bytes().last(last.size()), last));
    return cost;
}

Result<Placing> measure_placing(std::uint64_t bytes, std::uint64_t runs) {
    MIGRATE_ASSIGN(const Mapping packets, filled_buffer());
    Placing placing;
    for (std::uint64_t run = 0; run < runs; ++run) {
        MIGRATE_ASSIGN(const Cost process, place_into_process(bytes, packets));
        placing.process.push_back(process);
        MIGRATE_ASSIGN(const Cost own, place_into_own(bytes, packets));
        placing.own.push_back(own);
    }
    return placing;
}

double median(const std::vector<Cost>& costs, double Cost::*of) {
    std::vector<double> values;
    for (const Cost& cost : costs) values.push_back(cost.*of);
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

void show(std::string_view what, std::uint64_t bytes, const std::vector<Cost>& costs) {
    const double cpu = median(costs, &Cost::cpu_s);
    fmt::print("| {} | {:.0f} ms | {:.0f} ms | {:.1f} GB/s |\n", what, cpu * 1e3,
               median(costs, &Cost::wall_s) * 1e3, static_cast<double>(bytes) / cpu / 1e9);
}

// The ratio of the medians of CPU time, which other work on the host distorts least.
bool meets(std::string_view goal, const std::vector<Cost>& ours, const std::vector<Cost>& base,
           double most) {
    const double ratio = median(ours, &Cost::cpu_s) / median(base, &Cost::cpu_s);
    fmt::print("| {} at most {} times | {:.2f} | {} |\n", goal, most, ratio,
               ratio <= most ? "met" : "MISSED");
    return ratio <= most;
}

bool report(std::uint64_t bytes, const Reading& reading, const Placing& placing) {
    fmt::print("| work | CPU time | time | by CPU time |\n| --- | --- | --- | --- |\n");
    show("read private memory of another process", bytes, reading.process);
    show("read a mapped file", bytes, reading.file);
    show("place into untouched memory of another process", bytes, placing.process);
    show("place into untouched memory of this process", bytes, placing.own);
    fmt::print("\n| goal | ratio | |\n| --- | --- | --- |\n");
    const bool reads = meets("reading costs", reading.process, reading.file, 1.1);
    const bool places = meets("placing costs", placing.process, placing.own, 1.25);
    return reads && places;
}

Result<bool> run(int argc, char** argv) {
    MIGRATE_ASSIGN(const auto known,
                   migrate::perf::parse_arguments(argc, argv, {{"size", "4G"}, {"runs", "5"}}));
    MIGRATE_ASSIGN(const std::uint64_t size, migrate::parse_bytes(known.at("size")));
    MIGRATE_ASSIGN(const std::uint64_t runs, migrate::parse_integer(known.at("runs")));
    const std::uint64_t bytes = size / kStagingBytes * kStagingBytes;
    if (bytes == 0 || runs == 0) {
        return make_error(migrate::ErrorKind::kUsage, "size and runs must not be 0");
    }
    MIGRATE_ASSIGN(const Reading reading, measure_reading(bytes, runs));
    MIGRATE_ASSIGN(const Placing placing, measure_placing(bytes, runs));
    return report(bytes, reading, placing);
}

}  // namespace

int main(int argc, char** argv) {
    const Result<bool> met = run(argc, argv);
    if (met) return *met ? 0 : kGoalMissed;
    const bool usage = met.error().kind() == migrate::ErrorKind::kUsage;
    fmt::print(stderr, "foreign_cost: {}\n{}", met.error().message(), usage ? kUsage : "");
    return usage ? 2 : 1;
}
