// SPDX-License-Identifier: Apache-2.0
// Measures how many pages the software DSA device checks in a second, beside the CPU's own scan.
// Prints a line of JSON for each way. Usage:
// softdsa_speed                 all ways within this process
// softdsa_speed ENGINES BATCH   one of them
// softdsa_speed PATH            by ENQCMD on a work queue, under scripts/with-softdsa
// scripts/measure-softdsa runs all of this and prints a table.
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <span>
#include <thread>
#include <vector>

#include "accel/dsa/instructions.hpp"
#include "accel/softdsa/device.hpp"
#include "accel/zero_kernel.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"

namespace {

using migrate::kPageSize;
using namespace migrate::accel;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kPages = 4096;
constexpr std::size_t kMostBatch = 128;
constexpr std::array<std::size_t, 3> kBatches{1, 32, kMostBatch};

struct Batch {
    std::vector<dsa::Descriptor> children;
    std::vector<dsa::CompletionRecord> records;
    dsa::Descriptor top;
    dsa::CompletionRecord record;

    Batch(const std::byte* pages, std::size_t count) : children(count), records(count) {
        for (std::size_t i = 0; i < count; ++i) {
            children[i].set(dsa::Opcode::kCompval,
                            dsa::kFlagCompletionAddressValid | dsa::kFlagRequestCompletion);
            children[i].completion_address = dsa::address_of(&records[i]);
            children[i].source = dsa::address_of(pages + i * kPageSize);
            children[i].size = kPageSize;
        }
        top = children[0];
        if (count == 1) return;
        top.set(dsa::Opcode::kBatch,
                dsa::kFlagCompletionAddressValid | dsa::kFlagRequestCompletion);
        top.completion_address = dsa::address_of(&record);
        top.source = dsa::address_of(children.data());
        top.size = static_cast<std::uint32_t>(count);
    }
    std::atomic<std::uint8_t>& status() {
        return children.size() == 1 ? records[0].status : record.status;
    }
};

// Pages of one way, per second and per second of CPU time: other programs slow down the former.
class Speed {
  public:
    void count(std::size_t pages) { pages_ += pages; }
    bool goes_on() const { return elapsed() < 1; }
    std::size_t pages() const { return pages_; }
    void print(const char* way, std::size_t batch) const {
        const double done = static_cast<double>(pages_);
        std::printf(
            "{\"way\": \"%s\", \"batch\": %zu, \"per-second\": %.0f, \"per-cpu-second\": %.0f}\n",
            way, batch, done / elapsed(), done / (cpu_seconds() - cpu_begin_));
        std::fflush(stdout);
    }

  private:
    double elapsed() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    }
    static double cpu_seconds() {
        timespec time{};
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
    }
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
    double cpu_begin_ = cpu_seconds();
    std::size_t pages_ = 0;
};

// `submit(descriptor)` returns false if the queue is full.
template <typename Submit>
void by_queue(std::span<const std::byte> pages, std::size_t batch, const char* way,
              const Submit& submit) {
    std::deque<Batch> batches;
    for (std::size_t page = 0; page < kPages; page += batch)
        batches.emplace_back(pages.data() + page * kPageSize, batch);
    constexpr std::size_t kInFlight = 4;
    Speed speed;
    while (speed.goes_on()) {
        for (std::size_t i = 0; i < batches.size() + kInFlight; ++i) {
            if (i < batches.size()) {
                batches[i].status() = 0;
                while (!submit(batches[i].top)) std::this_thread::yield();
            }
            if (i < kInFlight) continue;
            while (batches[i - kInFlight].status() == 0) std::this_thread::yield();
        }
        speed.count(kPages);
    }
    speed.print(way, batch);
}

void in_process(std::span<const std::byte> pages, std::size_t batch, std::uint32_t engines) {
    softdsa::DeviceConfig config;
    config.engines = engines;
    config.queues[0].max_batch = kMostBatch;
    softdsa::Device device(config);
    if (device.start() != 0) return;
    by_queue(pages, batch, engines == 0 ? "in the process, no engines" : "in the process",
             [&](const dsa::Descriptor& descriptor) { return device.enqcmd(0, descriptor); });
}

int by_trap(std::span<const std::byte> pages, const char* path) {
    const migrate::UniqueFd node(::open(path, O_RDWR | O_CLOEXEC));
    void* const portal =
        ::mmap(nullptr, kPageSize, PROT_WRITE, MAP_SHARED | MAP_POPULATE, node.get(), 0);
    if (portal == MAP_FAILED) {
        std::perror(path);
        return 1;
    }
    for (const std::size_t batch : kBatches) {
        by_queue(pages, batch, "by trap", [&](const dsa::Descriptor& descriptor) {
            return dsa::enqueue_command(portal, descriptor);
        });
    }
    return 0;
}

void by_cpu(std::span<const std::byte> pages) {
    const ZeroKernel& kernel = *runnable_zero_kernels().front();
    Speed speed;
    std::size_t zero = 0;
    while (speed.goes_on()) {
        for (std::size_t i = 0; i < kPages; ++i)
            zero += kernel.is_zero(pages.data() + i * kPageSize);
        speed.count(kPages);
    }
    if (zero == speed.pages()) speed.print("the CPU's own scan", 1);
}

}  // namespace

int main(int argc, char** argv) {
    auto memory = migrate::Mapping::create({.size = kPages * kPageSize,
                                            .protection = PROT_READ | PROT_WRITE,
                                            .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                                            .what = "pages"});
    if (!memory) return 1;
    for (std::size_t page = 0; page < kPages; ++page)
        memory->data()[page * kPageSize] = std::byte{0};
    const std::span<const std::byte> pages = memory->bytes();
    if (argc == 2) return by_trap(pages, argv[1]);
    if (argc == 3) {
        in_process(pages, std::strtoul(argv[2], nullptr, 10),
                   static_cast<std::uint32_t>(std::strtoul(argv[1], nullptr, 10)));
        return 0;
    }
    for (const std::uint32_t engines : {1U, 0U})
        for (const std::size_t batch : kBatches) in_process(pages, batch, engines);
    by_cpu(pages);
    return 0;
}
