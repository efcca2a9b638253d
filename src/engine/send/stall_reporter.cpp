// SPDX-License-Identifier: Apache-2.0
#include "engine/send/stall_reporter.hpp"

namespace migrate::engine {

bool StallReporter::due(bool stalled, Microseconds elapsed) {
    if (!stalled) {
        if (!ended_) ended_ = elapsed;
        return false;
    }
    if (ended_ && elapsed - *ended_ >= kForgotten) interval_ = {};
    ended_.reset();
    if (interval_.count() != 0 && elapsed < next_) return false;
    interval_ = interval_.count() == 0 ? kFirstInterval : 2 * interval_;
    next_ = elapsed + interval_;
    return true;
}

}  // namespace migrate::engine
