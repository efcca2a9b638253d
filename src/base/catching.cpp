// SPDX-License-Identifier: Apache-2.0
#include "base/catching.hpp"

#include <exception>
#include <new>

namespace migrate {

Error error_of_exception(std::string_view where, ErrorKind kind) noexcept {
    try {
        try {
            throw;
        } catch (const std::bad_alloc&) {
            return make_error(kind, "{}: out of memory (check the limits ulimit -v and ulimit -d)",
                              where);
        } catch (const std::exception& exception) {
            return make_error(kind, "{}: {}", where, exception.what());
        } catch (...) {
            return make_error(kind, "{}: an exception of an unknown type", where);
        }
    } catch (...) {
        // The text is short enough to need no heap memory.
        return Error(kind, "out of memory");
    }
}

}  // namespace migrate
