// SPDX-License-Identifier: Apache-2.0
// Prometheus metrics of a migration that runs: what a scrape gets, what the file has, and that
// neither can harm the migration.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/http.hpp"
#include "e2e/live_run.hpp"
#include "e2e/test_image.hpp"
#include "tests/support/loopback.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

// Long enough to be scraped in several rounds.
const std::string kGuest = "workload:16M,rate=6,warm-up=0";
const std::vector<std::string> kSlow{"--max-bandwidth", "8M/s", "--downtime-limit", "300ms"};

std::vector<std::string> operator+(std::vector<std::string> one,
                                   const std::vector<std::string>& other) {
    one.insert(one.end(), other.begin(), other.end());
    return one;
}

// The port that the process serves its metrics on; 0 if it ends before.
std::uint16_t metrics_port(Process& process) {
    const std::string before = "metrics on http://127.0.0.1:";
    if (!process.await_text("/metrics\n")) return 0;
    const std::string text = process.both();
    return static_cast<std::uint16_t>(std::stoi(text.substr(text.find(before) + before.size())));
}

// The values of a text of metrics, by name and labels.
std::map<std::string, double> values_of(const std::string& text) {
    std::map<std::string, double> values;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.empty() || line.front() == '#') continue;
        const std::size_t space = line.rfind(' ');
        values[line.substr(0, space)] = std::stod(line.substr(space + 1));
    }
    return values;
}

void add_names(const std::string& text, std::set<std::string>& names) {
    for (const auto& [key, value] : values_of(text)) names.insert(key.substr(0, key.find('{')));
}

// The expressions of the Grafana dashboard, with a number in place of Grafana's own variables.
std::vector<std::string> dashboard_queries() {
    std::ifstream file(std::string(MIGRATE_SOURCE_DIR) + "/configs/grafana/migrate.json");
    std::vector<std::string> queries;
    const json dashboard = json::parse(file);
    for (const json& panel : dashboard.at("panels")) {
        for (const json& target : panel.at("targets")) {
            const auto query = target.at("expr").get<std::string>();
            queries.push_back(std::regex_replace(query, std::regex("\\$__rate_interval"), "1m"));
        }
    }
    return queries;
}

std::set<std::string> names_in(const std::vector<std::string>& queries) {
    std::set<std::string> names;
    const std::regex name("migrate_[a-z_]+");
    for (const std::string& query : queries) {
        for (std::sregex_iterator at(query.begin(), query.end(), name), end; at != end; ++at) {
            names.insert(at->str());
        }
    }
    return names;
}

// Prometheus' own checker: MIGRATE_TEST_PROMTOOL, the installed one, or the one that
// scripts/fetch-test-systems has unpacked; nothing if there is none.
std::optional<std::string> promtool() {
    const auto variable = [](const char* name) -> std::string {
        const char* value = std::getenv(name);
        return value == nullptr ? "" : value;
    };
    std::vector<std::string> candidates{variable("MIGRATE_TEST_PROMTOOL")};
    std::istringstream path(variable("PATH"));
    for (std::string folder; std::getline(path, folder, ':');) {
        candidates.push_back(folder + "/promtool");
    }
    std::string cache = variable("XDG_CACHE_HOME");
    if (cache.empty()) cache = variable("HOME") + "/.cache";
    candidates.push_back(cache + "/migrate/test-systems/promtool/promtool");
    for (const std::string& candidate : candidates) {
        std::error_code ignored;
        if (std::filesystem::is_regular_file(candidate, ignored)) return candidate;
    }
    return std::nullopt;
}

void check_with_promtool(const TemporaryFolder& folder, const std::vector<std::string>& texts) {
    const auto tool = promtool();
    if (!tool) {
        WARN("skipped, no promtool: scripts/fetch-test-systems promtool unpacks one");
        return;
    }
    for (const std::string& text : texts) {
        write_file(folder / "checked.prom", text);
        Process check("/bin/sh",
                      {"-c", "exec \"$0\" check metrics <\"$1\"", *tool, folder / "checked.prom"});
        CHECK(check.wait() == 0);
        CHECK(check.both().empty());
    }
    std::string rules = "groups:\n- name: dashboard\n  rules:\n";
    for (const std::string& query : dashboard_queries()) {
        rules += "  - record: one:query\n    expr: '" + query + "'\n    labels: {n: '" +
                 std::to_string(rules.size()) + "'}\n";
    }
    write_file(folder / "rules.yml", rules);
    Process check(*tool, {"check", "rules", folder / "rules.yml"});
    CHECK(check.wait() == 0);
    INFO(check.both());
    CHECK_THAT(check.both(), Contains("SUCCESS"));
}

// The metrics that both sides served.
struct Scrapes {
    std::set<std::string> names;
    std::vector<std::string> texts;  // the longest one of each side
};

// Scrapes both sides until the sender ends.
Scrapes scrape_to_the_end(LiveRun& run) {
    const std::vector<std::uint16_t> ports{metrics_port(run.sender),
                                           metrics_port(run.receiver.process())};
    Scrapes scrapes{{}, std::vector<std::string>(ports.size())};
    run.sender.await([&] {
        for (std::size_t side = 0; side < ports.size(); ++side) {
            std::string text = scrape(ports[side]);
            add_names(text, scrapes.names);
            std::string& longest = scrapes.texts[side];
            if (text.size() > longest.size()) longest = std::move(text);
        }
        return false;
    });
    return scrapes;
}

TEST_CASE("a migration serves every metric that the dashboard asks for", "[live][metrics]") {
    const TemporaryFolder folder(scratch_parent());
    LiveRun run(folder, kGuest,
                kSlow + std::vector<std::string>{"--metrics", "127.0.0.1:0", "--metrics-file",
                                                 folder / "send.prom", "--guest-name", "web1"},
                {"--sink", "anon:", "--metrics", "127.0.0.1:0", "--metrics-file",
                 folder / "recv.prom", "--guest-name", "web1"});
    const std::set<std::string> wanted = names_in(dashboard_queries());
    CHECK(wanted.size() > 20);
    auto [served, texts] = scrape_to_the_end(run);
    check_arrived(run);
    for (const char* side : {"send", "recv"}) {
        texts.push_back(read_file(folder / (std::string(side) + ".prom")));
        add_names(texts.back(), served);
        const auto values = values_of(texts.back());
        const json stats = read_stats(folder / (std::string(side) + ".json"));
        const std::string labels = std::string("{side=\"") + side + "\",guest=\"web1\"";
        CHECK(values.at("migrate_ram_transferred_bytes_total" + labels + "}") ==
              stats.at("ram").at("transferred").get<double>());
        CHECK(values.at("migrate_ram_pages" + labels + ",kind=\"duplicate\"}") ==
              stats.at("ram").at("duplicate").get<double>());
        CHECK(values.at("migrate_downtime_seconds" + labels + "}") ==
              Approx(stats.at("downtime-us").get<double>() / 1e6));
        CHECK(values.at("migrate_status" + labels + ",status=\"completed\"}") == 1);
        CHECK(values.at("migrate_outcome" + labels + ",outcome=\"completed\"}") == 1);
        CHECK(values.at("migrate_guest_owner" + labels + ",owner=\"destination\"}") == 1);
    }
    for (const std::string& name : wanted) {
        INFO(name);
        CHECK(served.count(name) == 1);
    }
    check_with_promtool(folder, texts);
}

TEST_CASE("an address that the metrics cannot have is wrong usage on both sides", "[metrics]") {
    const UniqueFd taken = loopback_socket(0, true);
    const std::string address = "127.0.0.1:" + std::to_string(port_of(taken.get()));
    const auto commands = std::vector<std::vector<std::string>>{
        {"send", "--connect", "127.0.0.1:1", "--source", "anon:1M"},
        {"recv", "--listen", "127.0.0.1:0", "--sink", "null:"}};
    for (const auto& command : commands) {
        Process refused(command + std::vector<std::string>{"--metrics", address});
        CHECK(refused.wait() == 2);
        CHECK_THAT(refused.err(), Contains("--metrics " + address + ": cannot listen there") &&
                                      Contains("Address already in use"));
        Process stranger(command + std::vector<std::string>{"--metrics", "192.0.2.1:9100"});
        CHECK(stranger.wait() == 2);
        CHECK_THAT(stranger.err(), Contains("--metrics 192.0.2.1:9100: cannot listen there"));
    }
}

TEST_CASE("clients that send nothing, and requests that are none, leave the migration alone",
          "[live][metrics]") {
    const TemporaryFolder folder;
    LiveRun run(folder, kGuest, kSlow + std::vector<std::string>{"--metrics", "127.0.0.1:0"},
                {"--sink", "anon:", "--metrics", "127.0.0.1:0"});
    std::vector<UniqueFd> silent;
    for (Process* process : {&run.sender, &run.receiver.process()}) {
        const std::uint16_t port = metrics_port(*process);
        REQUIRE(port != 0);
        CHECK(http_exchange(port, "GET /../../etc/passwd HTTP/1.1\r\n\r\n").find("root:") ==
              std::string::npos);
        CHECK(http_exchange(port, "\x16\x03\x01\r\n\r\n").find("200") == std::string::npos);
        // More than the server has threads and room in its queue.
        for (int i = 0; i < 40; ++i) {
            UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            connect_to_loopback(fd.get(), port);
            silent.push_back(std::move(fd));
        }
    }
    check_arrived(run);
}

TEST_CASE("a metrics file that cannot be written any more does not end a migration", "[metrics]") {
    const TemporaryFolder folder;
    const std::string inner = folder / "inner";
    std::filesystem::create_directory(inner);
    LiveRun run(folder, kGuest,
                kSlow + std::vector<std::string>{"--metrics-file", inner + "/send.prom"});
    REQUIRE(run.sender.await([&] { return std::filesystem::exists(inner + "/send.prom"); }));
    std::filesystem::rename(inner, folder / "moved");
    check_arrived(run);
    CHECK_THAT(run.sender.err(), Contains("cannot write the metrics file") &&
                                     Contains("the migration does not depend on it"));
}

TEST_CASE("the metrics file of a run that fails says so", "[metrics]") {
    const TemporaryFolder folder;
    write_file(folder / "send.prom", "old");
    Process sender({"send", "--connect", "127.0.0.1:1", "--connect-timeout", "100ms", "--source",
                    "anon:1M", "--metrics-file", folder / "send.prom"});
    CHECK(sender.wait() == 1);
    const auto values = values_of(read_file(folder / "send.prom"));
    CHECK(values.at("migrate_status{side=\"send\",guest=\"\",status=\"failed\"}") == 1);
    CHECK(values.at("migrate_outcome{side=\"send\",guest=\"\",outcome=\"failed\"}") == 1);
}

}  // namespace
}  // namespace migrate::e2e
