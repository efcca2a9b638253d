// SPDX-License-Identifier: Apache-2.0
#include "cli/output_file.hpp"

#include <unistd.h>

#include <cerrno>

#include "base/replacement_file.hpp"

namespace migrate::cli {
namespace {

std::string name_of_file(std::string_view what, const std::string& path) {
    return fmt::format("the {} file {}", what, path);
}

}  // namespace

OutputFile OutputFile::unopened(std::string_view what, const std::string& path) {
    return {name_of_file(what, path), path};
}

Result<OutputFile> OutputFile::open(std::string_view what, const std::string& path,
                                    std::string_view first) {
    if (path.empty()) return OutputFile();
    OutputFile file = unopened(what, path);
    Status status = file.write(first);
    if (status) return file;
    // For example, the disk is full. What an earlier run left must not look like this one's result.
    static_cast<void>(remove_old_file(what, path));
    return std::move(status).error().as(ErrorKind::kUsage);
}

Status OutputFile::write(std::string_view text) const {
    if (path_.empty()) return {};
    Status status = write_whole_file(path_, text);
    if (!status) return std::move(status).error().with_context("cannot write " + name_);
    return {};
}

Status remove_old_file(std::string_view what, const std::string& path) {
    if (path.empty()) return {};
    const std::string name = name_of_file(what, path);
    Status replaceable = check_replaceable(path);
    if (!replaceable) return std::move(replaceable).error().with_context(name);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return Error::system("remove " + name, errno).as(ErrorKind::kUsage);
    }
    return {};
}

}  // namespace migrate::cli
