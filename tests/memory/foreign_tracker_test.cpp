// SPDX-License-Identifier: Apache-2.0
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
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "base/raw_syscall.hpp"
#include "memory/dirty/dirty_tracker.hpp"
#include "memory/foreign/foreign_userfaultfd.hpp"
#include "memory/foreign/foreign_writers.hpp"
#include "memory/foreign/remote_call.hpp"
#include "memory/source/shared_source.hpp"
#include "tests/catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/other_process.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_sanitizer.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::memory {
namespace {

// Sparse; more than a process that root may not examine is likely to have.
constexpr std::uint64_t kForeignPages = 256 * kMiB / kPageSize;

// A process that does what it is told, in a system call in between.
class Other {
  public:
    explicit Other(const std::function<void()>& prepare = {}) {
        UniqueFd theirs;
        std::tie(ours_, theirs) = unix_socket_pair(SOCK_SEQPACKET);
        file_.reset(::memfd_create("foreign-test", MFD_CLOEXEC));
        REQUIRE(::ftruncate(file_.get(), kForeignPages * kPageSize) == 0);
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
        auto* memory = static_cast<unsigned char*>(::mmap(
            nullptr, kForeignPages * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
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

std::unique_ptr<PageSource> source_of(const Other& other,
                                      std::optional<std::string> said = std::nullopt) {
    std::vector<SharedRegion> regions;
    regions.push_back({"ram", other.file(), kForeignPages * kPageSize, "a memfd"});
    const FileIdentity file = must(identify(regions[0].file.get()));
    MemoryOwner owner{other.pid(), process_name(other.pid()), std::move(said), {file}, {}};
    owner.regions.push_back(mappings_of(must(shared_file_mappings(other.pid())), file));
    REQUIRE(owner.regions[0].size() == 1);
    return must(open_shared_source("test", std::move(regions), std::move(owner)));
}

std::vector<std::uint64_t> collect(DirtyTracker& tracker) {
    std::vector<PageBitmap> dirty;
    dirty.push_back(must(PageBitmap::create(kForeignPages)));
    must(tracker.collect(dirty, {}));
    std::vector<std::uint64_t> pages;
    for (std::uint64_t page = 0; page < kForeignPages; ++page) {
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

TEST_CASE("a process that is attached to receives every signal that it is sent") {
    if (!can_attach()) return;
    const Mapping shared = must(Mapping::create({.size = kPageSize,
                                                 .protection = PROT_READ | PROT_WRITE,
                                                 .flags = MAP_SHARED | MAP_ANONYMOUS,
                                                 .what = "a counter"}));
    static std::atomic<std::uint64_t>* received = nullptr;
    received = new (shared.data()) std::atomic<std::uint64_t>(0);
    Other other([] {
        struct sigaction count {};
        count.sa_handler = [](int) { ++*received; };
        count.sa_flags = SA_RESTART;
        ::sigaction(SIGRTMIN, &count, nullptr);
    });
    std::atomic<bool> attached = false;
    std::uint64_t sent = 0;
    std::thread sender([&] {
        while (!attached) {
            if (::sigqueue(other.pid(), SIGRTMIN, {}) == 0) ++sent;
        }
    });
    for (int turn = 0; turn < 200; ++turn) must(open_foreign_userfaultfd(other.pid()));
    attached = true;
    sender.join();
    // Signals that are queued are taken before the next word is.
    CHECK(other.ask(1) == 0);
#ifdef MIGRATE_UNDER_TSAN
    // The sanitizer hands signals on late, several as one.
    CHECK(*received != 0);
#else
    CHECK(*received == sent);
#endif
}

TEST_CASE("a process that is attached to stays stopped if it was sent SIGSTOP meanwhile") {
    if (!can_attach()) return;
    Other other;
    for (int turn = 0; turn < 100; ++turn) {
        std::thread stopper([&] { ::kill(other.pid(), SIGSTOP); });
        must(open_foreign_userfaultfd(other.pid()));
        stopper.join();
        siginfo_t what{};
        CHECK(::waitid(P_PID, static_cast<id_t>(other.pid()), &what, WSTOPPED) == 0);
        CHECK(what.si_status == SIGSTOP);
        ::kill(other.pid(), SIGCONT);
    }
    CHECK(other.ask(1) == 0);
}

TEST_CASE("a thread that does not come back from a call is waited for and put back") {
    if (!can_attach()) return;
    Other other;
    other.tell(-900);
    // RemoteCall wants this form.
    sigset_t stops;
    sigset_t before;
    ::sigemptyset(&stops);
    ::sigaddset(&stops, SIGCHLD);
    REQUIRE(::pthread_sigmask(SIG_BLOCK, &stops, &before) == 0);
    RemoteCall call(other.pid(), must(find_syscall_instruction(other.pid())));
    REQUIRE(call.seize() == 0);
    REQUIRE(call.stop(std::chrono::seconds(2)) == 0);
    CHECK(call.run(SYS_getpid, 0) == other.pid());
    CHECK_FALSE(call.run(SYS_pause, 0));
    CHECK(call.error() == ETIMEDOUT);
    CHECK_FALSE(call.run(SYS_getpid, 0));
    call.let_go();
    REQUIRE(::pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
    CHECK(other.answer() == 0);
    CHECK(other.ask(1) == 0);
}

TEST_CASE("the next attempt closes what an interrupted one left in the process") {
    if (!can_attach()) return;
    Other other([] {
        const auto left = static_cast<int>(raw_syscall(SYS_userfaultfd, O_CLOEXEC | 1));
        ::fcntl(left, F_SETFL, O_APPEND);
    });
    REQUIRE(other.userfaultfds() == 1);
    must(open_foreign_userfaultfd(other.pid()));
    CHECK(other.userfaultfds() == 0);
}

TEST_CASE("a userfaultfd that the process has made and not used yet stays open") {
    if (!can_attach()) return;
    for (const int flags : {O_CLOEXEC, O_CLOEXEC | O_NONBLOCK}) {
        Other other([flags] { (void)raw_syscall(SYS_userfaultfd, flags | 1); });
        REQUIRE(other.userfaultfds() == 1);
        for (int turn = 0; turn < 3; ++turn) must(open_foreign_userfaultfd(other.pid()));
        CHECK(other.userfaultfds() == 1);
    }
}

TEST_CASE("a userfaultfd made in another process has the mark that shows it to the next attempt") {
    if (!can_attach()) return;
    const Other other;
    const auto made = must(open_foreign_userfaultfd(other.pid()));
    CHECK((::fcntl(made.faults.get(), F_GETFL) & O_APPEND) != 0);
}

// Ends this process if it makes a userfaultfd.
void forbid_userfaultfd() {
    std::array<sock_filter, 4> rules{
        sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
        sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_userfaultfd},
        sock_filter{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS},
        sock_filter{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    const sock_fprog program{rules.size(), rules.data()};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL);
    ::prctl(PR_SET_SECCOMP, static_cast<unsigned long>(SECCOMP_MODE_FILTER), &program);
}

TEST_CASE("a seccomp filter is suspended for the attaching, or the process is left alone") {
    Other other(forbid_userfaultfd);
    const auto opened = open_foreign_userfaultfd(other.pid());
    const auto source = source_of(other);
    if (opened) {
        CHECK(other.userfaultfds() == 0);
        CHECK(must(make_dirty_tracker("auto", *source))->name() == "uffd-wp");
    } else {
        CHECK_THAT(message_of(opened), Catch::Contains("seccomp"));
        CHECK(must(make_dirty_tracker("auto", *source))->name() == "hash");
    }
    CHECK(other.ask(1) == 0);
}

TEST_CASE("a seccomp filter applies again after the attaching") {
    if (!can_attach()) return;
    const OtherProcess other(forbid_userfaultfd);
    if (!open_foreign_userfaultfd(other.pid())) return;
    std::ifstream status(fmt::format("/proc/{}/status", other.pid()));
    bool filtered = false;
    for (std::string line; std::getline(status, line);) {
        filtered = filtered || (line.starts_with("Seccomp:") && line.ends_with("2"));
    }
    CHECK(filtered);
}

TEST_CASE("memory that a third process comes to write is no longer tracked by uffd-wp") {
    if (!can_attach()) return;
    const Other other;
    const auto source = source_of(other);
    const auto tracker = must(make_dirty_tracker("uffd-wp", *source));
    must(tracker->start());
    must(tracker->check(Writers::kAll, std::nullopt));
    const Mapping ours = must(Mapping::create({.size = kForeignPages * kPageSize,
                                               .protection = PROT_READ | PROT_WRITE,
                                               .flags = MAP_SHARED,
                                               .fd = other.file().get(),
                                               .what = "the other's memory"}));
    must(tracker->check(Writers::kAll, std::nullopt));
    OtherProcess third([] {});
    CHECK_THAT(message_of(tracker->check(Writers::kAll, std::nullopt)),
               Catch::Contains("its writes would not be seen"));
    CHECK_THAT(message_of(make_dirty_tracker("uffd-wp", *source)), Catch::Contains("mapped, too"));
    CHECK(must(make_dirty_tracker("auto", *source))->name() == "hash");
    third.end();
    must(tracker->check(Writers::kAll, std::nullopt));
}

TEST_CASE("a writer whose first thread has ended is found by its others") {
    const Other other;
    const UniqueFd memory = other.file();
    const FileIdentity file = must(identify(memory.get()));
    const auto find = [&] {
        return find_other_writers(file, kForeignPages * kPageSize, FileMemory::kShmem, other.pid());
    };
    CHECK(find().writer.empty());
    const OtherProcess writer(
        [&] { ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0); },
        memory.get(), OtherProcess::Waits::kSecond);
    CHECK(find().writer == process_name(writer.pid()));
}

TEST_CASE(
    "a process that may not be examined is counted and named, and a writer unless the owner "
    "says that there is none") {
    if (::geteuid() != 0) return;
    const Other other;
    // Two that root alone may examine, with pages of that kind.
    std::array<Other, 2> unreadable;
    for (Other& one : unreadable) CHECK(one.ask(1) == 0);
    const FileIdentity file = must(identify(other.file().get()));
    const MemoryOwner owner{other.pid(),
                            "the guest",
                            std::nullopt,
                            {file},
                            {{{0, kForeignPages * kPageSize, 0}}},
                            {FileMemory::kShmem}};
    const auto look = [&](const std::optional<std::string>& said) {
        return as_nobody([&] {
            const UnseenWrites unseen = unseen_writes(owner, said);
            return unseen.reason + "|" + unseen.unknown;
        });
    };
    const std::string asked = look("");
    CHECK(asked.front() == '|');
    CHECK_THAT(asked, Catch::Contains("(pid ") && Catch::Contains("Permission denied") &&
                          Catch::Contains(" more"));
    CHECK_THAT(look(std::nullopt), Catch::Contains("whether another process writes the memory of "
                                                   "the guest is not known") &&
                                       Catch::Contains("run migrate as root"));
    // No process is large enough for these bytes.
    CHECK(as_nobody([&] {
              return find_other_writers(file, std::uint64_t{1} << 62, FileMemory::kShmem,
                                        other.pid())
                         .unknown +
                     ".";
          }) == ".");
    // Root sees all.
    const UnseenWrites seen = unseen_writes(owner, std::nullopt);
    CHECK(seen.reason.empty());
    CHECK(seen.unknown.empty());
}

TEST_CASE("memory of a process that reads files by direct I/O is compared, not marked") {
    const TemporaryFolder folder;
    const std::string path = folder / "disk";
    const int flags = GENERATE(O_RDWR | O_DIRECT, -1);
    Other other([&] {
        if (flags != -1) {
            (void)::open(path.c_str(), O_CREAT | flags, 0600);
        } else {
            std::array<std::uint32_t, 30> parameters{};  // struct io_uring_params: 120 bytes
            (void)raw_syscall(SYS_io_uring_setup, 4, parameters.data());
        }
    });
    const auto kind = flags == -1 ? FileAccessPath::kRing : FileAccessPath::kPinned;
    if (open_file_of(other.pid(), kind).empty()) {
        WARN("not tested: there is no " << (flags == -1 ? "io_uring" : "O_DIRECT") << " here");
        return;
    }
    const auto source = source_of(other);
    CHECK_THAT(message_of(make_dirty_tracker("uffd-wp", *source)), Catch::Contains("direct I/O"));
    CHECK(must(make_dirty_tracker("auto", *source))->name() == "hash");
    if (!can_attach()) return;
    // One that says what its io_uring is used for is believed; its O_DIRECT descriptors count.
    const auto asked = source_of(other, "");
    CHECK(must(make_dirty_tracker("auto", *asked))->name() == (flags == -1 ? "uffd-wp" : "hash"));
}

TEST_CASE("a writer that its owner tells of later is found by a check of the owner alone") {
    if (!can_attach()) return;
    Other other;
    const auto source = source_of(other, "");
    const auto tracker = must(make_dirty_tracker("uffd-wp", *source));
    must(tracker->check(Writers::kOwner, ""));
    CHECK(message_of(tracker->check(Writers::kOwner, "it has a disk")) == "it has a disk");
    CHECK_FALSE(make_dirty_tracker("uffd-wp", *source_of(other, "it has a disk")));
}

TEST_CASE("an open file tells how memory can be written through it") {
    const auto is = [](std::string_view link, std::uint64_t flags, FileAccessPath path,
                       std::string_view filesystem = "ext4") {
        INFO(link);
        CHECK(access_path_of({link, flags, filesystem}) == path);
    };
    for (const char* device : {"/dev/vfio/vfio", "/dev/vfio/12", "/dev/vfio/devices/vfio0",
                               "/dev/iommu", "/dev/vhost-vdpa-0"}) {
        is(device, O_RDWR, FileAccessPath::kDevice);
    }
    is("/dev/vhost-scsi", O_RDWR, FileAccessPath::kPinned);
    for (const char* device :
         {"/dev/sg0", "/dev/bsg/0:0:0:0", "/dev/ng0n1", "/dev/infiniband/uverbs0"}) {
        is(device, O_RDWR, FileAccessPath::kPinned);
    }
    is("anon_inode:[io_uring]", O_RDWR, FileAccessPath::kRing);
    is("/disk.img", O_RDWR | O_DIRECT, FileAccessPath::kPinned);
    is("/disk.img", O_RDONLY | O_DIRECT, FileAccessPath::kPinned);
    is("/log", O_WRONLY | O_DIRECT, FileAccessPath::kMarked);
    is("/disk.img", O_RDWR, FileAccessPath::kMarked);
    is("pipe:[1]", O_RDONLY | O_DIRECT, FileAccessPath::kMarked);
    is("/dev/vhost-net", O_RDWR, FileAccessPath::kMarked);
    is("/dev/kvm", O_RDWR, FileAccessPath::kMarked);
    for (const char* filesystem : {"fuse", "fuse.sshfs", "virtiofs", "9p", "cifs", "smb3"}) {
        INFO(filesystem);
        is("/disk.img", O_RDWR, FileAccessPath::kPinned, filesystem);
        is("/log", O_WRONLY, FileAccessPath::kMarked, filesystem);
    }
    for (const char* filesystem : {"", "ext4", "fuseblk", "overlay", "tmpfs", "nfs4"}) {
        INFO(filesystem);
        is("/disk.img", O_RDWR, FileAccessPath::kMarked, filesystem);
    }
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
