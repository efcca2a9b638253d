// SPDX-License-Identifier: Apache-2.0
// Hidden memcpy and related functions of this library. The C library's may belong to another
// preloaded library (Intel DTO passes them to a DSA device), which would re-enter the fault
// handler. Copies and fills are not written as loops: the compiler would turn a loop into a call of
// the same function.
#include <cstddef>
#include <cstdint>

// NOLINTBEGIN(bugprone-easily-swappable-parameters): the C library's
extern "C" {

void* memcpy(void* to, const void* from, std::size_t bytes) {
    void* const begin = to;
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return begin;
}

void* memmove(void* to, const void* from, std::size_t bytes) {
    const auto distance =
        reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
    if (distance >= bytes) return memcpy(to, from, bytes);
    const void* source = static_cast<const char*>(from) + bytes - 1;
    void* target = static_cast<char*>(to) + bytes - 1;
    asm volatile("std\n\trep movsb\n\tcld"
                 : "+D"(target), "+S"(source), "+c"(bytes)
                 :
                 : "memory", "cc");
    return to;
}

void* memset(void* to, int value, std::size_t bytes) {
    void* const begin = to;
    asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    return begin;
}

int memcmp(const void* one, const void* other, std::size_t bytes) {
    const auto* const left = static_cast<const unsigned char*>(one);
    const auto* const right = static_cast<const unsigned char*>(other);
    for (std::size_t i = 0; i < bytes; ++i) {
        if (left[i] != right[i]) return left[i] < right[i] ? -1 : 1;
    }
    return 0;
}
}
// NOLINTEND(bugprone-easily-swappable-parameters)
