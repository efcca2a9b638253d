// SPDX-License-Identifier: Apache-2.0
#include "cli/output_paths.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::cli {
namespace {

using Options = std::map<std::string, std::string>;
using Catch::Matchers::Contains;

Status check(Side side, const Options& options,
             const std::optional<std::string>& config = std::nullopt) {
    Settings settings(side);
    for (const auto& [key, value] : options) must(settings.set(key, value));
    return check_output_paths(settings, config);
}

Options sender(Options more) {
    more.emplace("source", "anon:1M");
    return more;
}
Options receiver(Options more) {
    more.emplace("sink", "null:");
    return more;
}

// A folder with one of everything.
struct Things {
    Things() {
        write_file(folder / "file", "old");
        std::filesystem::create_symlink("file", folder / "link");
        std::filesystem::create_symlink("absent", folder / "dangling");
        write_file(folder / "linked", "old");
        std::filesystem::create_hard_link(folder / "linked", folder / "linked too");
        std::filesystem::create_directory(folder / "folder");
        std::filesystem::create_symlink("folder", folder / "link to folder");
        REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    }
    std::string operator/(std::string_view name) const { return folder / name; }
    TemporaryFolder folder;
};

TEST_CASE("an output is a regular file of its own, or not there yet") {
    const Things things;
    const std::map<std::string, const char*> bad{
        {things / "link", "is a symbolic link"}, {things / "dangling", "is a symbolic link"},
        {things / "linked", "with 2 names"},     {things / "folder", "is a folder"},
        {things / "fifo", "is a FIFO"},          {"/dev/null", "is a character device"},
        {"/dev/stdout", "is a symbolic link"},   {"/dev/fd/1", "is a symbolic link"},
        {"/dev/full", "is a character device"},
    };
    for (const auto& [path, why] : bad) {
        for (const std::string option : {"stats", "events", "port-file", "sink"}) {
            for (const Side side : {Side::kSend, Side::kRecv}) {
                if (side == Side::kSend && (option == "port-file" || option == "sink")) continue;
                Options options{{option, path}};
                options = side == Side::kSend ? sender(options) : receiver(options);
                INFO(option << " " << path);
                const Status refused = check(side, options);
                REQUIRE_FALSE(refused);
                CHECK(refused.error().kind() == ErrorKind::kUsage);
                CHECK_THAT(message_of(refused),
                           Contains("--" + option + ": " + path + " ") && Contains(why));
            }
        }
    }
    for (const std::string& path : {things / "file", things / "new"}) {
        CHECK(check(Side::kSend, sender({{"stats", path}})));
        CHECK(check(Side::kRecv, receiver({{"events", path}})));
    }
}

TEST_CASE("the refusal of a FIFO for events names the way to follow a migration") {
    const Things things;
    CHECK(message_of(check(Side::kSend, sender({{"events", things / "fifo"}}))) ==
          "--events: " + things / "fifo" +
              " is a FIFO, not a regular file: name a regular file, or one that does not exist "
              "yet; follow it with 'tail -F', or the migration by --qmp");
}

TEST_CASE("two options that name one file are refused by both names") {
    const Things things;
    const std::string file = things / "file";
    const std::string fresh = things / "new";
    struct Case {
        Side side;
        Options options;
        const char* one;
        const char* other;
        std::optional<std::string> config{};
    };
    const std::vector<Case> cases{
        {Side::kSend, {{"stats", file}, {"events", file}}, "--stats ", "--events "},
        {Side::kSend, {{"stats", fresh}, {"events", fresh}}, "--stats ", "--events "},
        {Side::kSend,
         {{"stats", things / "folder/new"}, {"events", things / "link to folder/new"}},
         "--stats ",
         "--events "},
        {Side::kSend, {{"stats", file}, {"source", file}}, "--stats ", "--source "},
        {Side::kSend,
         {{"stats", file}, {"source", "file:" + things / "link"}},
         "--stats ",
         "--source "},
        {Side::kSend,
         {{"events", file}, {"source", "pid:1,map=" + file}},
         "--events ",
         "--source "},
        {Side::kSend,
         {{"stats", file}, {"devices", "file:net=" + file}},
         "--stats ",
         "--devices net"},
        {Side::kSend, {{"stats", fresh}, {"qmp", "unix:" + fresh}}, "--stats ", "--qmp "},
        {Side::kSend, {{"stats", file}}, "--stats ", "--config ", file},
        {Side::kRecv, {{"stats", fresh}, {"sink", "file:" + fresh}}, "--stats ", "--sink "},
        {Side::kRecv, {{"events", fresh}, {"sink", fresh}}, "--events ", "--sink "},
        {Side::kRecv, {{"port-file", file}, {"sink", file}}, "--port-file ", "--sink "},
        {Side::kRecv, {{"port-file", fresh}, {"stats", fresh}}, "--stats ", "--port-file "},
        {Side::kRecv,
         {{"sink", fresh}, {"devices", "file:net=" + fresh}},
         "--sink ",
         "--devices net"},
        {Side::kRecv,
         {{"devices", "file:net=" + fresh + " file:disk=" + fresh}},
         "--devices net",
         "--devices disk"},
        {Side::kRecv, {{"sink", fresh}, {"qmp", "unix:" + fresh}}, "--sink ", "--qmp "},
        {Side::kRecv, {{"sink", file}}, "--sink ", "--config ", file},
    };
    for (const Case& each : cases) {
        const Status refused = check(
            each.side, each.side == Side::kSend ? sender(each.options) : receiver(each.options),
            each.config);
        INFO(each.one << each.other);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().kind() == ErrorKind::kUsage);
        CHECK_THAT(message_of(refused),
                   Contains(each.one) && Contains(each.other) && Contains("are the same file"));
    }
}

TEST_CASE("no output may take the place of a certificate or a key") {
    const TemporaryFolder folder;
    const std::string key = folder / "server-key.pem";
    const auto refused = [](const Options& options) {
        return message_of(check(Side::kRecv, receiver(options)));
    };
    CHECK_THAT(refused({{"stats", key}, {"tls-creds", "x509:" + folder.path()}}),
               Contains("--tls-creds"));
    CHECK_THAT(refused({{"events", key}, {"tls-creds", "psk:" + key}}), Contains("--tls-creds"));
    CHECK_THAT(refused({{"port-file", key}, {"tls-creds", "psk:new=" + key}}),
               Contains("--tls-creds"));
}

TEST_CASE("files that are only read may be one, and streams may share the null device") {
    const Things things;
    const std::string file = things / "file";
    CHECK(check(Side::kSend, {{"source", file}, {"devices", "file:net=" + file}}, file));
    CHECK(check(Side::kRecv, receiver({{"devices", "file:net=/dev/null file:disk=/dev/null"}})));
    CHECK(check(Side::kRecv, receiver({{"devices", "file:net=" + things / "fifo"}})));
}

TEST_CASE("a descriptor's file counts among the files of the command line") {
    const Things things;
    const UniqueFd open(::open((things / "file").c_str(), O_WRONLY | O_CLOEXEC));
    const Status refused = check(
        Side::kRecv,
        receiver({{"devices", fmt::format("fd:net={}", open.get())}, {"stats", things / "file"}}));
    CHECK_THAT(message_of(refused), Contains("--stats ") && Contains("--devices net"));
}

TEST_CASE("the check opens and changes nothing") {
    const Things things;
    static_cast<void>(check(Side::kRecv, receiver({{"stats", things / "file"},
                                                   {"events", things / "new"},
                                                   {"sink", things / "other"}})));
    CHECK(read_file(things / "file") == "old");
    CHECK_FALSE(std::filesystem::exists(things / "new"));
    CHECK_FALSE(std::filesystem::exists(things / "other"));
}

}  // namespace
}  // namespace migrate::cli
