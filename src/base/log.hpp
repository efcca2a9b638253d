// Messages for the operator, on standard error, with levels. spdlog stays behind log.cpp.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace migrate::log {

enum class Level { kDebug, kInfo, kWarning, kError };

void set_level(Level level);
bool enabled(Level level);
void write(Level level, std::string_view message);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(Level::kDebug))
        write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(Level::kInfo))
        write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(Level::kWarning)) {
        write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
    }
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(Level::kError))
        write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace migrate::log
