// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/shared_sink.hpp"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "memory/sink/backed_sink.hpp"

namespace migrate::memory {
namespace {

// Returns "'a' (1048576 KiB), 'b' (…)".
template <typename Regions>
std::string list_of(const Regions& regions) {
    std::string list;
    for (const auto& region : regions) {
        list += fmt::format("{}'{}' ({} KiB)", list.empty() ? "" : ", ", region.name,
                            region.size_bytes / kKiB);
    }
    return list;
}

// Refuses these files because their users on other hosts cannot be seen.
Status refuse_network_file(const SharedRegion& region) {
    struct statfs status {};
    if (::fstatfs(region.file.get(), &status) != 0) {
        return Error::system("examine the file system of " + region.path, errno);
    }
    // Values from linux/magic.h and from the file systems' own headers: CIFS, SMB 2, Ceph, Lustre,
    // OCFS2, GFS2, FUSE (Gluster, virtiofs).
    constexpr std::array<unsigned long, 12> kNetwork{
        NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC, AFS_SUPER_MAGIC, V9FS_MAGIC,
        CODA_SUPER_MAGIC, 0xFF534D42,      0xFE534D42,      0x00C36400,
        0x0BD00BD0,       0x7461636F,      0x01161970,      0x65735546};
    const auto type = static_cast<unsigned long>(status.f_type) & 0xFFFFFFFFUL;
    if (std::find(kNetwork.begin(), kNetwork.end(), type) == kNetwork.end()) return {};
    return make_error(ErrorKind::kRefused,
                      "{} is on a network file system, where a guest of another host may use it: "
                      "give QEMU a mem-path on this host, as in /dev/shm",
                      region.path);
}

class SharedSink final : public BackedSink {
  public:
    SharedSink(std::string_view uri, std::vector<SharedRegion> regions, pid_t owner,
               UnseenProcesses unseen)
        : uri_(uri), regions_(std::move(regions)), owner_(owner), unseen_(unseen) {}

    std::string_view description() const override { return uri_; }
    bool hosts_guest() const override { return true; }

    Result<std::vector<SinkFile>> files() const override {
        std::vector<SinkFile> files;
        for (const SharedRegion& region : regions_) {
            MIGRATE_ASSIGN(const FileIdentity identity, identify(region.file.get()));
            files.push_back({identity, region.path});
        }
        return files;
    }

    void obey(std::stop_token stop) override { stop_ = std::move(stop); }

    Status prepare(std::span<const RegionInfo> regions) override {
        std::vector<SharedRegion*> order;
        for (const RegionInfo& region : regions) {
            const auto found =
                std::find_if(regions_.begin(), regions_.end(), [&](const SharedRegion& mine) {
                    return mine.name == region.name && mine.size_bytes == region.size_bytes;
                });
            if (found == regions_.end()) continue;
            if (std::find(order.begin(), order.end(), &*found) != order.end()) {
                return make_error(ErrorKind::kProtocol, "the sender offers region {} twice",
                                  region.name);
            }
            order.push_back(&*found);
        }
        if (order.size() != regions.size() || order.size() != regions_.size()) {
            return make_error(
                "the guest's memory differs: the sender has {}, and {} has {}; both need the same "
                "memory backends, by id and size",
                list_of(regions), uri_, list_of(regions_));
        }
        for (SharedRegion* region : order) MIGRATE_TRY(adopt(*region));
        // All regions are checked before the first byte of any is changed.
        MIGRATE_TRY(refuse_other_users());
        for (const SharedBacking& backing : backings()) MIGRATE_TRY(make_zero(backing));
        return {};
    }

    Status check_sole_use() const override { return sole_use_->check_again(); }

    Status commit() override {
        MIGRATE_TRY(check_sole_use());
        return check_sizes();
    }
    bool may_commit_again() const override { return true; }

  private:
    Status adopt(SharedRegion& region) {
        MIGRATE_TRY(refuse_network_file(region));
        MIGRATE_ASSIGN(SharedBacking backing, SharedBacking::adopt(std::move(region.file),
                                                                   region.size_bytes, region.path));
        MIGRATE_TRY(backing.check_size());
        // A child of this process would count as another process that has the file mapped.
        if (::madvise(backing.bytes().data(), backing.bytes().size(), MADV_DONTFORK) != 0) {
            return Error::system("keep the mapping of " + region.path + " from children", errno);
        }
        MIGRATE_ASSIGN(UsedFile used, describe_file(backing.fd(), backing.bytes(), region.path));
        used_.push_back(std::move(used));
        add(std::move(backing));
        return {};
    }

    Status refuse_other_users() {
        std::vector<int> descriptors;
        for (const SharedBacking& backing : backings()) descriptors.push_back(backing.fd());
        MIGRATE_ASSIGN(sole_use_, SoleUse::create(std::move(used_), descriptors, owner_, unseen_));
        return {};
    }

    // Clears the content that an earlier attempt, or the start of the other process, left there.
    Status make_zero(const SharedBacking& backing) const {
        const PageRange all{0, backing.bytes().size() / kPageSize};
        if (!backing.on_hugetlbfs()) {
            return in_steps(all, [&](PageRange step) { return backing.clear(step); });
        }
        // Zeros are written, so that the owner keeps the huge pages that were reserved for it.
        std::vector<PopulationExtent> extents;
        MIGRATE_TRY(backing.population(all, extents));
        for (const PopulationExtent& extent : extents) {
            if (!extent.populated) continue;
            MIGRATE_TRY(
                in_steps(extent.pages, [&](PageRange step) { return backing.write_zeros(step); }));
        }
        return {};
    }

    // Between two steps the work can be cancelled. The last step is never a short one, for which
    // clear() would write zeros instead of giving memory back.
    template <typename Work>
    Status in_steps(PageRange pages, const Work& work) const {
        constexpr std::uint64_t kStep = 64 * kMiB / kPageSize;
        std::uint64_t next = pages.first;
        while (next < pages.end()) {
            if (stop_.stop_requested()) return cancelled_clearing(uri_);
            const std::uint64_t left = pages.end() - next;
            const std::uint64_t count = left < 2 * kStep ? left : kStep;
            MIGRATE_TRY(work(PageRange{next, count}));
            next += count;
        }
        return {};
    }

    std::string uri_;
    std::vector<SharedRegion> regions_;
    pid_t owner_;
    UnseenProcesses unseen_;
    std::stop_token stop_;
    std::vector<UsedFile> used_;         // moved to sole_use_ by prepare()
    std::unique_ptr<SoleUse> sole_use_;  // set by prepare()
};

}  // namespace

Error cancelled_clearing(std::string_view uri) {
    return make_error(ErrorKind::kCancelled,
                      "cancelled while the memory of {} was cleared; a part of it is zero now",
                      uri);
}

std::unique_ptr<PageSink> make_shared_sink(std::string_view uri, std::vector<SharedRegion> regions,
                                           pid_t owner, UnseenProcesses unseen) {
    return std::make_unique<SharedSink>(uri, std::move(regions), owner, unseen);
}

}  // namespace migrate::memory
