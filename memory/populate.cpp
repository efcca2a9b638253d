#include "memory/populate.hpp"

#include <sys/mman.h>

#include <cerrno>

namespace migrate::memory {

int populate(std::span<std::byte> memory, PopulateFor purpose) {
    if (memory.empty()) return 0;
    const int advice = purpose == PopulateFor::kReading ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
    while (::madvise(memory.data(), memory.size(), advice) != 0) {
        // What was populated before the interruption stays, so that repeating it comes to an end.
        if (errno == EAGAIN || errno == EINTR) continue;
        return errno == EINVAL ? 0 : errno;
    }
    return 0;
}

}  // namespace migrate::memory
