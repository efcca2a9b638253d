#include "cli/output_file.hpp"

#include <utility>

namespace migrate::cli {
namespace {

std::string name_of(std::string_view what, const std::string& path) {
    return fmt::format("the {} file {}", what, path);
}

Error wrong_usage(Error error, std::string_view name) {
    return std::move(error).with_context(name).as(ErrorKind::kUsage);
}

}  // namespace

Result<OutputFile> OutputFile::open(std::string_view what, const std::string& path) {
    OutputFile output(name_of(what, path));
    if (path.empty()) return output;
    Result<ReplacementFile> file = ReplacementFile::create(path);
    if (!file) return wrong_usage(std::move(file).error(), output.name_);
    Result<UniqueFd> temporary = file->open_temporary();
    if (!temporary) return wrong_usage(std::move(temporary).error(), output.name_);
    output.file_.emplace(*std::move(file));
    output.fd_ = *std::move(temporary);
    return output;
}

Status OutputFile::write(std::string_view text) {
    if (!file_) return {};
    MIGRATE_TRY(write_all(fd_.get(), text, name_));
    return file_->publish(fd_.get());
}

Status make_empty_file(std::string_view what, const std::string& path) {
    MIGRATE_ASSIGN(OutputFile file, OutputFile::open(what, path));
    return file.write("");
}

}  // namespace migrate::cli
