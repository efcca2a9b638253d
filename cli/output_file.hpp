// A file a user asked for, opened before the work begins, so that a path that cannot be written is
// an error then.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::cli {

class OutputFile {
  public:
    // `what` names the option, for errors: "stats". An empty path gives a file that writes nowhere.
    // kUsage if it cannot be opened.
    static Result<OutputFile> open(std::string_view what, const std::string& path);

    // Replaces the file's content.
    Status write(std::string_view text);

  private:
    OutputFile(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

    UniqueFd fd_;
    std::string name_;
};

// Writes a whole small file so that a reader sees all of it or nothing: a temporary file that is
// renamed.
Status write_file_at_once(const std::string& path, std::string_view text);

}  // namespace migrate::cli
