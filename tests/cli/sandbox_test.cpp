// SPDX-License-Identifier: Apache-2.0
#include "cli/sandbox.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/denial_note.hpp"
#include "base/error.hpp"
#include "catch.hpp"
#include "cli/landlock.hpp"
#include "cli/output_paths.hpp"
#include "tests/support/forked.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::cli {
namespace {

Settings receiver(const std::map<std::string, std::string>& options) {
    Settings settings(Side::kRecv);
    for (const auto& [key, value] : options) must(settings.set(key, value));
    return settings;
}

// Returns 0 or an errno.
int create(const std::string& path) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) ::close(fd);
    return fd >= 0 ? 0 : errno;
}

bool denied(int error) { return error == EPERM || error == EACCES; }

TEST_CASE("the files that a receiver writes are those of all its options") {
    const auto paths = written_paths(receiver({{"sink", "file:a/sink"},
                                               {"stats", "b/stats"},
                                               {"events", "c/events"},
                                               {"port-file", "d/port"},
                                               {"qmp", "unix:e/qmp"},
                                               {"devices", "file:vf=f/device"},
                                               {"tls-creds", "psk:new=g/key"}}));
    REQUIRE(paths);
    const std::vector<std::string> sorted = [&] {
        auto copy = *paths;
        std::sort(copy.begin(), copy.end());
        return copy;
    }();
    CHECK(sorted == std::vector<std::string>{"a/sink", "b/stats", "c/events", "d/port", "e/qmp",
                                             "f/device", "g/key"});
    const auto none = written_paths(receiver({{"sink", "anon:"}}));
    REQUIRE(none);
    CHECK(none->empty());
}

TEST_CASE("a sandbox that is off changes nothing") {
    const TemporaryFolder folder;
    const int code = exit_code_of_fork([&] {
        const auto sandbox = Sandbox::begin(receiver({{"sink", "anon:"}, {"sandbox", "off"}}));
        if (!sandbox || sandbox->text() != "off" || !sandbox->complete()) return 1;
        return create(folder / "made");
    });
    CHECK(code == 0);
}

TEST_CASE("a confined process creates files in the folders of its outputs only") {
    const TemporaryFolder own;
    const TemporaryFolder foreign;
    const int code = exit_code_of_fork([&] {
        const auto sandbox =
            Sandbox::begin(receiver({{"sink", "anon:"}, {"stats", own / "stats"}}));
        if (!sandbox || !sandbox->complete()) return 1;
        if (create(own / "made") != 0) return 2;
        if (find_landlock().version != 0 && !denied(create(foreign / "made"))) return 3;
        return ::execl("/bin/true", "true", nullptr) < 0 && denied(errno) ? 0 : 4;
    });
    CHECK(code == 0);
    CHECK(foreign.names().empty());
}

TEST_CASE("a confined process without outputs creates no file, with and without Landlock") {
    const TemporaryFolder folder;
    const int code = exit_code_of_fork([&] {
        const auto sandbox = Sandbox::begin(receiver({{"sink", "anon:"}}));
        if (!sandbox || !sandbox->complete()) return 1;
        if (create(folder / "made") != EPERM) return 2;
        return ::unlink((folder / "none").c_str()) < 0 && errno == EPERM ? 0 : 3;
    });
    CHECK(code == 0);
}

TEST_CASE("an error that the kernel's denial caused names the sandbox") {
    const int code = exit_code_of_fork([] {
        const bool before =
            Error::system("do it", EACCES).message() == "cannot do it: Permission denied";
        set_denial_note("note");
        const bool after =
            Error::system("do it", EACCES).message() == "cannot do it: Permission denied (note)" &&
            Error::system("do it", EPERM).message() ==
                "cannot do it: Operation not permitted (note)" &&
            Error::system("do it", ENOENT).message() == "cannot do it: No such file or directory";
        return before && after ? 0 : 1;
    });
    CHECK(code == 0);
}

}  // namespace
}  // namespace migrate::cli
