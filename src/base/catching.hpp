// SPDX-License-Identifier: Apache-2.0
// The border between code that throws (the standard library and others, mostly because memory is
// short) and code that returns errors. Invariant: nothing here throws, not even if no memory is
// left for a message.
#pragma once

#include <string_view>
#include <type_traits>
#include <utility>

#include "base/error.hpp"

namespace migrate {

// Call it in a catch block: it makes an Error of the exception, "WHERE: the exception's text", or
// "out of memory" and the limits to look at for std::bad_alloc.
Error error_of_exception(std::string_view where, ErrorKind kind = ErrorKind::kFailed) noexcept;

// Returns the Status or Result that `work` returns; an exception becomes its Error.
template <typename Work>
std::invoke_result_t<Work> catching(std::string_view where, Work&& work) noexcept {
    try {
        return std::forward<Work>(work)();
    } catch (...) {
        return error_of_exception(where);
    }
}

}  // namespace migrate
