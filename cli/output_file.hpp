// A file that a user asked for. Its folder is tried before the work begins, so that a file that
// cannot be written is an error then. Invariant: what was under the name before is never written
// to: the new file takes its place in one step.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/replacement_file.hpp"

namespace migrate::cli {

class OutputFile {
  public:
    // `what` names the option, for errors: "stats". An empty path gives a file that writes nowhere.
    // kUsage if it cannot be created.
    static Result<OutputFile> open(std::string_view what, const std::string& path);

    // Replaces the file by one with this content. Once.
    Status write(std::string_view text);

  private:
    explicit OutputFile(std::string name) : name_(std::move(name)) {}

    std::string name_;
    std::optional<ReplacementFile> file_;
    UniqueFd fd_;  // of the new file
};

// Puts an empty file in the place of what bears the name. kUsage if that cannot be done.
Status make_empty_file(std::string_view what, const std::string& path);

}  // namespace migrate::cli
