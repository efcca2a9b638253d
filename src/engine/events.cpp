#include "engine/events.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/log.hpp"

namespace migrate::engine {

Result<std::unique_ptr<EventLog>> EventLog::open(const std::string& path) {
    auto log = std::make_unique<EventLog>();
    log->path_ = path;
    log->file_ = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!log->file_) {
        return Error::system(fmt::format("open the events file {}", path), errno)
            .as(ErrorKind::kUsage);
    }
    return log;
}

void EventLog::emit(std::string_view event, std::initializer_list<EventField> data) {
    const std::scoped_lock lock(mutex_);
    if (!file_ && !listener_) return;
    nlohmann::ordered_json fields = nlohmann::ordered_json::object();
    for (const auto& [key, value] : data) {
        std::visit([&, name = std::string(key)](const auto& held) { fields[name] = held; }, value);
    }
    if (listener_) {
        listener_(event,
                  fields.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    }
    if (!file_) return;
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
    const nlohmann::ordered_json line = {
        {"event", std::string(event)},
        {"data", std::move(fields)},
        {"timestamp", {{"seconds", now / 1'000'000}, {"microseconds", now % 1'000'000}}}};
    const std::string text =
        line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
    // One write a line: a reader that follows the file never sees half of one.
    if (::write(file_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        log::warning("the events file {} cannot be written any more and ends here", path_);
        file_.reset();
    }
}

}  // namespace migrate::engine
