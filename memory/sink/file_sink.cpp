// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/file_sink.hpp"

#include <unistd.h>

#include <cerrno>

#include "base/replacement_file.hpp"
#include "memory/file_memory.hpp"
#include "memory/sink/backed_sink.hpp"

namespace migrate::memory {
namespace {

class FileSink final : public BackedSink {
  public:
    FileSink(std::string_view uri, ReplacementFile file) : uri_(uri), file_(std::move(file)) {}

    std::string_view description() const override { return uri_; }

    Result<std::vector<SinkFile>> files() const override {
        std::vector<SinkFile> files;
        MIGRATE_ASSIGN(const auto target, file_.target());
        if (target) files.push_back({*target, file_.path(), true});
        return files;
    }

    Status prepare(std::span<const RegionInfo> regions) override {
        if (regions.size() != 1) {
            return make_error("{}: a file holds exactly one memory region, and the sender has {}",
                              file_.path(), regions.size());
        }
        MIGRATE_ASSIGN(UniqueFd temporary, file_.open_temporary());
        MIGRATE_ASSIGN(
            SharedBacking backing,
            SharedBacking::create(std::move(temporary), regions[0].size_bytes, file_.path()));
        add(std::move(backing));
        return {};
    }

    std::vector<Room> rooms() const override {
        return rooms_of_file(backings().front().fd(), file_.path());
    }

    Status commit() override {
        // A file without a name can be reached through /proc.
        MIGRATE_TRY(check_sizes());
        const int fd = backings().front().fd();
        // fdatasync also writes back data that was written through the mapping, and allocates the
        // blocks that the file system deferred.
        if (!is_in_ram(fd) && ::fdatasync(fd) != 0) {
            return Error::system(fmt::format("write {} to its disk", file_.path()), errno);
        }
        MIGRATE_TRY(file_.publish(fd));
        return file_.sync_folder();
    }

  private:
    std::string uri_;
    ReplacementFile file_;
};

}  // namespace

Result<std::unique_ptr<PageSink>> open_file_sink(std::string_view uri, std::string_view path) {
    MIGRATE_ASSIGN(ReplacementFile file, ReplacementFile::create(path));
    return std::unique_ptr<PageSink>(std::make_unique<FileSink>(uri, std::move(file)));
}

}  // namespace migrate::memory
