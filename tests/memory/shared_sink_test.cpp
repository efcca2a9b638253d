// SPDX-License-Identifier: Apache-2.0
// Another process's memory as a sink: it is cleared and written only if nobody else uses it.
#include "memory/sink/shared_sink.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <thread>

#include "catch.hpp"
#include "memory/sink/page_placer.hpp"
#include "tests/support/huge_pool.hpp"
#include "tests/support/must.hpp"
#include "tests/support/other_process.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/seccomp.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

using Catch::Matchers::Contains;
constexpr std::uint64_t kSinkPages = 64;
constexpr std::uint64_t kSinkBytes = kSinkPages * kPageSize;

const std::string kContent(kSinkBytes, 'g');

int opened(const std::string& path, int flags) {
    const int fd = ::open(path.c_str(), flags);
    if (fd < 0) ::_exit(1);
    return fd;
}
void map(const std::string& path, int protection, int flags) {
    const int mode = (protection & PROT_WRITE) != 0 && flags == MAP_SHARED ? O_RDWR : O_RDONLY;
    const int fd = opened(path, mode);
    if (::mmap(nullptr, kSinkBytes, protection, flags, fd, 0) == MAP_FAILED) ::_exit(1);
    ::close(fd);
}

// A file of guest memory, and the process that it belongs to.
class Owned {
  public:
    explicit Owned(const std::string& parent = "/dev/shm") : folder_(parent) {
        write_file(path(), kContent);
        owner_ = std::make_unique<OtherProcess>(
            [this] { map(path(), PROT_READ | PROT_WRITE, MAP_SHARED); });
    }
    std::string path() const { return folder_ / "memory"; }
    const TemporaryFolder& folder() const { return folder_; }

    std::unique_ptr<PageSink> sink(UnseenProcesses unseen = UnseenProcesses::kRefuse,
                                   std::string path = {}) const {
        if (path.empty()) path = this->path();
        UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        REQUIRE(file);
        std::vector<SharedRegion> regions;
        regions.push_back({"ram", std::move(file), kSinkBytes, path});
        return make_shared_sink("qemu:test", std::move(regions), owner_->pid(), unseen);
    }

  private:
    TemporaryFolder folder_;
    std::unique_ptr<OtherProcess> owner_;
};

Status prepare(PageSink& sink) {
    const RegionInfo region{"ram", kSinkBytes};
    return sink.prepare({&region, 1});
}

void check_refused(const Owned& owned, const Status& refused, const OtherProcess& user,
                   const char* how) {
    REQUIRE_FALSE(refused);
    CHECK(refused.error().kind() == ErrorKind::kRefused);
    CHECK_THAT(message_of(refused),
               Contains(owned.path() + " is in use: ") &&
                   Contains(fmt::format("(pid {}) has it {}", user.pid(), how)));
    CHECK((read_file(owned.path()) == kContent));
}

TEST_CASE("memory that its owner alone uses is cleared") {
    for (const std::string parent : {"/dev/shm", "/tmp"}) {
        const Owned owned(parent);
        // The users of memory on a disk are less well known.
        const auto sink = owned.sink(UnseenProcesses::kAllow);
        must(prepare(*sink));
        CHECK((read_file(owned.path()) == std::string(kSinkBytes, '\0')));
        must(sink->check_sole_use());
        must(sink->commit());
    }
}

TEST_CASE("memory that another process has mapped, in whatever way, is left as it is") {
    struct Way {
        int protection;
        int flags;
    };
    for (const Way way : {Way{PROT_READ | PROT_WRITE, MAP_SHARED}, Way{PROT_READ, MAP_SHARED},
                          Way{PROT_NONE, MAP_SHARED}, Way{PROT_READ, MAP_PRIVATE},
                          Way{PROT_READ | PROT_WRITE, MAP_PRIVATE}}) {
        const Owned owned;
        const OtherProcess third([&] { map(owned.path(), way.protection, way.flags); });
        INFO(way.protection << " " << way.flags);
        check_refused(owned, prepare(*owned.sink()), third, "mapped");
    }
}

TEST_CASE("memory that another process may write by a descriptor is left as it is") {
    for (const int flags : {O_RDWR, O_WRONLY, O_WRONLY | O_APPEND}) {
        const Owned owned;
        const OtherProcess third([&] { opened(owned.path(), flags); });
        check_refused(owned, prepare(*owned.sink()), third, "open for writing");
    }
    const Owned owned;
    const OtherProcess reader([&] { opened(owned.path(), O_RDONLY); });
    const OtherProcess namer([&] { opened(owned.path(), O_PATH); });
    CHECK(prepare(*owned.sink()));
}

TEST_CASE("another path to memory in use is no other memory: links, names, descriptors") {
    const Owned owned;
    std::filesystem::create_symlink("memory", owned.folder() / "link");
    std::filesystem::create_hard_link(owned.path(), owned.folder() / "name");
    const OtherProcess third(
        [&] { map(owned.folder() / "name", PROT_READ | PROT_WRITE, MAP_SHARED); });
    const UniqueFd descriptor(::open(owned.path().c_str(), O_RDONLY | O_CLOEXEC));
    const std::string by_descriptor = fmt::format("/proc/self/fd/{}", descriptor.get());
    for (const std::string& path :
         {owned.folder() / "link", owned.folder() / "name", by_descriptor}) {
        INFO(path);
        CHECK_THAT(message_of(prepare(*owned.sink(UnseenProcesses::kAllow, path))),
                   Contains(fmt::format("(pid {}) has it mapped", third.pid())));
    }
    CHECK((read_file(owned.path()) == kContent));
}

TEST_CASE("a bind mount of memory in use is no other memory", "[mount]") {
    const Owned owned;
    const TemporaryFolder other;
    write_file(other / "bound", "");
    if (::mount(owned.path().c_str(), (other / "bound").c_str(), nullptr, MS_BIND, nullptr) != 0) {
        WARN("a file can be bound by root only; nothing was tested");
        return;
    }
    {
        const OtherProcess third([&] { map(other / "bound", PROT_READ | PROT_WRITE, MAP_SHARED); });
        check_refused(owned, prepare(*owned.sink()), third, "mapped");
    }
    ::umount2((other / "bound").c_str(), MNT_DETACH);
}

TEST_CASE("memory without a name that another process has mapped is left as it is") {
    const UniqueFd memfd(::memfd_create("shared-sink-test", MFD_CLOEXEC));
    REQUIRE(::write(memfd.get(), kContent.data(), kContent.size()) == ssize_t{kSinkBytes});
    const OtherProcess third(
        [&] {
            if (::mmap(nullptr, kSinkBytes, PROT_READ, MAP_SHARED, memfd.get(), 0) == MAP_FAILED) {
                ::_exit(1);
            }
            ::close(memfd.get());
        },
        memfd.get());
    std::vector<SharedRegion> regions;
    regions.push_back({"ram", UniqueFd(::dup(memfd.get())), kSinkBytes, "the memfd"});
    const auto sink =
        make_shared_sink("qemu:test", std::move(regions), ::getpid(), UnseenProcesses::kRefuse);
    CHECK_THAT(message_of(prepare(*sink)), Contains(fmt::format("(pid {})", third.pid())));
    std::string content(kSinkBytes, '\0');
    CHECK(::pread(memfd.get(), content.data(), content.size(), 0) == ssize_t{kSinkBytes});
    CHECK((content == kContent));
}

TEST_CASE("a process whose first thread has ended is found by the others") {
    const Owned owned;
    const OtherProcess third([&] { map(owned.path(), PROT_READ | PROT_WRITE, MAP_SHARED); }, -1,
                             OtherProcess::Waits::kSecond);
    check_refused(owned, prepare(*owned.sink()), third, "mapped");
}

TEST_CASE("a process that opens the memory between two packets is found before the second") {
    const Owned owned;
    const auto sink = owned.sink();
    must(prepare(*sink));
    const RegionInfo region{"ram", kSinkBytes};
    const auto placer = must(PagePlacer::create(*sink, {&region, 1}, 0));
    const PageRun first{{0, 1}, PageKind::kNormal};
    const PageRun second{{1, 1}, PageKind::kNormal};
    std::vector<std::byte> buffer(kPageSize);
    Destinations to;
    must(placer->accept(kRam, {&first, 1}, WrittenBy::kSystemCall, buffer, to));
    const OtherProcess late([&] { map(owned.path(), PROT_READ | PROT_WRITE, MAP_SHARED); });
    const Status refused = placer->accept(kRam, {&second, 1}, WrittenBy::kSystemCall, buffer, to);
    CHECK_THAT(message_of(refused), Contains(fmt::format("(pid {}) has it mapped", late.pid())));
    CHECK(to.parts.size() == 1);
    CHECK_FALSE(placer->accept(kRam, {&second, 1}, WrittenBy::kSystemCall, buffer, to));
    CHECK_FALSE(sink->commit());
}

TEST_CASE("a process that only reads the memory later is no reason to end") {
    const Owned owned;
    const auto sink = owned.sink();
    must(prepare(*sink));
    const OtherProcess reader([&] { opened(owned.path(), O_RDONLY); });
    must(sink->check_sole_use());
    must(sink->commit());
}

TEST_CASE("without inotify, processes are examined at intervals") {
    const Owned owned;
    std::string failure;
    // The filter is for good, and this thread's own.
    std::thread([&] {
        must(forbid_in_this_thread(SYS_inotify_init1, EMFILE));
        const auto sink = owned.sink();
        must(prepare(*sink));
        const OtherProcess late([&] { map(owned.path(), PROT_READ, MAP_SHARED); });
        failure = message_of(sink->check_sole_use());
    }).join();
    CHECK_THAT(failure, Contains("has it mapped"));
}

TEST_CASE("a process that may not be examined is a reason to refuse, unless it is vouched for") {
    if (::geteuid() != 0) {
        WARN("another user's process can be had by root only; nothing was tested");
        return;
    }
    const Owned owned;
    REQUIRE(::chmod(owned.folder().path().c_str(), 0755) == 0);
    REQUIRE(::chmod(owned.path().c_str(), 0666) == 0);
    // A guest of root's, which nobody may not examine, in other memory of the same kind.
    const Owned guest_of_root;
    const OtherProcess touches([&] {
        const int fd = opened(guest_of_root.path(), O_RDWR);
        void* memory = ::mmap(nullptr, kSinkBytes, PROT_READ, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED) ::_exit(1);
        [[maybe_unused]] static volatile char first = *static_cast<volatile char*>(memory);
    });
    const auto prepared_by_nobody = [&](UnseenProcesses unseen) {
        return as_nobody([&]() -> std::string {
            const Status prepared = prepare(*owned.sink(unseen));
            return prepared ? "prepared" : prepared.error().message();
        });
    };
    CHECK_THAT(prepared_by_nobody(UnseenProcesses::kRefuse),
               Contains("is not known: cannot examine ") && Contains("Permission denied") &&
                   Contains("unseen-processes=allow"));
    CHECK((read_file(owned.path()) == kContent));
    CHECK(prepared_by_nobody(UnseenProcesses::kAllow) == "prepared");
}

TEST_CASE("huge pages that another process has mapped are left as they are") {
    const HugePool pool(2);
    if (!pool) return;
    const std::string path = pool.folder() / "memory";
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(file.get(), static_cast<off_t>(kHugePageSize)) == 0);
    const Mapping ours = must(Mapping::create({.size = kHugePageSize,
                                               .protection = PROT_READ | PROT_WRITE,
                                               .flags = MAP_SHARED,
                                               .fd = file.get(),
                                               .what = "a huge page"}));
    std::memset(ours.data(), 'g', kHugePageSize);
    const auto prepared_with = [&](pid_t owner) {
        std::vector<SharedRegion> regions;
        regions.push_back(
            {"ram", UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC)), kHugePageSize, path});
        const auto sink =
            make_shared_sink("qemu:test", std::move(regions), owner, UnseenProcesses::kRefuse);
        const RegionInfo region{"ram", kHugePageSize};
        return sink->prepare({&region, 1});
    };
    OtherProcess third(
        [&] {
            if (::mmap(nullptr, kHugePageSize, PROT_READ, MAP_SHARED, file.get(), 0) ==
                MAP_FAILED) {
                ::_exit(1);
            }
        },
        file.get());
    CHECK_THAT(message_of(prepared_with(1)), Contains(fmt::format("(pid {})", third.pid())));
    CHECK(ours.data()[kHugePageSize - 1] == std::byte{'g'});
    CHECK(prepared_with(third.pid()));
    CHECK(ours.data()[kHugePageSize - 1] == std::byte{0});
}

TEST_CASE("memory that was truncated is an error, and no signal") {
    const Owned owned;
    const auto sink = owned.sink();
    SECTION("before it is prepared") {
        REQUIRE(::truncate(owned.path().c_str(), kPageSize) == 0);
        CHECK_THAT(message_of(prepare(*sink)), Contains("it was truncated"));
    }
    SECTION("while it is received into") {
        must(prepare(*sink));
        must(sink->prefault(kRam, {0, kSinkPages}));
        REQUIRE(::truncate(owned.path().c_str(), kPageSize) == 0);
        CHECK_FALSE(sink->prefault(kRam, {1, 1}));
        CHECK_FALSE(sink->clear(kRam, {1, 1}));
        CHECK_THAT(message_of(sink->commit()), Contains("it was truncated"));
    }
}

TEST_CASE("a region that the sender offers twice is refused, and nothing is cleared") {
    const Owned owned;
    const std::array<RegionInfo, 2> twice{RegionInfo{"ram", kSinkBytes}, {"ram", kSinkBytes}};
    const Status refused = owned.sink()->prepare(twice);
    REQUIRE_FALSE(refused);
    CHECK_THAT(message_of(refused), Contains("the sender offers region ram twice"));
    CHECK((read_file(owned.path()) == kContent));
}

TEST_CASE("a sink of shared memory names the files that it is going to clear") {
    const Owned owned;
    const auto files = must(owned.sink()->files());
    REQUIRE(files.size() == 1);
    struct stat status {};
    REQUIRE(::stat(owned.path().c_str(), &status) == 0);
    CHECK(files[0].identity == FileIdentity{status.st_dev, status.st_ino});
    CHECK(files[0].path == owned.path());
}

}  // namespace
}  // namespace migrate::memory
