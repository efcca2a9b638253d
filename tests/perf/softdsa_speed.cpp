// Measures how many pages the software DSA device checks in a second, beside the CPU's own scan.
// Prints one line for each way.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
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

double pages_per_second(std::size_t pages, std::chrono::steady_clock::time_point begin) {
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    return static_cast<double>(pages) / time.count();
}

double by_device(const std::byte* pages, std::size_t batch) {
    softdsa::DeviceConfig config;
    config.queues[0].max_batch = kMostBatch;
    softdsa::Device device(config);
    if (device.start() != 0) return 0;
    std::deque<Batch> batches;
    for (std::size_t page = 0; page < kPages; page += batch)
        batches.emplace_back(pages + page * kPageSize, batch);
    constexpr std::size_t kInFlight = 4;
    const auto begin = std::chrono::steady_clock::now();
    std::size_t done = 0;
    while (std::chrono::steady_clock::now() - begin < std::chrono::seconds(1)) {
        for (std::size_t i = 0; i < batches.size() + kInFlight; ++i) {
            if (i < batches.size()) batches[i].submit(device);
            if (i < kInFlight) continue;
            while (batches[i - kInFlight].status() == 0) std::this_thread::yield();
        }
        done += kPages;
    }
    return pages_per_second(done, begin);
}

double by_cpu(const std::byte* pages) {
    const ZeroKernel& kernel = *runnable_zero_kernels().front();
    const auto begin = std::chrono::steady_clock::now();
    std::size_t done = 0;
    std::size_t zero = 0;
    while (std::chrono::steady_clock::now() - begin < std::chrono::seconds(1)) {
        for (std::size_t i = 0; i < kPages; ++i) zero += kernel.is_zero(pages + i * kPageSize);
        done += kPages;
    }
    if (zero != done) return 0;
    return pages_per_second(done, begin);
}

}  // namespace

int main() {
    auto memory = migrate::Mapping::create({.size = kPages * kPageSize,
                                            .protection = PROT_READ | PROT_WRITE,
                                            .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                                            .what = "pages"});
    if (!memory) return 1;
    for (std::size_t page = 0; page < kPages; ++page)
        memory->data()[page * kPageSize] = std::byte{0};
    for (const std::size_t batch : {std::size_t{1}, std::size_t{32}, kMostBatch}) {
        std::printf("in the process, batches of %zu: %.0f pages/s\n", batch,
                    by_device(memory->data(), batch));
    }
    std::printf("the CPU's own scan: %.0f pages/s\n", by_cpu(memory->data()));
    return 0;
}
