// SPDX-License-Identifier: Apache-2.0
// Unwraps Results in tests: a failure ends the test case with the error's message.
#pragma once

#include <utility>

#include "base/error.hpp"
#include "catch.hpp"

namespace migrate {

template <typename T>
T must(Result<T> result) {
    if (!result) FAIL(result.error().message());
    return *std::move(result);
}

inline void must(const Status& status) {
    if (!status) FAIL(status.error().message());
}

// The message of an Error that is expected.
template <typename Failed>
std::string message_of(const Failed& result) {
    if (result) FAIL("an error was expected");
    return result.error().message();
}

}  // namespace migrate
