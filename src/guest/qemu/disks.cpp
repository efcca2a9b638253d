// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/disks.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/log.hpp"
#include "guest/qemu/answer_fields.hpp"

namespace migrate::guest {
namespace {

using qmp::Json;

// QEMU's name for a temporary file (create_tmp_file()) is "vl." and six characters, in $TMPDIR or
// /var/tmp.
constexpr std::string_view kTemporary = "/vl.";
constexpr std::size_t kRandomCharacters = 6;
constexpr std::string_view kFilename = "\"filename\": \"";

// The path that begins with `file`, or the first one in QEMU's description of a node ("json:{…}")
// that `wanted` accepts; empty if there is none.
template <typename Wanted>
std::string find_path(std::string_view file, const Wanted& wanted) {
    if (file.starts_with('/')) return wanted(file) ? std::string(file) : std::string();
    for (std::size_t at = file.find(kFilename); at != file.npos; at = file.find(kFilename, at)) {
        at += kFilename.size();
        const std::string_view path =
            file.substr(at, std::min(file.find('"', at), file.size()) - at);
        if (path.starts_with('/') && wanted(path)) return std::string(path);
    }
    return {};
}

bool is_temporary(std::string_view path) {
    const std::size_t name = path.rfind('/');
    return name != path.npos && path.substr(name).starts_with(kTemporary) &&
           path.size() - name == kTemporary.size() + kRandomCharacters;
}

}  // namespace

Disks parse_disks(const Json& answer) {
    Disks disks;
    for (const Json& entry : answer) {
        const auto inserted = entry.is_object() ? entry.find("inserted") : entry.end();
        if (!entry.is_object() || inserted == entry.end() || flag_of(*inserted, "ro")) continue;
        std::string name = text_of(entry, "device");
        if (name.empty()) name = text_of(*inserted, "node-name");
        const std::string file = text_of(*inserted, "file");
        if (std::string path = find_path(file, is_temporary); !path.empty()) {
            disks.temporary.push_back({std::move(name), std::move(path)});
        } else if (path = find_path(file, [](std::string_view) { return true; }); !path.empty()) {
            disks.files.push_back({std::move(name), std::move(path)});
        }
    }
    return disks;
}

Status report_disks(Monitor& monitor) {
    MIGRATE_ASSIGN(const Json answer, monitor.ask("query-block"));
    const Disks disks = parse_disks(answer);
    for (const Disks::Disk& disk : disks.temporary) {
        log::warning(
            "the disk '{0}' is a snapshot (-snapshot): what the guest has written to it is in the "
            "temporary file {1} of this host and stays behind; the monitor's command 'commit {0}' "
            "writes it into the image first",
            disk.name, disk.file);
    }
    for (const Disks::Disk& disk : disks.files) {
        log::info(
            "disks are not copied: the destination's QEMU must have the same image as '{}' "
            "({} here)",
            disk.name, disk.file);
    }
    return {};
}

}  // namespace migrate::guest
