// SPDX-License-Identifier: Apache-2.0
// The figures that the sessions of both sides publish, a part of SendFigures and RecvFigures.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/outcome.hpp"

namespace migrate::engine {

struct SessionFigures {
    // Points in time; the epoch stands for "not yet".
    std::chrono::steady_clock::time_point started;
    std::chrono::steady_clock::time_point active;
    std::chrono::steady_clock::time_point ended;
    // Wall-clock times of `started` and `ended`.
    std::chrono::system_clock::time_point started_at;
    std::chrono::system_clock::time_point ended_at;
    // See Report::session_id.
    std::string session_id;
    std::string error_desc;
    std::optional<Outcome> outcome;  // set once the session has ended
};

}  // namespace migrate::engine
