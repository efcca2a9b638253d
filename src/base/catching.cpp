#include "base/catching.hpp"

#include <exception>
#include <new>

namespace migrate {

Error error_of_exception(std::string_view where) noexcept {
    try {
        try {
            throw;
        } catch (const std::bad_alloc&) {
            return make_error("{}: out of memory (check the limits ulimit -v and ulimit -d)",
                              where);
        } catch (const std::exception& exception) {
            return make_error("{}: {}", where, exception.what());
        } catch (...) {
            return make_error("{}: an exception of an unknown type", where);
        }
    } catch (...) {
        // Short enough to need no memory of its own.
        return Error(ErrorKind::kFailed, "out of memory");
    }
}

}  // namespace migrate
