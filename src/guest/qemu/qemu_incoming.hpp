// A QEMU that waits for a guest. Invariants: the guest that was loaded does not run before
// resume(); one that was loaded and never ran is ended with its QEMU, so that there is no second
// copy of a guest that runs on elsewhere.
#pragma once

#include <string_view>

#include "base/error.hpp"
#include "guest/guest.hpp"

namespace migrate::guest {

// "SOCKET[,pid=PID]" as in qemu_guest.hpp, of a QEMU that was started with -incoming defer and the
// sender's machine and memory backends. What its memory held is gone once a sender came.
Result<Destination> open_qemu_destination(std::string_view uri, std::string_view words);

}  // namespace migrate::guest
