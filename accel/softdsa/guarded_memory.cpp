// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/guarded_memory.hpp"

#include <ucontext.h>

#include <array>
#include <atomic>
#include <bit>
#include <csignal>
#include <cstdlib>

#include "base/previous_handler.hpp"

namespace migrate::accel::softdsa::guarded {
namespace {

// A fault between `begin` and `end` continues at `target`. Each field is a distance from itself, so
// that the table needs no relocation.
struct Entry {
    std::int32_t begin;
    std::int32_t end;
    std::int32_t target;
};

}  // namespace

// The linker defines where the section begins and ends.
// NOLINTBEGIN(*-reserved-identifier,*-avoid-c-arrays,readability-identifier-naming)
extern "C" [[gnu::visibility("hidden")]] const Entry __start_softdsa_guards[];
extern "C" [[gnu::visibility("hidden")]] const Entry __stop_softdsa_guards[];
// NOLINTEND(*-reserved-identifier,*-avoid-c-arrays,readability-identifier-naming)

// The entry for the code between the labels 1 and 2 of an asm statement.
#define SOFTDSA_GUARD                       \
    ".pushsection softdsa_guards,\"a\"\n\t" \
    ".long 1b - .\n\t"                      \
    ".long 2b - .\n\t"                      \
    ".long 2b - .\n\t"                      \
    ".popsection\n"

namespace {

enum class Handlers : std::uint8_t { kNone, kOwn, kOfProgram };
std::atomic<Handlers> handlers{Handlers::kNone};
std::array<struct sigaction, 2> previous{};  // of SIGSEGV and SIGBUS; set before `handlers`

std::uint64_t address_of(const std::int32_t& distance) {
    return reinterpret_cast<std::uintptr_t>(&distance) + static_cast<std::uint64_t>(distance);
}

void handle(int signal, siginfo_t* info, void* context) {
    if (info->si_code > 0 && recover(context)) return;
    hand_on(previous[signal == SIGSEGV ? 0 : 1], signal, info, context);
}

// Returns the number of steps that equal the pattern; `faulted` is set if a read faulted.
std::size_t equal_steps(std::uint64_t address, std::size_t steps, std::uint64_t pattern,
                        bool& faulted) {
    std::size_t left = steps;
    std::uint32_t mask = 0;
    std::uint32_t fault = 0;
    asm volatile(
        "movq %[pattern], %%xmm0\n\t"
        "punpcklqdq %%xmm0, %%xmm0\n\t"
        "pxor %%xmm5, %%xmm5\n"
        "1:\n\t"
        "movdqu (%[at]), %%xmm1\n\t"
        "movdqu 16(%[at]), %%xmm2\n\t"
        "movdqu 32(%[at]), %%xmm3\n\t"
        "movdqu 48(%[at]), %%xmm4\n\t"
        "pxor %%xmm0, %%xmm1\n\t"
        "pxor %%xmm0, %%xmm2\n\t"
        "pxor %%xmm0, %%xmm3\n\t"
        "pxor %%xmm0, %%xmm4\n\t"
        "por %%xmm2, %%xmm1\n\t"
        "por %%xmm4, %%xmm3\n\t"
        "por %%xmm3, %%xmm1\n\t"
        "pcmpeqb %%xmm5, %%xmm1\n\t"
        "pmovmskb %%xmm1, %[mask]\n\t"
        "cmpl $0xffff, %[mask]\n\t"
        "jne 3f\n\t"
        "add $64, %[at]\n\t"
        "dec %[left]\n\t"
        "jnz 1b\n\t"
        "jmp 3f\n"
        "2:\n\t"
        "movl $1, %[fault]\n"
        "3:\n" SOFTDSA_GUARD
        : [at] "+r"(address), [left] "+r"(left), [mask] "+r"(mask), [fault] "+r"(fault)
        : [pattern] "r"(pattern)
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "cc", "memory");
    faulted = fault != 0;
    return steps - left;
}

std::optional<std::uint64_t> word_at(std::uint64_t address) {
    std::uint64_t word = 0;
    std::uint32_t fault = 0;
    asm volatile(
        "1:\n\t"
        "movq (%[at]), %[word]\n\t"
        "jmp 3f\n"
        "2:\n\t"
        "movl $1, %[fault]\n"
        "3:\n" SOFTDSA_GUARD
        : [word] "+r"(word), [fault] "+r"(fault)
        : [at] "r"(address)
        : "memory");
    if (fault != 0) return std::nullopt;
    return word;
}

}  // namespace

void enable() { handlers.store(Handlers::kOfProgram, std::memory_order_release); }

void install_handlers() {
    struct sigaction action {};
    action.sa_sigaction = handle;
    // The handler blocks no signal, as if the program had no handlers.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    ::sigemptyset(&action.sa_mask);
    const bool done = ::sigaction(SIGSEGV, nullptr, &previous[0]) == 0 &&
                      ::sigaction(SIGBUS, nullptr, &previous[1]) == 0 &&
                      ::sigaction(SIGSEGV, &action, nullptr) == 0 &&
                      ::sigaction(SIGBUS, &action, nullptr) == 0;
    if (!done) std::abort();
    handlers.store(Handlers::kOwn, std::memory_order_release);
}

void enable_by_own_handlers() {
    static std::atomic_flag installed;
    if (handlers.load() == Handlers::kNone && !installed.test_and_set()) install_handlers();
}

bool is_usable() noexcept {
    const Handlers found = handlers.load(std::memory_order_acquire);
    if (found != Handlers::kOwn) return found == Handlers::kOfProgram;
    struct sigaction current {};
    return ::sigaction(SIGSEGV, nullptr, &current) == 0 && (current.sa_flags & SA_SIGINFO) != 0 &&
           current.sa_sigaction == handle;
}

bool recover(void* context) noexcept {
    auto& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
    const auto at = static_cast<std::uint64_t>(rip);
    for (const Entry* entry = __start_softdsa_guards; entry != __stop_softdsa_guards; ++entry) {
        if (at < address_of(entry->begin) || at >= address_of(entry->end)) continue;
        rip = static_cast<greg_t>(address_of(entry->target));
        return true;
    }
    return false;
}

std::optional<std::size_t> equal_bytes(std::uint64_t address, std::size_t bytes,
                                       std::uint64_t pattern) noexcept {
    bool faulted = false;
    std::size_t at = equal_steps(address, bytes / kStepBytes, pattern, faulted) * kStepBytes;
    if (faulted) return std::nullopt;
    for (; at < bytes; at += sizeof pattern) {
        const std::optional<std::uint64_t> word = word_at(address + at);
        if (!word) return std::nullopt;
        const std::uint64_t different = *word ^ pattern;
        if (different != 0) return at + static_cast<std::size_t>(std::countr_zero(different)) / 8;
    }
    return bytes;  // another thread changed the memory meanwhile
}

std::size_t read_words(std::uint64_t address, void* to, std::size_t words) noexcept {
    std::size_t left = words;
    asm volatile(
        "1:\n\t"
        "rep movsq\n"
        "2:\n" SOFTDSA_GUARD
        : "+S"(address), "+D"(to), "+c"(left)
        :
        : "memory");
    return words - left;
}

bool write_record(std::uint64_t address, const std::array<std::byte, 32>& record) noexcept {
    const auto words = std::bit_cast<std::array<std::uint64_t, 4>>(record);
    std::uint32_t fault = 0;
    asm volatile(
        "1:\n\t"
        "movq %[second], 8(%[at])\n\t"
        "movq %[third], 16(%[at])\n\t"
        "movq %[fourth], 24(%[at])\n\t"
        "movq %[first], (%[at])\n\t"
        "jmp 3f\n"
        "2:\n\t"
        "movl $1, %[fault]\n"
        "3:\n" SOFTDSA_GUARD
        : [fault] "+r"(fault)
        : [at] "r"(address), [first] "r"(words[0]), [second] "r"(words[1]), [third] "r"(words[2]),
          [fourth] "r"(words[3])
        : "memory");
    return fault == 0;
}

}  // namespace migrate::accel::softdsa::guarded
