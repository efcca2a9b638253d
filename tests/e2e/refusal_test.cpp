// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <array>
#include <csignal>

#include "catch.hpp"
#include "e2e/events_file.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;

// Both sides of a transfer that is slow enough to be interrupted, past its handshake; the sink is a
// file that has a predecessor.
class SlowTransfer {
  public:
    // A lost main channel ends it at once. `timeouts` are options of both sides.
    explicit SlowTransfer(const std::vector<std::string>& timeouts = {}) {
        write_file(folder_ / "copy.mem", "old");
        std::vector<std::string> recv{"--sink",   "file:" + (folder_ / "copy.mem"),
                                      "--events", received_.path(),
                                      "--stats",  stats_folder_ / "recv.json"};
        recv.insert(recv.end(), timeouts.begin(), timeouts.end());
        receiver_ = std::make_unique<Receiver>(recv);
        std::vector<std::string> send{"--max-bandwidth",     "1M",      "--events",
                                      sent_.path(),          "--stats", stats_folder_ / "send.json",
                                      "--reconnect-timeout", "0"};
        send.insert(send.end(), timeouts.begin(), timeouts.end());
        sender_ =
            std::make_unique<Process>(send_arguments(*receiver_, "anon:256M,fill=random", send));
        REQUIRE(sent_.await("MIGRATION_PASS"));
        REQUIRE(received_.await("MIGRATION_PASS"));
    }

    Process& sender() { return *sender_; }
    Process& receiver() { return receiver_->process(); }
    // A failed transfer leaves the old file and nothing else.
    void check_old_file_alone() const {
        CHECK(folder_.names() == std::vector<std::string>{"copy.mem"});
        CHECK(read_file(folder_ / "copy.mem") == "old");
    }
    nlohmann::json stats(const std::string& side) const {
        return read_stats(stats_folder_ / (side + ".json"));
    }

  private:
    TemporaryFolder folder_{scratch_parent()};
    TemporaryFolder stats_folder_{scratch_parent()};
    EventsFile sent_;
    EventsFile received_;
    std::unique_ptr<Receiver> receiver_;
    std::unique_ptr<Process> sender_;
};

// `migrate` with these arguments ends with this code and says this.
void check_ends(const std::vector<std::string>& arguments, int code, const std::string& words) {
    std::string line;
    for (const std::string& argument : arguments) line += argument + ' ';
    INFO(line);
    Process process(arguments);
    const int ended = process.wait();
    CHECK(ended == code);
    CHECK_THAT(process.err(), Contains(words));
}

}  // namespace

TEST_CASE("an unknown flag is refused by naming the nearest", "[refusal]") {
    check_ends({"send", "--multifd-chanels", "4"}, 2, "multifd-channels");
    check_ends({"recv", "--lisen", "127.0.0.1:0"}, 2, "listen");
    check_ends({"recv", "--source", "anon:4K"}, 2, "belongs to 'migrate send'");
}

TEST_CASE("a receiver with a guest's name takes only a sender of that name", "[refusal]") {
    Receiver receiver({"--sink", "null:", "--guest-name", "web-1"});
    for (const auto& [options, words] :
         {std::pair{std::vector<std::string>{},
                    "waits for the guest 'web-1', and the sender has no name"},
          std::pair{std::vector<std::string>{"--guest-name", "web-2"},
                    "waits for the guest 'web-1', and the sender has 'web-2'"}}) {
        Process sender(send_arguments(receiver, "anon:1M", options));
        CHECK(sender.wait() == 3);
        CHECK_THAT(sender.err(), Contains(words));
    }
    Process right(send_arguments(receiver, "anon:1M", {"--guest-name", "web-1"}));
    CHECK(right.wait() == 0);
    CHECK(receiver->wait() == 0);
    Receiver any({"--sink", "null:"});
    Process named(send_arguments(any, "anon:1M", {"--guest-name", "web-1"}));
    CHECK(named.wait() == 0);
    check_ends({"send", "--connect", "127.0.0.1:1", "--source", "anon:4K", "--guest-name",
                std::string(65, 'a')},
               2, "guest-name: a name has at most 64");
    check_ends({"recv", "--listen", "127.0.0.1:0", "--sink", "null:", "--guest-name", "a\nb"}, 2,
               "guest-name: a name has");
}

TEST_CASE("a socket buffer above the host's limit is refused by the limit's name", "[refusal]") {
    check_ends({"send", "--connect", "127.0.0.1:1", "--source", "anon:4K",
                "--multifd-socket-buffer", "1G"},
               3, "net.core.wmem_max");
}

TEST_CASE("a value out of range is refused with the range", "[refusal]") {
    const std::vector<std::string> send{"send", "--connect", "127.0.0.1:1", "--source", "anon:4K"};
    const auto with = [&](const std::string& option, const std::string& value) {
        std::vector<std::string> arguments = send;
        arguments.insert(arguments.end(), {option, value});
        return arguments;
    };
    check_ends(with("--multifd-channels", "0"), 2, "multifd-channels");
    check_ends(with("--multifd-channels", "256"), 2, "255");
    check_ends(with("--multifd-packet-size", "5000"), 2, "multiple of 4K");
    check_ends(with("--multifd-normal-page-ratio", "102"), 2, "100");
    check_ends(with("--zero-page-detection", "some"), 2, "none, legacy, multifd or dsa-accel");
}

TEST_CASE("a source that cannot be sent is refused by name", "[refusal]") {
    const TemporaryFolder folder(scratch_parent());
    write_file(folder / "odd.mem", std::string(5000, 'x'));
    write_file(folder / "empty.mem", "");
    const auto send = [](const std::string& source) {
        return std::vector<std::string>{"send", "--connect", "127.0.0.1:1", "--source", source};
    };
    for (const std::string& prefix : {std::string(), std::string("file:")}) {
        check_ends(send(prefix + (folder / "missing.mem")), 2, folder / "missing.mem");
        check_ends(send(prefix + (folder / "odd.mem")), 2, "4096");
        check_ends(send(prefix + (folder / "empty.mem")), 2, folder / "empty.mem");
        check_ends(send(prefix + folder.path()), 2, folder.path());
    }
    check_ends(send("anon:1000"), 2, "anon:1000");
    check_ends(send("anon:1M,fill=some"), 2, "fill: must be untouched");
}

TEST_CASE("a sink that cannot be written is refused by name before a sender comes", "[refusal]") {
    const TemporaryFolder folder(scratch_parent());
    const auto recv = [](const std::string& sink) {
        return std::vector<std::string>{"recv", "--listen", "127.0.0.1:0", "--sink", sink};
    };
    check_ends(recv("file:" + (folder / "missing/copy.mem")), 2, folder / "missing");
    check_ends(recv("file:" + folder.path()), 2, folder.path());
    check_ends(recv("tape:0"), 2, "tape");
}

TEST_CASE("a connection to a port without a listener fails with the address", "[refusal]") {
    std::string endpoint;
    {
        // A port that was free a moment ago.
        Receiver receiver({"--sink", "null:"});
        endpoint = receiver.endpoint();
    }
    check_ends({"send", "--connect", endpoint, "--source", "anon:1M"}, 1, endpoint);
    check_ends({"send", "--connect", endpoint, "--source", "anon:1M"}, 1, "refused");
}

TEST_CASE("a host name that does not exist is named", "[refusal]") {
    check_ends({"send", "--connect", "no-such-host.invalid:4444", "--source", "anon:1M"}, 1,
               "no-such-host.invalid");
    check_ends({"recv", "--listen", "no-such-host.invalid:0", "--sink", "null:"}, 1,
               "no-such-host.invalid");
}

TEST_CASE("a receiver without a sender gives up after its listen-timeout", "[refusal]") {
    Receiver receiver({"--sink", "null:", "--listen-timeout", "200ms"});
    CHECK(receiver->wait() == 1);
    CHECK_THAT(receiver->err(), Contains("listen-timeout"));
}

TEST_CASE("a digest of a sink that keeps nothing is refused by name, and the receiver lives on",
          "[refusal]") {
    Receiver receiver({"--sink", "null:"});
    Process sender(send_arguments(receiver, "anon:1M", {"--verify", "digest"}));
    const int sent = sender.wait();
    CHECK(sent == 3);
    CHECK_THAT(sender.err(), Contains("null:") && Contains("verif"));
    Process second(send_arguments(receiver, "anon:1M"));
    CHECK(second.wait() == 0);
    CHECK(receiver->wait() == 0);
}

TEST_CASE("a full disk fails both sides by name and leaves the old file", "[refusal]") {
    const TemporaryMount disk("tmpfs", "size=4m");
    if (!disk) {
        WARN("no file system can be mounted here; the case is not covered");
        return;
    }
    const std::string copy = disk.folder() / "copy.mem";
    write_file(copy, "old");
    const std::string compression = GENERATE(std::string("none"), std::string("lz4"));
    Receiver receiver({"--sink", "file:" + copy});
    Process sender(
        send_arguments(receiver, "anon:8M,fill=random", {"--multifd-compression", compression}));
    const int sent = sender.wait();
    const int received = receiver->wait();
    INFO("sender:\n" << sender.both() << "receiver:\n" << receiver->both());
    CHECK(sent == 1);
    CHECK(received == 1);
    CHECK_THAT(sender.err(), Contains("No space left on device"));
    CHECK_THAT(receiver->err(), Contains("No space left on device") && Contains(copy));
    CHECK(disk.folder().names() == std::vector<std::string>{"copy.mem"});
    CHECK(read_file(copy) == "old");
}

TEST_CASE("Ctrl-C or SIGTERM on either side cancels both and says why", "[refusal]") {
    const bool at_sender = GENERATE(true, false);
    const int number = GENERATE(SIGINT, SIGTERM);
    const std::string name = number == SIGINT ? "SIGINT" : "SIGTERM";
    SlowTransfer transfer;
    (at_sender ? transfer.sender() : transfer.receiver()).signal(number);
    const int sent = transfer.sender().wait();
    const int received = transfer.receiver().wait();
    INFO(name << (at_sender ? " at the sender" : " at the receiver") << "\nsender:\n"
              << transfer.sender().both() << "receiver:\n"
              << transfer.receiver().both());
    CHECK(sent == 4);
    CHECK(received == 4);
    CHECK_THAT(transfer.sender().err(), Contains("migrate: cancelled:") && Contains(name));
    CHECK_THAT(transfer.receiver().err(), Contains("migrate: cancelled:") && Contains(name));
    for (const std::string& side : {std::string("send"), std::string("recv")}) {
        CHECK(transfer.stats(side).at("status") == "cancelled");
        CHECK_THAT(transfer.stats(side).at("error-desc").get<std::string>(), Contains(name));
    }
    transfer.check_old_file_alone();
}

TEST_CASE("no output overwrites what is no file of its own, or a file that another option names",
          "[refusal]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string image = folder / "guest.mem";
    write_file(image, std::string(4096, 'g'));
    std::filesystem::create_symlink("guest.mem", folder / "link");
    std::filesystem::create_hard_link(image, folder / "hard");
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    const std::vector<std::string> send{"send", "--connect", "127.0.0.1:1", "--source",
                                        "file:" + image};
    const std::vector<std::string> recv{"recv", "--listen", "127.0.0.1:0"};
    const auto with = [](std::vector<std::string> line, const std::vector<std::string>& more) {
        line.insert(line.end(), more.begin(), more.end());
        return line;
    };
    for (const std::string& path : {folder / "link", folder / "hard", folder / "fifo", image,
                                    std::string("/dev/null"), std::string("/dev/stdout")}) {
        for (const std::string option : {"--stats", "--events"}) {
            check_ends(with(send, {option, path}), 2, option);
        }
        if (path == image) continue;
        for (const std::string option : {"--stats", "--events", "--port-file"}) {
            check_ends(with(recv, {"--sink", "null:", option, path}), 2, option + ": " + path);
        }
        check_ends(with(recv, {"--sink", "file:" + path}), 2, "--sink: " + path);
    }
    const std::string both = folder / "both";
    check_ends(with(recv, {"--sink", "null:", "--stats", both, "--events", both}), 2,
               "are the same file");
    check_ends(with(recv, {"--sink", both, "--port-file", both}), 2, "are the same file");
    check_ends(with(recv, {"--sink", both, "--qmp", "unix:" + both}), 2, "are the same file");
    CHECK(read_file(image) == std::string(4096, 'g'));
    CHECK(std::filesystem::is_fifo(folder / "fifo"));
    CHECK_FALSE(std::filesystem::exists(both));
}

TEST_CASE("a signal ends a receiver that waits for its sender", "[refusal]") {
    const EventsFile events;
    Receiver receiver({"--sink", "null:", "--events", events.path()});
    REQUIRE(events.await("setup"));
    receiver->signal(SIGINT);
    CHECK(receiver->wait() == 4);
    CHECK_THAT(receiver->err(), Contains("cancelled: SIGINT"));
}

TEST_CASE("a side that is killed fails the other, and the old file stays", "[refusal]") {
    const bool at_sender = GENERATE(true, false);
    SlowTransfer transfer;
    Process& killed = at_sender ? transfer.sender() : transfer.receiver();
    Process& other = at_sender ? transfer.receiver() : transfer.sender();
    killed.signal(SIGKILL);
    CHECK(killed.wait() == 128 + SIGKILL);
    const int code = other.wait();
    INFO(other.both());
    CHECK(code == 1);
    CHECK_THAT(other.err(), Contains("migrate: error:"));
    CHECK(transfer.stats(at_sender ? "recv" : "send").at("status") == "failed");
    transfer.check_old_file_alone();
}

TEST_CASE("a side that is stopped is given up after the other's io-timeout", "[refusal]") {
    const bool at_sender = GENERATE(true, false);
    SlowTransfer transfer({"--io-timeout", "1s"});
    Process& stopped = at_sender ? transfer.sender() : transfer.receiver();
    Process& other = at_sender ? transfer.receiver() : transfer.sender();
    stopped.signal(SIGSTOP);
    const int code = other.wait();
    INFO(other.both());
    CHECK(code == 1);
    CHECK_THAT(other.err(), Contains("io-timeout"));
    stopped.signal(SIGKILL);
    CHECK(stopped.wait() == 128 + SIGKILL);
    transfer.check_old_file_alone();
}

}  // namespace migrate::e2e
