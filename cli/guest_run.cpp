#include "cli/guest_run.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>

namespace migrate::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Until `time` has passed, or a signal came.
Status wait(std::uint64_t time_ms, const Signals& signals) {
    const bool forever = time_ms == kRunForever;
    const Clock::time_point end = Clock::now() + milliseconds(forever ? 0 : time_ms);
    while (true) {
        const auto left = std::chrono::ceil<milliseconds>(end - Clock::now()).count();
        if (!forever && left <= 0) return {};
        pollfd polled{signals.fd(), POLLIN, 0};
        const int timeout = forever ? -1 : static_cast<int>(std::min<std::int64_t>(left, INT_MAX));
        const int ready = ::poll(&polled, 1, timeout);
        if (ready < 0 && errno != EINTR) return Error::system("wait for the guest", errno);
        if (ready > 0) {
            fmt::print(stderr, "migrate: {}: the guest ends here\n", signals.take());
            return {};
        }
    }
}

}  // namespace

Status run_guest_on(guest::Guest& guest, const Settings& settings, const Signals& signals,
                    engine::Report& report) {
    const std::uint64_t run_for = settings.get<"run-for">();
    if (run_for == kRunForever) {
        fmt::print("the guest runs on here until SIGINT or SIGTERM\n");
        std::fflush(stdout);
    }
    const guest::Activity before = guest.activity();
    MIGRATE_TRY(wait(run_for, signals));
    MIGRATE_TRY(guest.pause());
    const guest::Activity after = guest.activity();
    Status checked = guest.check();

    engine::GuestReport& figures = *report.guest;
    const auto time = static_cast<double>((after.run_time - before.run_time).count());
    if (time > 0) {
        figures.rate_after =
            static_cast<double>(after.bytes_written - before.bytes_written) * 1e6 / time;
    }
    figures.longest_gap = after.longest_gap;
    figures.check = checked ? "passed" : checked.error().message();
    fmt::print("guest: ran on for {} ms, wrote {:.1f} MiB/s, longest gap {} us, memory check: {}\n",
               (after.run_time - before.run_time).count() / 1000,
               figures.rate_after / static_cast<double>(kMiB), figures.longest_gap.count(),
               figures.check);
    std::fflush(stdout);
    return checked;
}

}  // namespace migrate::cli
