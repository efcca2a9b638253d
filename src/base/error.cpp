// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"

#include <cerrno>
#include <system_error>

#include "base/denial_note.hpp"

namespace migrate {

Error Error::system(std::string_view what, int code) {
    // generic_category().message() is strerror() without its shared buffer.
    const std::string reason = std::generic_category().message(code);
    const char* note = code == EPERM || code == EACCES ? denial_note() : nullptr;
    if (note == nullptr) return make_error("cannot {}: {}", what, reason);
    return make_error("cannot {}: {} ({})", what, reason, note);
}

}  // namespace migrate
