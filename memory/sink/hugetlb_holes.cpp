// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/hugetlb_holes.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "memory/sink/populate.hpp"
#include "memory/userfaultfd.hpp"

namespace migrate::memory {
namespace {

constexpr std::uint64_t kBlockSize = 512;  // unit of st_blocks, stat(2)

// A mapping of the file in which access to a missing page raises SIGBUS (for madvise: EFAULT) and
// does not allocate the page.
class MissingPages {
  public:
    static Result<MissingPages> create(int fd, std::uint64_t size_bytes) {
        // userfaultfd needs a mapping that may be written, and the caller's descriptor may be
        // read-only.
        UniqueFd writable(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDWR | O_CLOEXEC));
        if (!writable) return Error::system("open the file for writing", errno);
        MIGRATE_ASSIGN(Mapping mapping, Mapping::create({.size = size_bytes,
                                                         .protection = PROT_READ,
                                                         .flags = MAP_SHARED | MAP_NORESERVE,
                                                         .fd = writable.get(),
                                                         .what = "the hugetlbfs file"}));
        MIGRATE_ASSIGN(UniqueFd faults, open_userfaultfd());
        const int refused =
            enable_userfaultfd(faults, UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_HUGETLBFS);
        if (refused != 0) return Error::system("use userfaultfd", refused);
        const int unregistered = register_missing(faults, mapping.bytes());
        if (unregistered != 0) return Error::system("register with userfaultfd", unregistered);
        return MissingPages(std::move(mapping), std::move(faults));
    }

    bool present(std::uint64_t offset, std::uint64_t size) const {
        // A page that cannot be had for another reason is not a hole; reading it reports the
        // reason.
        return populate(mapping_.bytes().subspan(offset, size), PopulateFor::kReading) != EFAULT;
    }

  private:
    MissingPages(Mapping mapping, UniqueFd faults)
        : mapping_(std::move(mapping)), faults_(std::move(faults)) {}

    Mapping mapping_;
    UniqueFd faults_;
};

// Returns true if the huge page reads as zeros; stops at the first byte that does not.
bool reads_as_zeros(int fd, std::uint64_t offset, std::uint64_t size) {
    std::array<std::uint64_t, 4096> buffer;
    while (size != 0) {
        const std::size_t wanted = std::min<std::uint64_t>(size, sizeof buffer);
        buffer.back() = 0;
        const ssize_t got = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
        if (got != static_cast<ssize_t>(wanted)) return false;
        if (std::any_of(buffer.begin(), buffer.end(), [](auto word) { return word != 0; }))
            return false;
        offset += wanted;
        size -= wanted;
    }
    return true;
}

template <typename Present>
void ask_each(PopulationBuilder& builder, std::uint64_t end, std::uint64_t huge_size,
              Present present) {
    const std::uint64_t pages = huge_size / kPageSize;
    while (builder.next() < end) {
        const std::uint64_t huge = builder.next() / pages;
        builder.extend_to((huge + 1) * pages, present(huge * huge_size, huge_size));
    }
}

}  // namespace

std::optional<std::uint64_t> hugetlb_page_size(int fd) {
    struct statfs status {};
    if (::fstatfs(fd, &status) != 0 || status.f_type != HUGETLBFS_MAGIC) return std::nullopt;
    return static_cast<std::uint64_t>(status.f_bsize);
}

Status hugetlb_population(int fd, std::uint64_t size_bytes, PageRange range,
                          std::vector<PopulationExtent>& extents,
                          std::optional<HugetlbProbe> probe) {
    const std::optional<std::uint64_t> huge_size = hugetlb_page_size(fd);
    if (!huge_size) return make_error("the file is not on hugetlbfs");
    struct stat status {};
    if (::fstat(fd, &status) != 0) return Error::system("examine the file", errno);
    PopulationBuilder builder(range, extents);
    const auto allocated = static_cast<std::uint64_t>(status.st_blocks) * kBlockSize;
    if (!probe && (allocated == 0 || allocated >= size_bytes)) {
        builder.extend_to(range.end(), allocated != 0);
        return {};
    }
    if (probe != HugetlbProbe::kRead) {
        Result<MissingPages> missing = MissingPages::create(fd, size_bytes);
        if (missing) {
            ask_each(builder, range.end(), *huge_size,
                     [&](auto offset, auto size) { return missing->present(offset, size); });
            return {};
        }
        if (probe) return std::move(missing).error();
    }
    ask_each(builder, range.end(), *huge_size,
             [&](auto offset, auto size) { return !reads_as_zeros(fd, offset, size); });
    return {};
}

}  // namespace migrate::memory
