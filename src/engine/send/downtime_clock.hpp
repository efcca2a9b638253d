// SPDX-License-Identifier: Apache-2.0
// Measures the downtime and divides it by cause: one clock, and a lap for each part. Invariant: the
// parts of the closed report add up to its total.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "engine/report/report.hpp"

namespace migrate::engine {

class DowntimeClock {
  public:
    using Clock = std::chrono::steady_clock;
    using Part = Microseconds DowntimeReport::*;

    // The downtime begins now.
    DowntimeClock() : began_(Clock::now()), lap_(began_) {}

    Clock::time_point began() const { return began_; }
    // The time since the downtime began.
    Microseconds elapsed() const {
        return std::chrono::duration_cast<Microseconds>(Clock::now() - began_);
    }
    // The time since the last lap belongs to `part`; returns it.
    Microseconds lap(Part part) { return lap(part, Clock::now()); }
    // The time from the last lap to `moment`. A moment before the last lap counts as 0.
    Microseconds lap(Part part, Clock::time_point moment) {
        const Microseconds time =
            std::chrono::duration_cast<Microseconds>(std::max(moment, lap_) - lap_);
        parts_.*part += time;
        lap_ = std::max(moment, lap_);
        return time;
    }
    // The time since the last lap belongs to no part; it counts as wire.
    void skip() { lap_ = Clock::now(); }
    // Time of `part` that the other side has measured.
    void add(Part part, Microseconds time) { parts_.*part += time; }

    // The downtime took `total`, as far as this clock allows, or it ends now. What no part covers
    // is wire.
    DowntimeReport close(std::optional<Microseconds> total = {}) const {
        DowntimeReport report = parts_;
        report.total = elapsed();
        Microseconds covered{};  // wire is not known yet
        for (const DowntimePart& part : kDowntimeParts) covered += report.*part.time;
        report.wire = std::max(Microseconds(0), report.total - covered);
        const Microseconds after =
            report.total - std::min(total.value_or(report.total), report.total);
        const Microseconds transit = std::min(after, report.wire);
        report.wire -= transit;
        report.total -= transit;
        return report;
    }

  private:
    Clock::time_point began_;
    Clock::time_point lap_;
    DowntimeReport parts_;
};

}  // namespace migrate::engine
