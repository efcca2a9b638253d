// SPDX-License-Identifier: Apache-2.0
// The tables of the objects in the statistics, from which the JSON and its schema are made.
#pragma once

#include "engine/report/json_members.hpp"
#include "engine/report/report.hpp"
#include "engine/send/channel_limit.hpp"

namespace migrate::engine {

// Parts of a report whose members depend on the rest of it.
struct RamView {
    const Report& of;
};
struct OutagesView {
    const Report& of;
};
struct PathView {
    const Report& of;
    const PathReport& path;
};
struct DeviceView {
    const Report& of;
    const DeviceReport& device;
};

#define MIGRATE_MEMBERS(Owner)              \
    template <>                             \
    struct MembersOf<Owner> {               \
        static const Members<Owner>& all(); \
    }
MIGRATE_MEMBERS(Report);
MIGRATE_MEMBERS(RamView);
MIGRATE_MEMBERS(OutagesView);
MIGRATE_MEMBERS(PathView);
MIGRATE_MEMBERS(PostcopyReport);
MIGRATE_MEMBERS(DeviceView);
MIGRATE_MEMBERS(RoundReport);
MIGRATE_MEMBERS(RoundTotals);
MIGRATE_MEMBERS(DowntimeReport);
MIGRATE_MEMBERS(GuestReport);
MIGRATE_MEMBERS(ChannelReport);
MIGRATE_MEMBERS(MultifdReport);
MIGRATE_MEMBERS(ZeroCopyReport);
MIGRATE_MEMBERS(ChecksumReport);
MIGRATE_MEMBERS(ReuseReport);
MIGRATE_MEMBERS(ThreadTime);
MIGRATE_MEMBERS(CpuReport);
MIGRATE_MEMBERS(transport::SecurityInfo);
MIGRATE_MEMBERS(accel::AccelCounts);
MIGRATE_MEMBERS(accel::AccelShareReport);
MIGRATE_MEMBERS(accel::AccelQueueReport);
MIGRATE_MEMBERS(accel::AccelReport);
#undef MIGRATE_MEMBERS

}  // namespace migrate::engine
