// SPDX-License-Identifier: Apache-2.0
#include "cli/guest_run.hpp"

#include <chrono>
#include <optional>

namespace migrate::cli {
Status run_guest_on(guest::Guest& guest, const Settings& settings, const Signals& signals,
                    const Console& console, engine::Report& report) {
    const std::uint64_t run_for = settings.get<"run-for">();
    std::optional<std::chrono::milliseconds> time;
    if (run_for != kRunForever) {
        time = std::chrono::milliseconds(run_for);
    } else {
        console.say("the guest runs on here until SIGINT or SIGTERM\n");
    }
    const guest::Activity before = guest.activity();
    MIGRATE_ASSIGN(const bool interrupted, signals.came_within(time));
    if (interrupted) console.warn(fmt::format("{}: the guest ends here", signals.received()));
    MIGRATE_TRY(guest.pause());
    const guest::Activity after = guest.activity();
    Status checked = guest.check();

    engine::GuestReport& figures = *report.guest;
    figures.rate_after = bytes_per_second(before, after);
    figures.longest_gap = after.longest_gap;
    figures.check = checked ? "passed" : checked.error().message();
    console.say(fmt::format(
        "guest: ran on for {} ms, wrote {:.1f} MiB/s, longest gap {} us, memory check: {}\n",
        (after.run_time - before.run_time).count() / 1000,
        figures.rate_after / static_cast<double>(kMiB), figures.longest_gap.count(),
        figures.check));
    return checked;
}

}  // namespace migrate::cli
