// SPDX-License-Identifier: Apache-2.0
// The receiver's sandbox: a receiver that tries what it forbids is refused by the kernel, and
// everything that a receiver does after its set-up works within it.
#include <cerrno>
#include <filesystem>
#include <map>
#include <sstream>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/test_image.hpp"
#include "e2e/test_tls.hpp"
#include "e2e/transfer.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;

#ifdef MIGRATE_FORBIDDEN_CALLS

// A folder that the receiver has no business in, and the report of its attempts.
class Attempts {
  public:
    Attempts() {
        write_file(folder_ / "victim", "content");
        write_file(folder_ / "other", "content");
    }

    Surroundings surroundings() const {
        return {.environment = {std::string("LD_PRELOAD=") + MIGRATE_FORBIDDEN_CALLS,
                                "FORBIDDEN_REPORT=" + report_,
                                "FORBIDDEN_FOLDER=" + folder_.path()}};
    }

    // The errno of each attempt of a thread, by its name; "end" is the last one.
    std::map<std::string, int> of(const std::string& thread) const {
        std::map<std::string, int> errors;
        std::istringstream lines(read_file(report_));
        std::string who;
        std::string name;
        for (int error = 0; lines >> who >> name >> error;) {
            if (who == thread) errors[name] = error;
        }
        return errors;
    }

    bool folder_is_untouched() const {
        return folder_.names().size() == 2 && read_file(folder_ / "victim") == "content" &&
               read_file(folder_ / "other") == "content";
    }

  private:
    TemporaryFolder reports_;
    TemporaryFolder folder_;
    std::string report_ = reports_ / "report";
};

// Runs a migration with a receiver that makes the attempts. It succeeds nevertheless.
void migrate_with(const Attempts& attempts, std::vector<std::string> recv_options,
                  const std::vector<std::string>& send_options = {},
                  const std::string& source = "anon:8M,fill=random") {
    Receiver receiver(std::move(recv_options), attempts.surroundings());
    Process sender(send_arguments(receiver, source, send_options));
    const int sent = sender.wait();
    const int received = receiver->wait();
    INFO("sender:\n" << sender.both() << "receiver:\n" << receiver->both());
    CHECK(sent == 0);
    CHECK(received == 0);
}

void check_all_refused(const Attempts& attempts, const std::vector<std::string>& allowed = {}) {
    for (const std::string thread : {"accepting", "writing"}) {
        auto errors = attempts.of(thread);
        REQUIRE(errors.count("end") == 1);
        errors.erase("end");
        for (const std::string& name : allowed) errors.erase(name);
        CHECK(errors.size() + allowed.size() == 32);
        for (const auto& [name, error] : errors) {
            INFO(thread << ": " << name << ": " << error);
            CHECK((error == EPERM || error == EACCES));
        }
    }
    CHECK(attempts.folder_is_untouched());
}

bool has_landlock(const TemporaryFolder& folder) {
    const auto stats = read_stats(folder / "recv.json");
    return stats.at("settings").at("sandbox") == "seccomp and Landlock";
}

TEST_CASE("the kernel refuses a confined receiver programs, files and connections", "[sandbox]") {
    const Attempts attempts;
    const std::string sink = GENERATE("anon:", "memfd:", "null:");
    migrate_with(attempts, {"--sink", sink}, {}, "anon:8M,fill=random");
    // Without Landlock the file is not protected from being written.
    check_all_refused(attempts, {"write"});
}

TEST_CASE("a confined receiver with files of its own writes no others", "[sandbox]") {
    const Attempts attempts;
    const TemporaryFolder own(scratch_parent());
    migrate_with(attempts, {"--sink", "file:" + (own / "copy.mem"), "--stats", own / "recv.json",
                            "--events", own / "events", "--port-file", own / "port"});
    CHECK(own.names().size() == 4);
    if (has_landlock(own)) check_all_refused(attempts);
}

TEST_CASE("a confined receiver that writes a bundle writes no others", "[sandbox]") {
    const Attempts attempts;
    const TemporaryFolder own(scratch_parent());
    migrate_with(attempts, {"--sink", "bundle:" + (own / "bundle"), "--stats", own / "recv.json"},
                 {}, "workload:8M,warm-up=0");
    CHECK(std::filesystem::exists(own / "bundle/manifest.json"));
    if (has_landlock(own)) check_all_refused(attempts);
}

TEST_CASE("a confined receiver that sends its guest back connects by TCP only", "[sandbox]") {
    const Attempts attempts;
    migrate_with(attempts, {"--sink", "anon:", "--repeat", "1"}, {"--repeat", "1"},
                 "workload:8M,warm-up=0");
    check_all_refused(attempts, {"write", "socket-tcp", "connect", "fast-open"});
}

TEST_CASE("without its sandbox the same receiver is refused nothing", "[sandbox]") {
    const Attempts attempts;
    migrate_with(attempts, {"--sink", "anon:", "--sandbox", "off"});
    for (const std::string thread : {"accepting", "writing"}) {
        const auto errors = attempts.of(thread);
        // Others may need a privilege that the user of this test does not have.
        for (const char* name : {"execve", "clone", "write", "mkdir", "socket-tcp", "connect"}) {
            INFO(thread << ": " << name);
            REQUIRE(errors.count(name) == 1);
            CHECK(errors.at(name) != EPERM);
            CHECK(errors.at(name) != EACCES);
        }
    }
    CHECK_FALSE(attempts.folder_is_untouched());
}

#endif

TEST_CASE("the receiver states what confines it", "[sandbox]") {
    const TemporaryFolder folder;
    for (const std::string mode : {"on", "off"}) {
        Receiver receiver({"--sink", "null:", "--sandbox", mode, "--stats", folder / "recv.json"});
        Process sender(send_arguments(receiver, "anon:1M"));
        CHECK(sender.wait() == 0);
        CHECK(receiver->wait() == 0);
        const auto text =
            read_stats(folder / "recv.json").at("settings").at("sandbox").get<std::string>();
        INFO(text);
        CHECK_THAT(receiver->out(), Contains("\nsandbox: " + text + "\n"));
        CHECK(text.substr(0, 7) == (mode == "on" ? "seccomp" : "off"));
    }
}

TEST_CASE("a confined receiver names the sandbox when a file cannot be written", "[sandbox]") {
    const TemporaryFolder parent;
    const std::string folder = parent / "results";
    std::filesystem::create_directory(folder);
    Receiver receiver({"--sink", "null:", "--stats", folder + "/recv.json"});
    // The folder that the receiver was allowed to write is another one now.
    std::filesystem::rename(folder, parent / "moved");
    std::filesystem::create_directory(folder);
    Process sender(send_arguments(receiver, "anon:1M"));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    INFO(receiver->both());
    if (receiver->out().find("without Landlock") == std::string::npos) {
        CHECK_THAT(receiver->err(),
                   Contains("Permission denied (if the receiver's sandbox forbids this, --sandbox "
                            "off permits it)"));
        CHECK(std::filesystem::is_empty(folder));
    }
}

TEST_CASE("a confined receiver reads rotated certificates and removes its one-time key",
          "[sandbox]") {
    const TemporaryFolder folder;
    const TestCredentials& files = TestCredentials::get();
    files.write_host(folder, "127.0.0.1");
    SECTION("certificates that were replaced while it waited") {
        Receiver receiver({"--sink", "anon:", "--tls-creds", "x509:" + folder.path()});
        for (const char* name : {"server-cert.pem", "server-key.pem"}) {
            std::filesystem::remove(folder / name);
        }
        files.write_host(folder, "127.0.0.1");
        Process sender(send_arguments(receiver, "anon:1M", {"--tls-creds", files.x509()}));
        CHECK(sender.wait() == 0);
        CHECK(receiver->wait() == 0);
    }
    SECTION("a key for one session") {
        const std::string key = folder / "once.psk";
        Receiver receiver({"--sink", "anon:", "--tls-creds", "psk:new=" + key});
        Process sender(send_arguments(receiver, "anon:1M", {"--tls-creds", "psk:" + key}));
        CHECK(sender.wait() == 0);
        CHECK(receiver->wait() == 0);
        CHECK_FALSE(std::filesystem::exists(key));
    }
}

TEST_CASE("a confined receiver serves the next sender after it refused one", "[sandbox]") {
    const TemporaryFolder folder(scratch_parent());
    Receiver receiver({"--sink", "file:" + (folder / "copy.mem")});
    // A file takes one region, and no guest.
    Process refused(send_arguments(receiver, "workload:1M,warm-up=0"));
    CHECK(refused.wait() == 3);
    Process sender(
        send_arguments(receiver, "anon:1M,fill=random", {"--multifd-socket-buffer", "64K"}));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    CHECK(std::filesystem::file_size(folder / "copy.mem") == 1 << 20);
}

}  // namespace
}  // namespace migrate::e2e
