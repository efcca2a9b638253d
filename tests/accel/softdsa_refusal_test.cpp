// SPDX-License-Identifier: Apache-2.0
#include "softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

using Status = CompletionStatus;

struct Refusal {
    const char* what;
    Status status;
    Descriptor descriptor;
};

Descriptor reserved_field(Descriptor descriptor, std::size_t word) {
    descriptor.specific[word] = 1ULL << 40U;
    return descriptor;
}

std::vector<Refusal> refusals(std::uint64_t memory) {
    std::vector<Refusal> all;
    const auto add = [&](const char* what, Status status, const Descriptor& descriptor) {
        all.push_back({what, status, descriptor});
    };
    for (const int opcode : {0x07, 0x08, 0x0a, 0x16, 0x21, 0x3f, 0x40, 0xff})
        add("an opcode there is not", Status::kBadOpcode,
            make(static_cast<Opcode>(opcode), memory, memory, 64));
    add("block on fault where the queue has none", Status::kInvalidFlags,
        make(Opcode::kCompval, memory, 0, 64, dsa::kFlagBlockOnFault));
    add("a fence outside a batch", Status::kInvalidFlags,
        make(Opcode::kNoop, 0, 0, 0, dsa::kFlagFence));
    add("check result of a fill", Status::kInvalidFlags,
        make(Opcode::kFill, 0, memory, 64, dsa::kFlagCheckResult));
    add("cache control of a comparison", Status::kInvalidFlags,
        make(Opcode::kCompval, memory, 0, 64, dsa::kFlagCacheControl));
    add("a flag there is not", Status::kInvalidFlags,
        make(Opcode::kMemmove, memory, memory + 64, 64, 0x40));
    add("a flag of the CRC elsewhere", Status::kInvalidFlags,
        make(Opcode::kMemmove, memory, memory + 64, 64, 0x10000));
    add("a drain that reads an address back", Status::kInvalidFlags,
        make(Opcode::kDrain, memory, 0, 0, 0x10000));
    Descriptor descriptor = make(Opcode::kNoop, 0, 0, 0);
    descriptor.reserved = 1;
    add("a reserved field", Status::kReservedNotZero, descriptor);
    add("a no-op with a size", Status::kReservedNotZero, make(Opcode::kNoop, 0, 0, 1));
    for (const Opcode opcode : {Opcode::kMemmove, Opcode::kFill, Opcode::kCompare, Opcode::kCompval,
                                Opcode::kCrcgen, Opcode::kCacheFlush})
        add("a reserved word of the operation", Status::kReservedNotZero,
            reserved_field(make(opcode, memory, memory + 8192, 64), 2));
    add("the expected result's other bits", Status::kReservedNotZero,
        reserved_field(make(Opcode::kCompval, memory, 0, 64), 0));
    for (const Opcode opcode : {Opcode::kMemmove, Opcode::kFill, Opcode::kCompare, Opcode::kCompval,
                                Opcode::kCrcgen, Opcode::kCopyCrc, Opcode::kCacheFlush}) {
        add("a size of 0", Status::kTransferSize, make(opcode, memory, memory + 8192, 0));
        add("a size beyond the limit", Status::kTransferSize,
            make(opcode, memory, memory + 8192, (2U << 20U) + 1));
    }
    add("a batch of 0", Status::kDescriptorCount, make(Opcode::kBatch, memory, 0, 0));
    add("a batch of 1", Status::kDescriptorCount, make(Opcode::kBatch, memory, 0, 1));
    add("a batch beyond the limit", Status::kDescriptorCount, make(Opcode::kBatch, memory, 0, 33));
    add("a list that is not aligned", Status::kListAlignment,
        make(Opcode::kBatch, memory + 32, 0, 2));
    add("block on fault of a batch", Status::kInvalidFlags,
        make(Opcode::kBatch, memory, 0, 2, dsa::kFlagBlockOnFault));
    add("a copy with CRC onto itself", Status::kOverlap,
        make(Opcode::kCopyCrc, memory, memory + 63, 64));
    descriptor = make(Opcode::kDualcast, memory, memory + 4096, 64);
    descriptor.specific[0] = memory + 8200;
    add("a dualcast to different places of a page", Status::kDualcastAddress, descriptor);
    descriptor.specific[0] = memory + 4096;
    add("a dualcast to one destination twice", Status::kOverlap, descriptor);
    descriptor = make(Opcode::kCrcgen, memory, 0, 64, kFlagCrcReadSeed);
    descriptor.specific[1] = memory + 2;
    add("a seed that is not aligned", Status::kAddressAlignment, descriptor);
    add("an interrupt", Status::kInterruptHandle,
        make(Opcode::kNoop, 0, 0, 0, dsa::kFlagRequestInterrupt));
    return all;
}

TEST_CASE("every descriptor that is wrong is refused with its status and touches nothing") {
    DeviceConfig config;
    config.queues[0].max_batch = 32;
    auto device = started(config);
    Mapping memory = map_pages(4);
    fill_random(memory.data(), 4 * kPageSize, 1);
    const std::vector<std::byte> before(memory.data(), memory.data() + 4 * kPageSize);
    CompletionRecord record;
    for (const Refusal& refusal : refusals(address_of(memory.data()))) {
        INFO(refusal.what << ", opcode " << static_cast<int>(refusal.descriptor.opcode()));
        CHECK(int{run(*device, refusal.descriptor, record)} == int{code(refusal.status)});
        CHECK((record.invalid_flags != 0) == (refusal.status == Status::kInvalidFlags));
    }
    CHECK(std::equal(before.begin(), before.end(), memory.data()));
}

TEST_CASE("a no-op may not block on a fault, whatever the queue allows") {
    DeviceConfig config;
    config.queues[0].block_on_fault = true;
    auto device = started(config);
    CompletionRecord record;
    CHECK(run(*device, make(Opcode::kNoop, 0, 0, 0, dsa::kFlagBlockOnFault), record) == 0x11);
    CHECK(record.invalid_flags == dsa::kFlagBlockOnFault);
}

TEST_CASE("a refused flag is named in the record") {
    auto device = started({});
    CompletionRecord record;
    CHECK(run(*device, make(Opcode::kNoop, 0, 0, 0, 0x40), record) == 0x11);
    CHECK(record.invalid_flags == 0x40);
}

TEST_CASE("a record that is requested without an address, or not aligned, is never written") {
    auto device = started({});
    std::vector<CompletionRecord> records(4);
    Descriptor descriptor;
    descriptor.set(Opcode::kNoop, dsa::kFlagRequestCompletion);
    descriptor.completion_address = address_of(&records[0]);
    REQUIRE(device->enqcmd(0, descriptor));
    descriptor.set(Opcode::kNoop, kAnswer);
    descriptor.completion_address = address_of(&records[1]) + 8;
    REQUIRE(device->enqcmd(0, descriptor));
    CompletionRecord drained;
    CHECK(run(*device, make(Opcode::kDrain, 0, 0, 0), drained) == 1);
    const std::vector<std::byte> zeros(sizeof(CompletionRecord) * 4);
    CHECK(std::memcmp(records.data(), zeros.data(), zeros.size()) == 0);
    CHECK(device->counters(0).unwritten == 1);
    CHECK(device->counters(0).errors == 1);
}

}  // namespace
}  // namespace migrate::accel::softdsa
