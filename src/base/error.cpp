#include "base/error.hpp"

#include <system_error>

namespace migrate {

Error Error::system(std::string_view what, int code) {
    // generic_category().message() is strerror() without its shared buffer.
    return make_error("cannot {}: {}", what, std::generic_category().message(code));
}

}  // namespace migrate
