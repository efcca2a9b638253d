// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/dsa_page_scanner.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>
#include <thread>

#include "catch.hpp"
#include "tests/support/made_up_device.hpp"
#include "tests/support/must.hpp"
#include "tests/support/seccomp.hpp"

namespace migrate::accel::dsa {
namespace {

constexpr std::uint32_t kScanPages = 128;

const ZeroKernel& scalar() { return all_zero_kernels().back(); }

// A device, its queue, and pages of which every third is not zero.
struct Rig {
    explicit Rig(DsaPageScanner::Options options = {}, QueueLimits limits = MadeUpDevice().limits())
        : completion([&]() -> Time& {
              auto made = std::make_unique<MadeUpDevice>(limits);
              device = made.get();
              queue = std::make_unique<WorkQueue>(std::move(made));
              return *device;
          }()) {
        memory = must(Mapping::create({.size = kScanPages * kPageSize,
                                       .protection = PROT_READ | PROT_WRITE,
                                       .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                       .what = "pages"}));
        for (std::size_t page = 0; page < kScanPages; page += 3)
            memory.data()[page * kPageSize + page * 31 % kPageSize] = std::byte{1};
        scanner = must(DsaPageScanner::create({queue.get()}, completion, scalar(), options));
    }

    void submit(std::uint32_t pages = kScanPages) {
        const PageExtent extent{memory.data(), pages};
        scanner->submit({&extent, 1});
        submitted.push_back(pages);
    }
    Status collect_one(std::vector<std::uint64_t>& map) {
        map.assign(kScanPages / 64, ~std::uint64_t{0});
        MIGRATE_TRY(scanner->await());
        return scanner->collect(map);
    }
    // Collects all that was submitted, and says how many answers are wrong.
    std::size_t wrong_answers() {
        std::size_t wrong = 0;
        for (const std::uint32_t pages : submitted) {
            std::vector<std::uint64_t> map;
            must(collect_one(map));
            for (std::uint32_t page = 0; page < pages; ++page)
                wrong += (map[page / 64] >> (page % 64) & 1) != (page % 3 == 0 ? 0U : 1U);
        }
        submitted.clear();
        return wrong;
    }
    std::uint64_t count(QueueCounters::Count QueueCounters::*counter) const {
        return (queue->counters().*counter).load();
    }

    MadeUpDevice* device = nullptr;
    std::unique_ptr<WorkQueue> queue;
    InlineCompletion completion;
    Mapping memory;
    std::unique_ptr<DsaPageScanner> scanner;
    std::vector<std::uint32_t> submitted;
};

TEST_CASE("a packet is split into batches of the queue's limit, and a page alone is no batch") {
    Rig rig;
    rig.submit(65);
    REQUIRE(rig.device->taken().size() == 3);
    CHECK(rig.device->taken()[0].opcode() == Opcode::kBatch);
    CHECK(rig.device->taken()[0].size == 32);
    CHECK(rig.device->taken()[2].opcode() == Opcode::kCompval);
    CHECK(rig.device->taken()[2].size == kPageSize);
    CHECK(rig.device->taken()[0].source % 64 == 0);
    for (const Descriptor& descriptor : rig.device->taken()) {
        CHECK(descriptor.pasid == 0);
        CHECK(descriptor.completion_address % 32 == 0);
        CHECK((descriptor.flags() & kFlagBlockOnFault) == 0);
    }
    CHECK(rig.wrong_answers() == 0);
    CHECK(rig.count(&QueueCounters::batches) == 2);
    CHECK(rig.count(&QueueCounters::descriptors) == 65);
    CHECK(rig.count(&QueueCounters::cpu_pages) == 0);
}

TEST_CASE("a queue without batches is given page after page, as many as it has room for") {
    for (const QueueMode mode : {QueueMode::kShared, QueueMode::kDedicated}) {
        Rig rig({}, {.mode = mode, .entries = 16, .batch = 1, .transfer_bytes = 4096});
        for (int i = 0; i < 4; ++i) rig.submit();
        CHECK(rig.wrong_answers() == 0);
        CHECK(rig.device->taken().size() == std::size_t{4} * kScanPages);
        CHECK(rig.count(&QueueCounters::cpu_pages) == 0);
        // A dedicated queue would have lost it without a word.
        if (mode == QueueMode::kDedicated) CHECK(rig.device->lost == 0);
    }
}

TEST_CASE("pages the device could not read are finished by the CPU") {
    Rig rig;
    rig.device->on_descriptor = [](const Descriptor& batch) {
        for (const Descriptor& child : children_of(batch)) answer_page(child);
        answer(children_of(batch)[3], CompletionStatus::kPageFault, 0, 512);
        record_at(children_of(batch)[5].completion_address).status.store(0x84);
        answer(batch, CompletionStatus::kBatchFailed, 1, batch.size);
    };
    rig.submit();
    CHECK(rig.wrong_answers() == 0);
    CHECK(rig.count(&QueueCounters::page_faults) == 8);
    CHECK(rig.count(&QueueCounters::cpu_pages) == 8);
    CHECK(rig.queue->alive());
}

TEST_CASE("the CPU finishes the descriptors that a fault of the list left undone") {
    Rig rig;
    rig.device->on_descriptor = [](const Descriptor& batch) {
        for (const Descriptor& child : children_of(batch).first(10)) answer_page(child);
        answer(batch, CompletionStatus::kBatchPageFault, 0, 10);
    };
    rig.submit(32);
    CHECK(rig.wrong_answers() == 0);
    CHECK(rig.count(&QueueCounters::list_faults) == 1);
    CHECK(rig.count(&QueueCounters::cpu_pages) == 22);
}

TEST_CASE("every other status of a batch or a page is counted and finished by the CPU") {
    const auto status = GENERATE(range(2, 0x100));
    const auto masked = static_cast<CompletionStatus>(status & kStatusMask);
    if (masked == CompletionStatus::kNone || masked == CompletionStatus::kSuccess) return;
    const bool of_batch = GENERATE(true, false);
    CAPTURE(status, of_batch);
    Rig rig;
    rig.device->on_descriptor = [&](const Descriptor& batch) {
        for (const Descriptor& child : children_of(batch)) answer_page(child);
        if (!of_batch) answer(children_of(batch)[7], static_cast<CompletionStatus>(status), 0, 3);
        answer(batch,
               of_batch ? static_cast<CompletionStatus>(status) : CompletionStatus::kBatchFailed, 1,
               batch.size);
    };
    rig.submit(32);
    CHECK(rig.wrong_answers() == 0);
    const auto troubles =
        rig.count(&QueueCounters::bad_statuses) + rig.count(&QueueCounters::page_faults) +
        rig.count(&QueueCounters::list_faults) + rig.count(&QueueCounters::record_faults);
    if (!of_batch || masked != CompletionStatus::kBatchFailed) CHECK(troubles == 1);
}

TEST_CASE("the CPU finishes a page whose result is not a valid value") {
    Rig rig;
    rig.device->on_descriptor = [](const Descriptor& page) {
        answer(page, CompletionStatus::kSuccess, 77);
    };
    rig.submit(1);
    CHECK(rig.wrong_answers() == 0);
    CHECK(rig.count(&QueueCounters::bad_statuses) == 1);
}

TEST_CASE("a queue that is full is offered a batch again, until it is pointless") {
    Rig rig;
    SECTION("for a while") {
        rig.device->refusals = 1000;
        rig.submit();
        CHECK(rig.wrong_answers() == 0);
        CHECK(rig.count(&QueueCounters::cpu_pages) == 0);
        CHECK(rig.count(&QueueCounters::retries) >= 1000);
    }
    SECTION("for ever") {
        rig.device->refusals = SIZE_MAX;
        rig.submit();
        CHECK(rig.wrong_answers() == 0);
        const auto tries = rig.count(&QueueCounters::retries);
        CHECK(rig.count(&QueueCounters::full) == 1);
        CHECK(rig.count(&QueueCounters::cpu_pages) == kScanPages);
        // Waiting is not repeated for every packet.
        rig.submit();
        CHECK(rig.wrong_answers() == 0);
        CHECK(rig.count(&QueueCounters::retries) < tries + 10);
        CHECK(rig.queue->left());
        CHECK_THAT(rig.queue->trouble(), Catch::Contains("stays full"));
        // And it is used again as soon as it takes something when its trial is due.
        rig.device->refusals = 0;
        rig.device->pass_time(WorkQueue::kTrialInterval);
        rig.submit();
        CHECK(rig.wrong_answers() == 0);
        CHECK(rig.count(&QueueCounters::cpu_pages) == std::uint64_t{2} * kScanPages);
    }
}

TEST_CASE("a queue that was disabled is left at once, and the report says what was disabled") {
    Rig shared;
    shared.device->closed = "the queue is disabled";
    shared.device->refusals = SIZE_MAX;
    shared.submit();
    CHECK(shared.wrong_answers() == 0);
    CHECK(shared.queue->left());
    CHECK(shared.queue->trouble() == "takes no work: the queue is disabled");
    Rig dedicated({.timeout = std::chrono::milliseconds(5)});
    dedicated.device->closed = "the device dsa0 is disabled";
    dedicated.device->mute = true;
    dedicated.submit();
    CHECK(dedicated.wrong_answers() == 0);
    CHECK(dedicated.queue->trouble() ==
          "did not answer in time (accel-timeout): the device dsa0 is disabled");
}

TEST_CASE("late writes of a silent device change no answer") {
    Rig rig({.timeout = std::chrono::milliseconds(5)});
    rig.device->mute = true;
    rig.submit();
    rig.submit();
    CHECK(rig.wrong_answers() == 0);
    CHECK(rig.count(&QueueCounters::timeouts) == 8);
    CHECK(rig.count(&QueueCounters::cpu_pages) == std::uint64_t{2} * kScanPages);
    CHECK_FALSE(rig.queue->alive());
    CHECK(rig.device->elapsed() < std::chrono::seconds(1));
    // Now it says of every page that it is zero, where it was told to.
    for (const Descriptor& batch : rig.device->taken()) {
        for (const Descriptor& child : children_of(batch))
            answer(child, CompletionStatus::kSuccess, 0);
        answer(batch, CompletionStatus::kSuccess);
    }
    const std::size_t before = rig.device->taken().size();
    rig.submit();
    CHECK(rig.wrong_answers() == 0);
    CHECK(rig.device->taken().size() == before);
    // Also when it is written after the scanner is gone.
    rig.scanner.reset();
    for (const Descriptor& batch : rig.device->taken()) answer(batch, CompletionStatus::kSuccess);
}

TEST_CASE("a device that does not write its records is given up after some of them") {
    Rig rig;
    rig.device->on_descriptor = [](const Descriptor& batch) {
        answer(batch, CompletionStatus::kBatchFailed, 1, batch.size);
    };
    for (int i = 0; i < 100; ++i) {
        rig.submit(32);
        CHECK(rig.wrong_answers() == 0);
    }
    CHECK_FALSE(rig.queue->alive());
    CHECK(rig.device->taken().size() == 64);
}

TEST_CASE("the next queue takes over from a queue that fails") {
    Rig dead({.timeout = std::chrono::milliseconds(1)});
    Rig rig;
    dead.device->mute = true;
    rig.scanner = must(DsaPageScanner::create({dead.queue.get(), rig.queue.get()}, dead.completion,
                                              scalar(), {.timeout = std::chrono::milliseconds(1)}));
    rig.submit();
    CHECK(rig.wrong_answers() == 0);
    CHECK_FALSE(dead.queue->alive());
    rig.submit();
    CHECK(rig.device->taken().size() == 4);
    rig.device->pass_time(std::chrono::milliseconds(1));
    CHECK(rig.wrong_answers() == 0);
}

TEST_CASE("a queue that another channel has given up is not asked again") {
    Rig rig;
    rig.device->refusals = 1;
    rig.submit();
    rig.queue->disable("was given up by another channel");
    CHECK(rig.wrong_answers() == 0);
    CHECK(rig.device->taken().empty());
    CHECK(rig.count(&QueueCounters::cpu_pages) == kScanPages);
    CHECK(rig.count(&QueueCounters::full) == 0);
}

TEST_CASE("a wrong answer is found by accel-verify, whatever the guest writes meanwhile") {
    Rig rig({.verify_every = 5});
    SECTION("a device that lies") {
        rig.device->on_descriptor = [](const Descriptor& batch) {
            for (const Descriptor& child : children_of(batch))
                answer(child, CompletionStatus::kSuccess, 0);
            answer(batch, CompletionStatus::kSuccess);
        };
        rig.submit();
        std::vector<std::uint64_t> map;
        CHECK_THAT(message_of(rig.collect_one(map)), Catch::Contains("do not use this device"));
        CHECK_FALSE(rig.queue->alive());
    }
    SECTION("a guest that writes between the two looks") {
        rig.submit();
        rig.device->pass_time(std::chrono::seconds(1));
        for (std::uint32_t page = 0; page < kScanPages; ++page)
            rig.memory.data()[page * kPageSize] ^= std::byte{0xff};
        std::vector<std::uint64_t> map;
        CHECK(rig.collect_one(map));
        CHECK(rig.count(&QueueCounters::verified) == kScanPages / 5);
        CHECK(rig.queue->alive());
    }
}

TEST_CASE("a page that accel-verify cannot copy fails the scan with the reason") {
    Rig rig({.verify_every = 5});
    std::string failure = "none";
    // The filter is for good, and this thread's own.
    std::thread([&] {
        must(forbid_in_this_thread(SYS_process_vm_readv, EPERM));
        rig.submit();
        std::vector<std::uint64_t> map;
        failure = message_of(rig.collect_one(map));
    }).join();
    CHECK(failure ==
          "cannot copy a page to verify a device's answer (accel-verify): Operation not permitted");
    CHECK(rig.count(&QueueCounters::verified) == 0);
}

TEST_CASE("a page that could not be copied needs no check if the CPU answered for it") {
    Rig rig({.verify_every = 5});
    rig.device->on_descriptor = [](const Descriptor& batch) {
        answer(batch, CompletionStatus::kBatchPageFault, 0, 0);
    };
    std::thread([&] {
        must(forbid_in_this_thread(SYS_process_vm_readv, EPERM));
        rig.submit();
        CHECK(rig.wrong_answers() == 0);
    }).join();
    CHECK(rig.count(&QueueCounters::cpu_pages) == kScanPages);
}

TEST_CASE("a scanner that ends early leaves no descriptor behind that could still be answered") {
    Rig rig;
    for (int i = 0; i < 4; ++i) rig.submit();
    rig.scanner.reset();
    CHECK(rig.device->elapsed() == std::chrono::microseconds(16));
}

TEST_CASE("while a queue is full, the wait watches the oldest outstanding record") {
    Rig rig({}, {.entries = 2, .batch = 32, .transfer_bytes = 1U << 21U});
    rig.submit();
    REQUIRE(rig.device->taken().size() == 2);
    REQUIRE(rig.scanner->await());
    REQUIRE(rig.device->taken().size() == 4);
    // One step of the wait for each descriptor: it ends when that one is answered.
    REQUIRE(rig.device->watched.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) {
        const Descriptor& descriptor = rig.device->taken()[i];
        CHECK(rig.device->watched[i] == &record_at(descriptor.completion_address).status);
    }
    CHECK(rig.wrong_answers() == 0);
}

TEST_CASE("a queue that refuses its work is left for another one, and used again when it answers") {
    Rig refusing;
    Rig other;
    other.scanner = must(DsaPageScanner::create({refusing.queue.get(), other.queue.get()},
                                                refusing.completion, scalar(), {}));
    refusing.device->on_descriptor = [](const Descriptor& batch) {
        for (const Descriptor& child : children_of(batch))
            answer(child, CompletionStatus::kBadOpcode);
        answer(batch, CompletionStatus::kBatchFailed, 1, batch.size);
    };
    other.submit();
    CHECK(other.wrong_answers() == 0);
    CHECK(refusing.queue->left());
    CHECK(refusing.queue->alive());
    CHECK(refusing.queue->trouble() == "refuses its work with status 0x10");
    const std::size_t asked = refusing.device->taken().size();
    for (int i = 0; i < 10; ++i) {
        other.submit();
        other.device->pass_time(std::chrono::milliseconds(1));
        CHECK(other.wrong_answers() == 0);
    }
    CHECK(refusing.device->taken().size() == asked);
    CHECK(other.device->taken().size() == 40);
    // The trial fails, so the next one has to wait.
    refusing.device->pass_time(WorkQueue::kTrialInterval);
    other.submit();
    CHECK(other.wrong_answers() == 0);
    CHECK(refusing.device->taken().size() == asked + 4);
    CHECK(refusing.queue->left());
    refusing.device->on_descriptor = answer_rightly;
    refusing.device->pass_time(WorkQueue::kTrialInterval);
    for (int i = 0; i < 2; ++i) {
        other.submit();
        CHECK(other.wrong_answers() == 0);
    }
    CHECK_FALSE(refusing.queue->left());
    CHECK(refusing.device->taken().size() == asked + 12);
    CHECK(refusing.queue->counters().times_left == 1);
}

TEST_CASE("the CPU overtakes a device that is late, and its late answers harm nothing") {
    Rig rig({.share = AccelShare::kAuto});
    rig.device->service_time = [](const Descriptor&) { return std::chrono::milliseconds(10); };
    for (int i = 0; i < 20; ++i) {
        rig.submit();
        rig.submit();
        CHECK(rig.wrong_answers() == 0);
    }
    // The made-up CPU checks a page in no time, so the channel never waits for long.
    CHECK(rig.device->elapsed() < std::chrono::milliseconds(100));
    CHECK(rig.count(&QueueCounters::late_pages) > 0);
    CHECK(rig.count(&QueueCounters::timeouts) == 0);
    const std::size_t taken = rig.device->taken().size();
    rig.device->pass_time(std::chrono::milliseconds(500));
    rig.device->service_time = [](const Descriptor&) { return std::chrono::nanoseconds(1); };
    for (int i = 0; i < 20; ++i) {
        rig.submit();
        rig.device->pass_time(std::chrono::milliseconds(50));
        CHECK(rig.wrong_answers() == 0);
    }
    CHECK(rig.device->taken().size() > taken);
    CHECK(rig.queue->alive());
}

TEST_CASE(
    "a descriptor that the CPU overtook and that is never answered ends the use of the queue") {
    Rig rig({.timeout = std::chrono::milliseconds(5), .share = AccelShare::kAuto});
    rig.device->mute = true;
    for (int i = 0; i < 100; ++i) {
        rig.submit();
        CHECK(rig.wrong_answers() == 0);
        rig.device->pass_time(std::chrono::milliseconds(20));
    }
    CHECK(rig.count(&QueueCounters::timeouts) > 0);
    CHECK_FALSE(rig.queue->alive());
}

TEST_CASE("pages that a first look recognizes are not given to the device") {
    Rig rig({.prefilter = true});
    std::size_t recognized = 0;
    for (std::size_t page = 0; page < kScanPages; page += 3)
        recognized += page * 31 % kPageSize < 64 ? 1 : 0;
    REQUIRE(recognized > 0);
    const PageExtent extent{rig.memory.data(), kScanPages};
    rig.scanner->look_first({&extent, 1});
    rig.submit();
    CHECK(rig.wrong_answers() == 0);
    CHECK(rig.count(&QueueCounters::prefiltered) == recognized);
    CHECK(rig.count(&QueueCounters::descriptors) == kScanPages - recognized);
    CHECK(rig.count(&QueueCounters::cpu_pages) == recognized);
}

}  // namespace
}  // namespace migrate::accel::dsa
