// SPDX-License-Identifier: Apache-2.0
#include "transport/host_interfaces.hpp"

#include <ifaddrs.h>

#include <memory>

namespace migrate::transport {

std::string interface_of(const Endpoint& own) {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return {};
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owned(list, &::freeifaddrs);
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr) continue;
        const Endpoint end = Endpoint::of(one->ifa_addr);
        if (!end.is_address()) continue;
        // All of 127.0.0.0/8 belongs to the loopback.
        const bool loopback = own.is_loopback() && end.is_loopback();
        if (loopback || end.same_host(own)) return one->ifa_name;
    }
    return {};
}

}  // namespace migrate::transport
