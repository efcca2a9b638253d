// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/dif.hpp"

#include <cstring>

namespace migrate::accel::softdsa {
namespace {

using dsa::CompletionStatus;
using dsa::Descriptor;
using dsa::Opcode;

constexpr auto kRemainders = [] {
    std::array<std::uint16_t, 256> table{};
    for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
        std::uint32_t rest = byte << 8U;
        for (int bit = 0; bit < 8; ++bit)
            rest = (rest & 0x8000U) != 0 ? rest << 1U ^ 0x8BB7U : rest << 1U;
        table[byte] = static_cast<std::uint16_t>(rest);
    }
    return table;
}();

struct Field {
    std::uint16_t guard = 0;
    std::uint16_t application = 0;
    std::uint32_t reference = 0;
};

std::uint32_t big_endian(const std::byte* at, std::size_t bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i)
        value = value << 8U | std::to_integer<std::uint32_t>(at[i]);
    return value;
}

Field decode(const std::byte* at) {
    return {.guard = static_cast<std::uint16_t>(big_endian(at, 2)),
            .application = static_cast<std::uint16_t>(big_endian(at + 2, 2)),
            .reference = big_endian(at + 4, 4)};
}

void encode(const Field& field, std::byte* at) {
    const std::uint64_t value = std::uint64_t{field.guard} << 48U |
                                std::uint64_t{field.application} << 32U | field.reference;
    for (unsigned i = 0; i < kDifBytes; ++i) at[i] = static_cast<std::byte>(value >> (56 - 8 * i));
}

// The tags that are expected in, or written to, the next block.
struct Tags {
    std::uint8_t flags = 0;
    std::uint32_t reference = 0;
    std::uint16_t mask = 0;  // bits of the application tag that are not checked, or written as 0
    std::uint16_t application = 0;

    // `seeds` is the descriptor's word with the three values.
    Tags(std::uint8_t dif_flags, std::uint64_t seeds)
        : flags(dif_flags),
          reference(static_cast<std::uint32_t>(seeds)),
          mask(static_cast<std::uint16_t>(seeds >> 32U)),
          application(static_cast<std::uint16_t>(seeds >> 48U)) {}
    void advance() {
        if ((flags & kDifFixedReference) == 0) ++reference;
        if ((flags & kDifCountApplication) != 0) ++application;
    }
    std::uint16_t masked() const { return static_cast<std::uint16_t>(application & ~mask); }
    // The two words of a completion record with which a client continues.
    void store(std::uint32_t* words) const {
        words[0] = reference;
        words[1] = mask | std::uint32_t{application} << 16U;
    }
};

std::uint8_t byte_of(const Descriptor& descriptor, unsigned index) {
    return static_cast<std::uint8_t>(descriptor.specific[0] >> (8 * index));
}

class DifOperation {
  public:
    explicit DifOperation(const Descriptor& descriptor)
        : opcode_(descriptor.opcode()),
          flags_(byte_of(descriptor, 2)),
          data_bytes_(kDifBlockBytes[flags_ & 3U]),
          source_(byte_of(descriptor, 0), descriptor.specific[1]),
          destination_(byte_of(descriptor, 1), descriptor.specific[2]) {}

    // Returns 0, or what is wrong with the field of a block of the source.
    std::uint8_t check(const std::byte* block) const {
        const Field field = decode(block + data_bytes_);
        const bool tags_are_ones = field.application == 0xffff && field.reference == 0xffff'ffff;
        const std::uint8_t flags = source_.flags;
        if ((flags & kDifDetectAllOnes) != 0 && (flags & kDifAllOnesIsError) != 0 &&
            tags_are_ones && field.guard == 0xffff)
            return kDifAllOnesError;
        if (((flags & kDifDetectTagOnes) != 0 && tags_are_ones) ||
            ((flags & kDifDetectApplicationOnes) != 0 && field.application == 0xffff))
            return 0;
        std::uint8_t wrong = 0;
        if ((flags & kDifNoGuardCheck) == 0 && field.guard != guard(block)) wrong |= kDifGuardError;
        if (source_.mask != 0xffff && ((field.application ^ source_.application) &
                                       static_cast<std::uint16_t>(~source_.mask)) != 0)
            wrong |= kDifApplicationError;
        if ((flags & kDifNoReferenceCheck) == 0 && field.reference != source_.reference)
            wrong |= kDifReferenceError;
        return wrong;
    }

    // Makes the destination's block out of the source's.
    void convert(const std::byte* block, std::byte* out) const {
        std::memcpy(out, block, data_bytes_);
        if (opcode_ == Opcode::kDifStrip) return;
        Field field{guard(block), destination_.masked(), destination_.reference};
        if (opcode_ == Opcode::kDifUpdate) {
            const Field old = decode(block + data_bytes_);
            if ((destination_.flags & kDifKeepGuard) != 0) field.guard = old.guard;
            if ((destination_.flags & kDifKeepApplication) != 0)
                field.application = old.application;
            if ((destination_.flags & kDifKeepReference) != 0) field.reference = old.reference;
        }
        encode(field, out + data_bytes_);
    }

    void advance() {
        source_.advance();
        destination_.advance();
    }

    // Notes in the outcome with which tags the next block would begin.
    void note_tags(Outcome& outcome) const {
        if (opcode_ != Opcode::kDifInsert) source_.store(outcome.specific.data());
        if (opcode_ == Opcode::kDifInsert || opcode_ == Opcode::kDifUpdate)
            destination_.store(outcome.specific.data() + 2);
    }

  private:
    std::uint16_t guard(const std::byte* block) const {
        const std::uint16_t seed = (flags_ & kDifInvertSeed) != 0 ? 0xffff : 0;
        const std::uint16_t crc = crc16_t10(seed, {block, data_bytes_});
        return (flags_ & kDifInvertResult) != 0 ? static_cast<std::uint16_t>(~crc) : crc;
    }

    Opcode opcode_;
    std::uint8_t flags_;
    std::size_t data_bytes_;
    Tags source_;
    Tags destination_;
};

}  // namespace

std::uint16_t crc16_t10(std::uint16_t seed, std::span<const std::byte> data) {
    std::uint32_t rest = seed;
    for (const std::byte value : data) {
        const auto byte = std::to_integer<std::uint32_t>(value);
        rest = (rest << 8U ^ kRemainders[(rest >> 8U ^ byte) & 0xffU]) & 0xffffU;
    }
    return static_cast<std::uint16_t>(rest);
}

DifBlocks dif_blocks(const Descriptor& descriptor) {
    const std::uint32_t data = kDifBlockBytes[byte_of(descriptor, 2) & 3U];
    const std::uint32_t with_field = data + std::uint32_t{kDifBytes};
    switch (descriptor.opcode()) {
        case Opcode::kDifCheck:
            return {with_field, 0};
        case Opcode::kDifInsert:
            return {data, with_field};
        case Opcode::kDifStrip:
            return {with_field, data};
        default:
            return {with_field, with_field};
    }
}

Outcome execute_dif(const Descriptor& descriptor, Transfer& transfer, std::byte* in,
                    std::byte* out) {
    DifOperation operation(descriptor);
    const DifBlocks blocks = dif_blocks(descriptor);
    std::uint64_t target = descriptor.destination;
    std::uint8_t wrong = 0;
    while (transfer.done() < descriptor.size &&
           transfer.next_block(descriptor.source, blocks.source)) {
        if (transfer.load(descriptor.source + transfer.done(), in, blocks.source) < blocks.source)
            break;
        if (descriptor.opcode() != Opcode::kDifInsert) wrong = operation.check(in);
        if (wrong != 0) break;
        if (blocks.destination != 0) {
            operation.convert(in, out);
            if (transfer.store(target, out, blocks.destination) < blocks.destination) break;
            target += blocks.destination;
        }
        operation.advance();
        transfer.advance(blocks.source);
    }
    Outcome outcome = transfer.outcome();
    if (wrong != 0) {
        outcome.status = static_cast<std::uint8_t>(CompletionStatus::kDifError);
        outcome.result = wrong;
        outcome.bytes_completed = static_cast<std::uint32_t>(transfer.done());
    }
    operation.note_tags(outcome);
    return outcome;
}

}  // namespace migrate::accel::softdsa
