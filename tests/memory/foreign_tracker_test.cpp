// Writes of another process, seen from outside, and what the attaching leaves in it: nothing.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>

#include "memory/dirty_tracker.hpp"
#include "memory/foreign_userfaultfd.hpp"
#include "memory/shared_source.hpp"
#include "tests/catch.hpp"
#include "tests/memory/must.hpp"

namespace migrate::memory {
namespace {

constexpr std::uint64_t kTestPages = 1024;

// A process that does what it is told, in a system call in between.
class Other {
  public:
    explicit Other(const std::function<void()>& prepare = {}) {
        std::array<int, 2> pair{-1, -1};
        REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) == 0);
        ours_.reset(pair[0]);
        const UniqueFd theirs(pair[1]);
        file_.reset(::memfd_create("foreign-test", MFD_CLOEXEC));
        REQUIRE(::ftruncate(file_.get(), kTestPages * kPageSize) == 0);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) {
            ours_.reset();
            serve(theirs.get(), file_.get(), prepare);
        }
        CHECK(answer() == 0);
    }
    ~Other() {
        ours_.reset();
        ::waitpid(pid_, nullptr, 0);
    }
    Other(const Other&) = delete;
    Other& operator=(const Other&) = delete;

    pid_t pid() const { return pid_; }
    UniqueFd file() const { return UniqueFd(::dup(file_.get())); }

    // Writes a page; or, for a negative number, sleeps so many milliseconds and says how that went.
    std::int64_t ask(std::int64_t what) {
        tell(what);
        return answer();
    }
    void tell(std::int64_t what) {
        CHECK(::send(ours_.get(), &what, sizeof what, 0) == sizeof what);
    }
    std::int64_t answer() {
        std::int64_t result = -1;
        CHECK(::recv(ours_.get(), &result, sizeof result, 0) == sizeof result);
        return result;
    }

    int userfaultfds() const {
        int count = 0;
        for (const auto& entry :
             std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid_))) {
            std::error_code ignored;
            const auto link = std::filesystem::read_symlink(entry.path(), ignored).string();
            count += link.find("userfaultfd") != std::string::npos ? 1 : 0;
        }
        return count;
    }

  private:
    [[noreturn]] static void serve(int socket, int file, const std::function<void()>& prepare) {
        auto* memory = static_cast<unsigned char*>(
            ::mmap(nullptr, kTestPages * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
        if (prepare) prepare();
        std::int64_t word = 0;
        unsigned char value = 0;
        do {
            ::send(socket, &word, sizeof word, 0);
            if (::recv(socket, &word, sizeof word, 0) != sizeof word) ::_exit(0);
            if (word < 0) {
                const timespec time{0, static_cast<long>(-word) * 1'000'000};
                word = ::nanosleep(&time, nullptr) == 0 ? 0 : errno;
            } else {
                memory[static_cast<std::uint64_t>(word) * kPageSize] = ++value;
                word = 0;
            }
        } while (true);
    }

    UniqueFd ours_;
    UniqueFd file_;
    pid_t pid_ = -1;
};

bool can_attach() {
    const Status possible = probe_foreign_userfaultfd();
    if (!possible) WARN("not tested: " << possible.error().message());
    return static_cast<bool>(possible);
}

std::unique_ptr<PageSource> source_of(const Other& other) {
    std::vector<SharedRegion> regions;
    regions.push_back({"ram", other.file(), kTestPages * kPageSize, "a memfd"});
    const FileIdentity file = must(identify(regions[0].file.get()));
    MemoryOwner owner{other.pid(), process_name(other.pid()), {}, {}};
    owner.regions.push_back(mappings_of(must(shared_file_mappings(other.pid())), file));
    REQUIRE(owner.regions[0].size() == 1);
    return must(open_shared_source("test", std::move(regions), std::move(owner)));
}

std::vector<std::uint64_t> collect(DirtyTracker& tracker) {
    std::vector<PageBitmap> dirty;
    dirty.push_back(must(PageBitmap::create(kTestPages)));
    must(tracker.collect(dirty));
    std::vector<std::uint64_t> pages;
    for (std::uint64_t page = 0; page < kTestPages; ++page) {
        if (dirty[0].test(page)) pages.push_back(page);
    }
    return pages;
}

TEST_CASE("another process's writes are seen page by page, and nothing is left in it") {
    if (!can_attach()) return;
    Other other;
    CHECK(other.ask(5) == 0);
    const auto source = source_of(other);
    const auto tracker = must(make_dirty_tracker("uffd-wp", *source));
    CHECK(other.userfaultfds() == 0);
    CHECK(tracker->stood_still().count() > 0);
    must(tracker->start());
    CHECK(collect(*tracker).empty());
    other.ask(3);
    other.ask(70);
    other.ask(5);
    // Reading it here is no write.
    CHECK(source->memory(RegionId{0})[5 * kPageSize] == std::byte{4});
    CHECK(collect(*tracker) == std::vector<std::uint64_t>{3, 5, 70});
    other.ask(3);
    CHECK(collect(*tracker) == std::vector<std::uint64_t>{3});
    CHECK(collect(*tracker).empty());
    tracker->stop();
    CHECK(other.ask(9) == 0);
    CHECK(other.userfaultfds() == 0);
}

TEST_CASE("a process that is attached to loses neither its sleep nor its system call") {
    if (!can_attach()) return;
    Other other;
    for (int turn = 0; turn < 20; ++turn) {
        if (turn % 2 == 0) other.tell(-30);
        must(open_foreign_userfaultfd(other.pid()));
        if (turn % 2 == 0) CHECK(other.answer() == 0);
    }
    CHECK(other.userfaultfds() == 0);
    CHECK(other.ask(1) == 0);
}

TEST_CASE("what an interrupted attempt left in the process is closed by the next") {
    if (!can_attach()) return;
    Other other([] { (void)::syscall(SYS_userfaultfd, O_CLOEXEC | 1); });
    REQUIRE(other.userfaultfds() == 1);
    must(open_foreign_userfaultfd(other.pid()));
    CHECK(other.userfaultfds() == 0);
}

TEST_CASE("a process under a seccomp filter is left alone, and hashed") {
    Other other([] {
        sock_filter allow{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
        const sock_fprog program{1, &allow};
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    });
    const auto opened = open_foreign_userfaultfd(other.pid());
    CHECK_THAT(message_of(opened), Catch::Contains("seccomp"));
    const auto source = source_of(other);
    CHECK(must(make_dirty_tracker("auto", *source))->name() == "hash");
    CHECK(other.ask(1) == 0);
}

TEST_CASE("memory that a third process may write is not tracked by uffd-wp") {
    const Other other;
    const Other third;
    std::vector<SharedRegion> regions;
    regions.push_back({"ram", other.file(), kTestPages * kPageSize, "a memfd"});
    const FileIdentity file = must(identify(regions[0].file.get()));
    CHECK(other_writer(file, other.pid()).empty());
    CHECK_FALSE(other_writer(file, third.pid()).empty());
}

TEST_CASE("a process that is gone cannot be attached to") {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    CHECK_FALSE(open_foreign_userfaultfd(child));
    CHECK_FALSE(shared_file_mappings(child));
}

}  // namespace
}  // namespace migrate::memory
