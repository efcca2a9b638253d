// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include <spdlog/sinks/sink.h>
#include <spdlog/spdlog.h>

#include <atomic>

#include "base/output.hpp"

namespace migrate::log {
namespace {

std::atomic<Level> current_level{Level::kInfo};
std::atomic<Writer> other_writer{nullptr};

spdlog::level::level_enum spdlog_level(Level level) {
    switch (level) {
        case Level::kDebug:
            return spdlog::level::debug;
        case Level::kInfo:
            return spdlog::level::info;
        case Level::kWarning:
            return spdlog::level::warn;
        case Level::kError:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

// Hands each message over to the thread that writes standard error. It has no state, and so no lock
// that a fork() could leave locked.
class OutputSink final : public spdlog::sinks::sink {
  public:
    void log(const spdlog::details::log_msg& message) override {
        const spdlog::string_view_t level = spdlog::level::to_string_view(message.level);
        output::to_stderr(
            fmt::format("migrate: {}: {}\n", std::string_view(level.data(), level.size()),
                        std::string_view(message.payload.data(), message.payload.size())),
            message.level >= spdlog::level::err ? Importance::kImportant : Importance::kOrdinary);
    }
    void flush() override {}
    void set_pattern(const std::string&) override {}
    void set_formatter(std::unique_ptr<spdlog::formatter>) override {}
};

spdlog::logger& logger() {
    static spdlog::logger& instance = []() -> spdlog::logger& {
        // Never destroyed: other threads may still log while the program ends.
        auto* made = new spdlog::logger("migrate", std::make_shared<OutputSink>());
        made->set_level(spdlog::level::trace);
        return *made;
    }();
    return instance;
}

}  // namespace

void set_level(Level level) {
    // Created now, so that no other thread's fork() can interrupt the creation half-way.
    static_cast<void>(logger());
    current_level.store(level, std::memory_order_relaxed);
}

bool enabled(Level level) { return level >= current_level.load(std::memory_order_relaxed); }

void set_writer(Writer writer) { other_writer.store(writer); }

void write(Level level, std::string_view message) {
    if (const Writer writer = other_writer.load()) return writer(level, message);
    logger().log(spdlog_level(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace migrate::log
