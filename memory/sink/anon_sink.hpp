// SPDX-License-Identifier: Apache-2.0
// Sinks that keep the received guest in this process's memory: private (anon:) or shared (memfd:).
#pragma once

#include <memory>
#include <string_view>

#include "memory/anon_mapping.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

// `uri` is for the description.
std::unique_ptr<PageSink> make_anon_sink(std::string_view uri, HugePages huge);
std::unique_ptr<PageSink> make_memfd_sink(std::string_view uri, HugePages huge);

}  // namespace migrate::memory
