// SPDX-License-Identifier: Apache-2.0
#include "base/denial_note.hpp"

#include <atomic>

namespace migrate {
namespace {

std::atomic<const char*> the_note{nullptr};

}  // namespace

void set_denial_note(const char* note) { the_note.store(note); }
const char* denial_note() { return the_note.load(); }

}  // namespace migrate
