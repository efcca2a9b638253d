// SPDX-License-Identifier: Apache-2.0
#include "cli/service_manager.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "base/log.hpp"

namespace migrate::cli {

ServiceManager ServiceManager::connect() {
    ServiceManager manager;
    const char* const name = std::getenv("NOTIFY_SOCKET");
    if (name == nullptr || (name[0] != '/' && name[0] != '@')) return manager;
    Result<UnixDatagrams> connected = UnixDatagrams::connect(name, "the service manager");
    if (connected) {
        manager.socket_ = *std::move(connected);
    } else {
        log::warning("the service manager will not hear of this migration: {}",
                     connected.error().message());
    }
    return manager;
}

void ServiceManager::ready(std::string_view status) const {
    socket_.send(fmt::format("READY=1\nSTATUS={}", status));
}

void ServiceManager::status(std::string_view status) const {
    socket_.send(fmt::format("STATUS={}", status));
}

void ServiceManager::stopping(std::string_view status) const {
    socket_.send(fmt::format("STOPPING=1\nSTATUS={}", status));
}

}  // namespace migrate::cli
