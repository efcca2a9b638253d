// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/resumable_sink.hpp"

#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file_io.hpp"
#include "base/log.hpp"
#include "base/page_buffer.hpp"
#include "base/replacement_file.hpp"
#include "base/thread.hpp"
#include "memory/file_memory.hpp"
#include "memory/pieces.hpp"
#include "memory/sink/backed_sink.hpp"
#include "memory/sink/page_claims.hpp"

namespace migrate::memory {
namespace {

using Clock = std::chrono::steady_clock;

// The shortest time between two checkpoints. A slow disk makes it longer: at most half of the time
// goes to checkpoints.
constexpr std::chrono::milliseconds kCheckpointInterval{50};
constexpr std::uint64_t kReadPages = 512 * kKiB / kPageSize;

Result<std::uint64_t> size_of(const UniqueFd& file, const std::string& what) {
    struct stat status {};
    if (::fstat(file.get(), &status) == 0) return static_cast<std::uint64_t>(status.st_size);
    return Error::system(fmt::format("examine {}", what), errno);
}

// Returns false if the file ends before, or cannot be read.
bool read_pages(int fd, PageRange pages, std::span<std::byte> to) {
    return read_at(fd, pages.offset_bytes(), to) == to.size();
}

// The pages that arrived since the last checkpoint, and the thread that makes checkpoints: it waits
// until the pages are on the disk, and then claims them.
class Checkpoints {
  public:
    Checkpoints(int file, std::string what, std::uint64_t pages, PageBitmap arrived,
                PageClaims& claims)
        : file_(file),
          what_(std::move(what)),
          pages_(pages),
          claims_(claims),
          arrived_(std::move(arrived)) {}
    ~Checkpoints() { end(); }
    Checkpoints(const Checkpoints&) = delete;
    Checkpoints& operator=(const Checkpoints&) = delete;

    Status start() {
        MIGRATE_ASSIGN(thread_, Thread::start(
                                    "journal",
                                    [this](const std::stop_token& stop) {
                                        run(stop);
                                        return Status();
                                    },
                                    [this](Error error) { fail(std::move(error)); }));
        return {};
    }
    void note_arrived(std::span<const PageRun> runs) {
        const MutexLock lock(mutex_);
        for (const PageRun& run : runs) {
            if (run.kind == PageKind::kNormal) arrived_.set(run.pages);
        }
    }
    // Ends the thread. Idempotent.
    void end() {
        thread_.request_stop();
        thread_.join();
    }
    // Called after end().
    void make_last() { checkpoint(); }
    // The first failure to write the image to its disk. Later syncs do not report it again.
    Status lost() const {
        const MutexLock lock(mutex_);
        return lost_ ? Status(*lost_) : Status();
    }

  private:
    void run(const std::stop_token& stop) {
        Clock::duration pause = kCheckpointInterval;
        while (!stop.stop_requested()) {
            pause_until(stop, Clock::now() + pause);
            const Clock::time_point began = Clock::now();
            if (!stop.stop_requested()) checkpoint();
            pause = std::max<Clock::duration>(kCheckpointInterval, Clock::now() - began);
        }
    }

    void checkpoint() {
        const std::vector<PageRange> runs = take_arrived();
        if (runs.empty()) return;
        std::vector<std::vector<Digest>> digests;
        for (const PageRange& run : runs) digests.push_back(digest(run));
        if (!is_in_ram(file_) && ::fdatasync(file_) != 0) {
            fail(Error::system(fmt::format("write {} to its disk", what_), errno));
            const MutexLock lock(mutex_);
            if (!lost_) lost_ = *failed_;
            return;
        }
        for (std::size_t i = 0; i < runs.size(); ++i) {
            const PageRange whole{runs[i].first, digests[i].size()};
            if (Status claimed = claims_.claim(whole, digests[i]); !claimed) {
                return fail(std::move(claimed).error());
            }
        }
        if (Status synced = claims_.sync(); !synced) fail(std::move(synced).error());
    }

    // Nothing after a failure: the image can still be completed, but not resumed from here.
    std::vector<PageRange> take_arrived() {
        std::vector<PageRange> runs;
        const MutexLock lock(mutex_);
        if (failed_) return runs;
        for (std::uint64_t page = arrived_.find(0, pages_, true); page < pages_;) {
            const std::uint64_t end = arrived_.find(page, pages_, false);
            runs.push_back({page, end - page});
            page = arrived_.find(end, pages_, true);
        }
        arrived_.clear({0, pages_});
        return runs;
    }

    // Fewer digests than pages if the file cannot be read.
    std::vector<Digest> digest(PageRange run) {
        std::vector<Digest> digests;
        static_cast<void>(for_each_step(run, kReadPages, [&](PageRange step) -> Status {
            const auto bytes = std::span(content_).first(step.size_bytes());
            if (!read_pages(file_, step, bytes)) return make_error("{} cannot be read", what_);
            for (std::uint64_t i = 0; i < step.count; ++i) {
                digests.push_back(
                    digest_content(bytes.data() + i * kPageSize, {step.first + i, 1}));
            }
            return {};
        }));
        return digests;
    }

    void fail(Error error) {
        const MutexLock lock(mutex_);
        if (failed_) return;
        log::warning("{}; if this transfer breaks off, it resumes from where it was before",
                     error.message());
        failed_ = std::move(error);
    }

    const int file_;
    const std::string what_;
    const std::uint64_t pages_;
    PageClaims& claims_;
    // For the thread that makes a checkpoint.
    PageBuffer content_ = PageBuffer(kReadPages * kPageSize);
    mutable Mutex mutex_;
    PageBitmap arrived_ GUARDED_BY(mutex_);
    std::optional<Error> failed_ GUARDED_BY(mutex_);
    std::optional<Error> lost_ GUARDED_BY(mutex_);
    Thread thread_;
};

// The pages of the journal.
class ClaimedPages final : public PartialPages {
  public:
    ClaimedPages(int file, std::string what, std::uint64_t pages, PageBitmap confirmed,
                 PageClaims& claims)
        : file_(file),
          what_(std::move(what)),
          pages_(pages),
          claims_(claims),
          confirmed_(std::move(confirmed)) {}

    void read(RegionId, PageRange range, std::span<std::byte> to,
              std::vector<PageRange>& known) const override {
        claims_.for_each_claimed(range, [&](PageRange run) {
            const auto content =
                to.subspan((run.first - range.first) * kPageSize, run.size_bytes());
            const std::size_t before = known.size();
            if (read_pages(file_, run, content)) claims_.match(run, content, known);
            std::uint64_t right = 0;
            for (std::size_t i = before; i < known.size(); ++i) right += known[i].count;
            changed_.fetch_add(run.count - std::min(right, run.count), std::memory_order_relaxed);
        });
    }
    void confirm(RegionId, PageRange pages) override { confirmed_.set(pages); }
    Status give_up(RegionId, std::span<const PageRange> pages) override {
        return claims_.give_up(pages, confirmed_);
    }
    Status give_up_rest() override {
        const PageRange all{0, pages_};
        const std::uint64_t kept = confirmed_.count(all);
        log::info("{}: {} pages of its journal stay as they are", what_, kept);
        if (const auto changed = changed_.load(std::memory_order_relaxed); changed != 0) {
            log::warning(
                "{}: {} pages are not what its journal says: somebody changed the file, "
                "or its disk lost them; they are sent again",
                what_, changed);
        }
        return claims_.give_up(std::span(&all, 1), confirmed_);
    }

  private:
    const int file_;
    const std::string what_;
    const std::uint64_t pages_;
    PageClaims& claims_;
    PageBitmap confirmed_;
    mutable std::atomic<std::uint64_t> changed_{0};  // relaxed: a figure for people
};

// The pages of the file that the journal does not claim. They arrived after the last checkpoint and
// may not be on the disk, so they are written again where they are right.
class UnclaimedPages final : public KnownPages {
  public:
    explicit UnclaimedPages(const SharedBacking& backing) : backing_(backing) {}

    void read(RegionId, PageRange range, std::span<std::byte> to,
              std::vector<PageRange>& known) const override {
        std::vector<PopulationExtent> extents;
        if (!backing_.population(range, extents)) return;
        for (const PopulationExtent& extent : extents) {
            const auto content = to.subspan((extent.pages.first - range.first) * kPageSize,
                                            extent.pages.size_bytes());
            if (extent.populated && read_pages(backing_.fd(), extent.pages, content)) {
                append_pages(extent.pages, known);
            }
        }
    }

  private:
    const SharedBacking& backing_;
};

class ResumableSink final : public BackedSink {
  public:
    ResumableSink(std::string_view uri, ReplacementFile file)
        : uri_(uri), file_(std::move(file)), path_(file_.path() + std::string(kPartialSuffix)) {}
    ~ResumableSink() override {
        if (!claims_ || committed_) return;
        if (checkpoints_) {
            checkpoints_->end();
            checkpoints_->make_last();
        }
        if (claims_->count() == 0) remove_files();
    }

    std::string_view description() const override { return uri_; }
    void name_source(std::string source) override { source_ = std::move(source); }

    Result<std::vector<SinkFile>> files() const override {
        std::vector<SinkFile> files;
        MIGRATE_ASSIGN(const auto target, file_.target());
        if (target) files.push_back({*target, file_.path(), true});
        struct stat status {};
        if (::stat(path_.c_str(), &status) == 0) {
            files.push_back({{status.st_dev, status.st_ino}, path_});
        }
        return files;
    }

    Status prepare(std::span<const RegionInfo> regions) override {
        if (regions.size() != 1) {
            return make_error("{}: a file holds exactly one memory region, and the sender has {}",
                              file_.path(), regions.size());
        }
        const std::uint64_t size = regions[0].size_bytes;
        MIGRATE_ASSIGN(UniqueFd partial, file_.open_beside(kPartialSuffix));
        if (::flock(partial.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK) return Error::system(fmt::format("lock {}", path_), errno);
            return make_error(ErrorKind::kRefused, "another migrate receives into {}", path_);
        }
        MIGRATE_TRY(open_claims(partial, size));
        MIGRATE_ASSIGN(SharedBacking backing,
                       SharedBacking::create(std::move(partial), size, path_));
        add(std::move(backing));
        return watch(size / kPageSize);
    }

    PartialPages* partial() override { return partial_.get(); }
    const KnownPages* leftovers() const override { return unclaimed_.get(); }

    Status find_content(RegionId region, PageBitmap& content) const override {
        std::vector<PopulationExtent> extents;
        MIGRATE_TRY(population(region, {0, content.pages()}, extents));
        for (const PopulationExtent& extent : extents) {
            if (extent.populated) content.set(extent.pages);
        }
        return {};
    }

    void note_arrived(RegionId, std::span<const PageRun> runs) const override {
        checkpoints_->note_arrived(runs);
    }

    std::vector<Room> rooms() const override {
        return rooms_of_file(backings().front().fd(), path_);
    }

    Status commit() override {
        checkpoints_->end();
        MIGRATE_TRY(checkpoints_->lost());
        MIGRATE_TRY(check_sizes());
        const int fd = backings().front().fd();
        if (!is_in_ram(fd) && ::fdatasync(fd) != 0) {
            return Error::system(fmt::format("write {} to its disk", path_), errno);
        }
        MIGRATE_TRY(file_.publish_beside(kPartialSuffix));
        committed_ = true;
        if (Status removed = file_.remove_beside(kJournalSuffix); !removed) {
            log::warning("{}", removed.error().message());
        }
        return file_.sync_folder();
    }

  private:
    // Continues the journal if it is that of an image of this size. Else it begins a new one, and
    // only then empties the file.
    Status open_claims(const UniqueFd& partial, std::uint64_t size) {
        const std::string what = file_.path() + std::string(kJournalSuffix);
        MIGRATE_ASSIGN(UniqueFd journal, file_.open_beside(kJournalSuffix));
        MIGRATE_ASSIGN(const std::uint64_t held, size_of(partial, path_));
        if (held != 0) {
            MIGRATE_ASSIGN(const JournalHeader header, read_header(journal, what));
            if (header.size_bytes == size) {
                if (header.source != source_) {
                    log::info(
                        "{} was begun by another source ({}): pages that differ are sent "
                        "again",
                        path_, printable(header.source));
                }
                MIGRATE_ASSIGN(claims_, PageClaims::open(std::move(journal), what, header));
                log::info("{} goes on: its journal has {} of {} pages", path_, claims_->count(),
                          size / kPageSize);
                resumed_ = true;
                return {};
            }
            log::warning("{} is of an image of {} bytes, and one of {} comes: it begins anew",
                         path_, header.size_bytes, size);
        }
        JournalHeader header{.size_bytes = size, .source = source_};
        if (::getrandom(&header.id, sizeof header.id, 0) != sizeof header.id) {
            return Error::system("draw a random number", errno);
        }
        MIGRATE_ASSIGN(claims_, PageClaims::start(std::move(journal), what, header));
        MIGRATE_TRY(file_.sync_folder());
        if (::ftruncate(partial.get(), 0) == 0) return {};
        return Error::system(fmt::format("empty {}", path_), errno);
    }

    Result<JournalHeader> read_header(const UniqueFd& journal, const std::string& what) const {
        JournalHeaderBytes bytes{};
        const std::size_t got = read_at(journal.get(), 0, bytes);
        if (got < bytes.size() && errno != 0) {
            return Error::system(fmt::format("read {}", what), errno);
        }
        auto header = decode_journal_header(std::span(bytes).first(got));
        if (header) return header;
        // The file was there before, so an empty journal is the one that was just made.
        if (got == 0) MIGRATE_TRY(file_.remove_beside(kJournalSuffix));
        return make_error(
            "{} cannot be continued: {}: {}; remove both files to begin anew, if {} "
            "is one of migrate's",
            path_, what, header.error().message(), path_);
    }

    Status watch(std::uint64_t pages) {
        const int fd = backings().front().fd();
        MIGRATE_ASSIGN(PageBitmap arrived, PageBitmap::create(pages));
        if (resumed_) {
            unclaimed_ = std::make_unique<UnclaimedPages>(backings().front());
            MIGRATE_ASSIGN(PageBitmap confirmed, PageBitmap::create(pages));
            partial_ =
                std::make_unique<ClaimedPages>(fd, path_, pages, std::move(confirmed), *claims_);
        }
        checkpoints_ =
            std::make_unique<Checkpoints>(fd, path_, pages, std::move(arrived), *claims_);
        return checkpoints_->start();
    }

    void remove_files() const {
        for (const std::string_view suffix : {kPartialSuffix, kJournalSuffix}) {
            if (const Status removed = file_.remove_beside(suffix); !removed) {
                log::warning("{}", removed.error().message());
            }
        }
    }

    // Another program may have written the header.
    static std::string printable(std::string text) {
        std::replace_if(
            text.begin(), text.end(), [](char c) { return c < 0x20 || c > 0x7E; }, '?');
        return text;
    }

    std::string uri_;
    ReplacementFile file_;
    std::string path_;    // of the partial file
    std::string source_;  // of the sender's image
    std::unique_ptr<PageClaims> claims_;
    bool resumed_ = false;
    std::unique_ptr<ClaimedPages> partial_;
    std::unique_ptr<UnclaimedPages> unclaimed_;
    std::unique_ptr<Checkpoints> checkpoints_;  // set by prepare()
    bool committed_ = false;
};

}  // namespace

Result<std::unique_ptr<PageSink>> open_resumable_sink(std::string_view uri, std::string_view path) {
    MIGRATE_ASSIGN(ReplacementFile file, ReplacementFile::create(path));
    return std::unique_ptr<PageSink>(std::make_unique<ResumableSink>(uri, std::move(file)));
}

}  // namespace migrate::memory
