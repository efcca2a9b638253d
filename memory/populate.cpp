#include "memory/populate.hpp"

#include <sys/mman.h>

#include <cerrno>

namespace migrate::memory {

int populate(std::span<std::byte> memory, PopulateFor purpose) {
    if (memory.empty()) return 0;
    const int advice = purpose == PopulateFor::kReading ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
    while (::madvise(memory.data(), memory.size(), advice) != 0) {
        // Pages that were populated before the interruption stay, so repeated calls make progress.
        if (errno == EAGAIN || errno == EINTR) continue;
        return errno == EINVAL ? 0 : errno;
    }
    return 0;
}

}  // namespace migrate::memory
