// Measures how many pages the software DSA device checks in a second, beside the CPU's own scan.
// Prints one line for each way. Usage: softdsa_speed [ENGINES BATCH], to measure one way only.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <thread>
#include <vector>

#include "accel/softdsa/device.hpp"
#include "accel/zero_kernel.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"

namespace {

using migrate::kPageSize;
using namespace migrate::accel;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kPages = 4096;
constexpr std::size_t kMostBatch = 128;

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
    void submit(softdsa::Device& device) {
        status() = 0;
        while (!device.enqcmd(0, top)) std::this_thread::yield();
    }
};

// Pages of one way, per second and per second of CPU time: other programs slow down the former.
class Speed {
  public:
    void count(std::size_t pages) { pages_ += pages; }
    bool goes_on() const { return elapsed() < 1; }
    std::size_t pages() const { return pages_; }
    void print(const char* what, unsigned engines, std::size_t batch) const {
        const double done = static_cast<double>(pages_);
        std::printf("%s, %u engines, batches of %zu: %.0f pages/s, %.0f per second of CPU time\n",
                    what, engines, batch, done / elapsed(), done / (cpu_seconds() - cpu_begin_));
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

void by_device(const std::byte* pages, std::size_t batch, std::uint32_t engines) {
    softdsa::DeviceConfig config;
    config.engines = engines;
    config.queues[0].max_batch = kMostBatch;
    softdsa::Device device(config);
    if (device.start() != 0) return;
    std::deque<Batch> batches;
    for (std::size_t page = 0; page < kPages; page += batch)
        batches.emplace_back(pages + page * kPageSize, batch);
    constexpr std::size_t kInFlight = 4;
    Speed speed;
    while (speed.goes_on()) {
        for (std::size_t i = 0; i < batches.size() + kInFlight; ++i) {
            if (i < batches.size()) batches[i].submit(device);
            if (i < kInFlight) continue;
            while (batches[i - kInFlight].status() == 0) std::this_thread::yield();
        }
        speed.count(kPages);
    }
    speed.print("in the process", engines, batch);
}

void by_cpu(const std::byte* pages) {
    const ZeroKernel& kernel = *runnable_zero_kernels().front();
    Speed speed;
    std::size_t zero = 0;
    while (speed.goes_on()) {
        for (std::size_t i = 0; i < kPages; ++i) zero += kernel.is_zero(pages + i * kPageSize);
        speed.count(kPages);
    }
    if (zero == speed.pages()) speed.print("the CPU's own scan", 0, 1);
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
    if (argc == 3) {
        by_device(memory->data(), std::strtoul(argv[2], nullptr, 10),
                  static_cast<std::uint32_t>(std::strtoul(argv[1], nullptr, 10)));
        return 0;
    }
    for (const std::uint32_t engines : {0U, 1U}) {
        for (const std::size_t batch : {std::size_t{1}, std::size_t{32}, kMostBatch})
            by_device(memory->data(), batch, engines);
    }
    by_cpu(memory->data());
    return 0;
}
