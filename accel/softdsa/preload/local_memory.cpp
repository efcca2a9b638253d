// The library's own memcpy and its like, hidden: the C library's may be another preloaded one's
// (Intel DTO hands them to a DSA device), which would call a fault's handler from within itself.
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
    auto* const target = static_cast<unsigned char*>(to);
    const auto* const source = static_cast<const unsigned char*>(from);
    for (std::size_t i = bytes; i-- > 0;) target[i] = source[i];
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
