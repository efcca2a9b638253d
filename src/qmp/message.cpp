// SPDX-License-Identifier: Apache-2.0
#include "qmp/message.hpp"

#include <chrono>

namespace migrate::qmp {

std::string to_line(const Json& message) {
    return message.dump(-1, ' ', true, Json::error_handler_t::replace) + '\n';
}

Json make_event(std::string_view event, const Json& data) {
    using std::chrono::microseconds;
    const auto now = std::chrono::duration_cast<microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
    return {{"event", event},
            {"data", data},
            {"timestamp", {{"seconds", now / 1'000'000}, {"microseconds", now % 1'000'000}}}};
}

Json make_error_answer(std::string_view error_class, std::string_view desc) {
    return {{"error", {{"class", error_class}, {"desc", desc}}}};
}

}  // namespace migrate::qmp
