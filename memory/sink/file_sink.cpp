#include "memory/sink/file_sink.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/replacement_file.hpp"
#include "memory/shared_backing.hpp"

namespace migrate::memory {
namespace {

bool is_in_ram(int fd) {
    struct statfs status {};
    if (::fstatfs(fd, &status) != 0) return false;
    return status.f_type == TMPFS_MAGIC || status.f_type == HUGETLBFS_MAGIC ||
           status.f_type == RAMFS_MAGIC;
}

class FileSink final : public PageSink {
  public:
    FileSink(std::string_view uri, ReplacementFile file) : uri_(uri), file_(std::move(file)) {}

    std::string_view description() const override { return uri_; }
    bool discards() const override { return false; }

    Result<std::vector<SinkFile>> files() const override {
        std::vector<SinkFile> files;
        MIGRATE_ASSIGN(const auto target, file_.target());
        if (target) files.push_back({*target, file_.path()});
        return files;
    }

    Status prepare(std::span<const RegionInfo> regions) override {
        if (regions.size() != 1) {
            return make_error("{}: a file holds exactly one memory region, and the sender has {}",
                              file_.path(), regions.size());
        }
        MIGRATE_ASSIGN(UniqueFd temporary, file_.open_temporary());
        MIGRATE_ASSIGN(backing_, SharedBacking::create(std::move(temporary), regions[0].size_bytes,
                                                       file_.path()));
        return {};
    }

    std::span<std::byte> memory(RegionId) const override { return backing_->bytes(); }
    BackingKind kind(RegionId) const override { return backing_->kind(); }
    Error explain(RegionId, PageRange range, int code) const override {
        return backing_->explain(range, code);
    }
    Status prefault(RegionId, PageRange range) const override { return backing_->prefault(range); }
    Status clear(RegionId, PageRange range) const override { return backing_->clear(range); }
    Status population(RegionId, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        return backing_->population(range, extents);
    }

    Status commit() override {
        // fdatasync also writes back data that was written through the mapping, and allocates the
        // blocks that the file system deferred.
        if (!is_in_ram(backing_->fd()) && ::fdatasync(backing_->fd()) != 0) {
            return Error::system(fmt::format("write {} to its disk", file_.path()), errno);
        }
        MIGRATE_TRY(file_.publish(backing_->fd()));
        return file_.sync_folder();
    }

  private:
    std::string uri_;
    ReplacementFile file_;
    std::optional<SharedBacking> backing_;  // set by prepare()
};

}  // namespace

Result<std::unique_ptr<PageSink>> open_file_sink(std::string_view uri, std::string_view path) {
    MIGRATE_ASSIGN(ReplacementFile file, ReplacementFile::create(path));
    return std::unique_ptr<PageSink>(std::make_unique<FileSink>(uri, std::move(file)));
}

}  // namespace migrate::memory
