// SPDX-License-Identifier: Apache-2.0
// System calls that have no function in the C library. Invariant: every argument fills a whole
// register when the kernel reads it. The C library's syscall() is variadic: an int leaves the upper
// half of its register undefined, and a kernel that reads a long there sees a random number.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <type_traits>

namespace migrate {

// Returns the argument as wide as a register: integers keep their value, pointers stay as they are.
template <typename T>
constexpr auto whole_register(T argument) {
    static_assert(sizeof(long) == sizeof(void*), "a register holds a long and a pointer");
    if constexpr (std::is_pointer_v<T>) {
        return argument;
    } else if constexpr (std::is_null_pointer_v<T>) {
        return static_cast<void*>(nullptr);
    } else if constexpr (std::is_enum_v<T>) {
        // Some of the C library's flags are enumerators, such as MSG_TRUNC.
        return whole_register(static_cast<std::underlying_type_t<T>>(argument));
    } else {
        static_assert(std::is_integral_v<T> && sizeof(T) <= sizeof(long),
                      "a system call takes integers and pointers");
        return static_cast<std::conditional_t<std::is_signed_v<T>, long, unsigned long>>(argument);
    }
}

// Like syscall(2): returns the call's result, or -1 with errno. May be used in a signal handler and
// in the child of a fork.
template <typename... Arguments>
long raw_syscall(long number, Arguments... arguments) {
    static_assert(sizeof...(Arguments) <= 6, "a system call has at most six arguments");
    return ::syscall(number, whole_register(arguments)...);
}

}  // namespace migrate
