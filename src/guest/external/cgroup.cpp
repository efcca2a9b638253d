// SPDX-License-Identifier: Apache-2.0
#include "guest/external/cgroup.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace migrate::guest {
namespace {

// Returns the mount point of the cgroup hierarchy (from /proc/self/mounts, proc(5)): that of
// version 2, or the one of version 1 that has the controller.
std::string mount_point(std::string_view controller) {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream words(line);
        std::string device;
        std::string point;
        std::string type;
        std::string options;
        words >> device >> point >> type >> options;
        if (controller.empty()
                ? type == "cgroup2"
                : type == "cgroup" && ("," + options + ",").find(fmt::format(",{},", controller)) !=
                                          std::string::npos) {
            return point;
        }
    }
    return {};
}

// Reads "HIERARCHY:CONTROLLERS:PATH" (cgroups(7)). `who` is the /proc folder of a process or a
// thread.
std::string path_of(const std::filesystem::path& who, std::string_view controller) {
    std::ifstream groups(who / "cgroup");
    for (std::string line; std::getline(groups, line);) {
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const bool found = controller.empty() ? controllers == ",,"
                                              : controllers.find(fmt::format(",{},", controller)) !=
                                                    std::string::npos;
        if (found) return line.substr(second + 1);
    }
    return {};
}

bool is_alone(const std::string& folder, pid_t pid) {
    std::ifstream processes(folder + "/cgroup.procs");
    std::size_t others = 0;
    bool found = false;
    for (pid_t process = 0; processes >> process;) {
        found = found || process == pid;
        if (process != pid) ++others;
    }
    return found && others == 0;
}

// libvirt, for example, gives a vCPU's thread its own group.
bool has_all_threads(pid_t pid, std::string_view controller, const std::string& path) {
    std::error_code failed;
    for (const auto& thread :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), failed)) {
        const std::string its = path_of(thread.path(), controller);
        // An empty path means that the thread has just ended.
        if (!its.empty() && its != path) return false;
    }
    return !failed;
}

bool has_group_below(const std::string& folder) {
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
        if (entry.is_directory(failed)) return true;
    }
    return static_cast<bool>(failed);
}

}  // namespace

std::string own_cgroup(pid_t pid, std::string_view knob, std::string_view controller) {
    const std::string root = mount_point(controller);
    const std::string path = path_of(fmt::format("/proc/{}", pid), controller);
    if (root.empty() || path.empty() || path == "/") return {};
    std::string folder = root + path;
    std::error_code ignored;
    if (!std::filesystem::exists(folder + "/" + std::string(knob), ignored)) return {};
    const bool own =
        is_alone(folder, pid) && has_all_threads(pid, controller, path) && !has_group_below(folder);
    return own ? folder : std::string();
}

}  // namespace migrate::guest
