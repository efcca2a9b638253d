// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of the command line: parsing a list of words, and a file that goes away with
// its owner.
#pragma once

#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "cli/command_line.hpp"

namespace migrate::cli::test {

inline Result<CommandLine> parse(std::initializer_list<const char*> words) {
    return parse_command_line(std::span<const char* const>(words.begin(), words.size()));
}

// The message of a command line that must be refused.
inline std::string refusal(std::initializer_list<const char*> words) {
    const auto parsed = parse(words);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().kind() == ErrorKind::kUsage);
    return parsed.error().message();
}

inline bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

// A new file with the given content.
class TemporaryFile {
  public:
    explicit TemporaryFile(std::string_view content) {
        std::string path = std::filesystem::temp_directory_path() / "migrate-test-XXXXXX";
        const int fd = ::mkstemp(path.data());
        REQUIRE(fd >= 0);
        ::close(fd);
        path_ = std::move(path);
        std::ofstream(path_, std::ios::binary) << content;
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    TemporaryFile(TemporaryFile&&) = delete;
    TemporaryFile& operator=(TemporaryFile&&) = delete;
    ~TemporaryFile() { std::remove(path_.c_str()); }

    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

struct ShellResult {
    int exit_code = -1;
    std::string output;  // standard output
};

inline ShellResult run_shell(const std::string& command) {
    ShellResult result;
    FILE* pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::array<char, 4096> buffer{};
    while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
        result.output.append(buffer.data(), count);
    }
    const int status = ::pclose(pipe);
    if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
    return result;
}

inline bool has_program(const std::string& name) {
    return run_shell("command -v " + name + " >/dev/null").exit_code == 0;
}

}  // namespace migrate::cli::test
