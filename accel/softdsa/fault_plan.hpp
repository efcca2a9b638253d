// SPDX-License-Identifier: Apache-2.0
// The faults that a software DSA device injects, as data and as text. Invariant:
// parse_fault_plan(to_string(plan)) is the same plan, so that every failure of a test can be
// repeated from one printed line.
//
// A plan is words separated by "," or ":" (the latter nests in lists that use the comma):
//
//     [wqQ.]KIND[=VALUE][@WHEN]       seed=N       random=N
//
// random=N stands for the words of random_plan(N). wqQ. confines a word to queue Q. Each word
// counts its own events, from 0:
//
//     KIND=VALUE        events         what happens
//     full=N|ever       submissions    N attempts in a row, or all, find the queue full
//     fault-byte=K|any  work           page fault at byte K of the transfer, or at a random one
//     list-fault=I|any  lists          descriptor I of the list cannot be read: status 6
//     bad-child=I|any   lists          descriptor I of the batch fails with a random status
//     batch-status=S    batches        status S for the batch, none of its descriptors is executed
//     status=S          work           status S; 3 and 4 (0x83, 0x84) stop at a random byte, any
//                                      other but 2 has random bytes in the other fields
//     wrong             work           a wrong answer with status success
//     record-fault      records        the record's page is missing: it is never written (0x1a)
//     drop              records        the record is never written
//     late=TIME         tops           the records come TIME later (ns, us, ms, s)
//     reorder           tops           a batch's children run in random order; others overtake it
//     halt-after=N      work           after N the device halts: it takes and finishes nothing
//     open=ERRNO        opens          open() fails (EBUSY, EPERM, ...)
//     mmap=ERRNO        mmaps          mmap() fails
//     write=ERRNO       writes         write() fails at that descriptor (EAGAIN, EINVAL, ...)
//
// Work is every descriptor except a batch, lists every batch whose list is read, tops every
// descriptor in a queue, submissions every attempt to put one there, writes every descriptor passed
// to write(). WHEN is N (the N-th event only), N+ (from it on), /N (every N-th) or a probability
// with a dot (0.01); a word without it means every event, except that `full` means the first one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace migrate::accel::softdsa {

enum class FaultKind : std::uint8_t {
    kFull,
    kFaultByte,
    kListFault,
    kBadChild,
    kBatchStatus,
    kStatus,
    kWrong,
    kRecordFault,
    kDrop,
    kLate,
    kReorder,
    kHaltAfter,
    kOpenError,
    kMapError,
    kWriteError,
};

// FaultRule::value for "ever" and "any".
inline constexpr std::uint64_t kAnyValue = UINT64_MAX;

struct FaultWhen {
    enum class Kind : std::uint8_t { kAlways, kAt, kFrom, kEvery, kChance };
    Kind kind = Kind::kAlways;
    std::uint64_t count = 0;
    double chance = 0;
    friend bool operator==(const FaultWhen&, const FaultWhen&) = default;
};

struct FaultRule {
    FaultKind kind = FaultKind::kFull;
    std::uint64_t value = 0;  // a count, byte, index, status, errno or ns, depending on the kind
    int queue = -1;           // -1: every queue
    FaultWhen when;
    friend bool operator==(const FaultRule&, const FaultRule&) = default;
};

struct FaultPlan {
    std::uint64_t seed = 1;  // for every chance and every random value
    std::vector<FaultRule> rules;
    friend bool operator==(const FaultPlan&, const FaultPlan&) = default;
};

struct ParsedFaultPlan {
    FaultPlan plan;
    std::string error;  // empty if none; otherwise it names the word
};
ParsedFaultPlan parse_fault_plan(std::string_view text);
std::string to_string(const FaultPlan& plan);

// Returns one to four faults, the same for the same seed. A client that finishes on the CPU what
// the device does not answer can handle all of them in bounded time. Therefore open, mmap and write
// are left out, which prevent the client from starting, and wrong, which it cannot detect.
FaultPlan random_plan(std::uint64_t seed);

}  // namespace migrate::accel::softdsa
