// Tests in which much goes wrong on purpose.
#pragma once

#include "base/log.hpp"

namespace migrate {

// Says nothing of strangers while it lives.
class QuietLog {
  public:
    QuietLog() { log::set_level(log::Level::kError); }
    ~QuietLog() { log::set_level(log::Level::kInfo); }
    QuietLog(const QuietLog&) = delete;
    QuietLog& operator=(const QuietLog&) = delete;
};

}  // namespace migrate
