// SPDX-License-Identifier: Apache-2.0
// Run-time failures as values: Error says what failed and where, Result<T> holds a T or an Error.
// Invariant: an Error's message is a sentence for the user; each layer that passes it on adds its
// context in front.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace migrate {

// The kind of a failure, for code that acts on it; the text is in the message.
enum class ErrorKind {
    kFailed,          // anything without a kind of its own
    kUsage,           // the user's options or configuration are wrong: exit code 2
    kCancelled,       // the user, here or at the peer, ended the migration
    kTimeout,         // a wait took too long
    kLostConnection,  // the peer closed or reset a connection; the reason may follow on the main
                      // channel
    kPeer,            // the peer said that it failed
    kProtocol,        // the peer sent something that the protocol does not allow
    kFault,           // a system call could not write to our memory (EFAULT)
    kRefused,         // this side or the peer refused the migration before a page moved
    kNotConverged,    // the guest writes faster than its limits allow to send
    kOwnerUnknown,    // it is not known which side has the guest
};

class [[nodiscard]] Error {
  public:
    Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
    explicit Error(std::string message) : Error(ErrorKind::kFailed, std::move(message)) {}

    // "cannot WHAT: strerror(CODE)"
    static Error system(std::string_view what, int code);

    ErrorKind kind() const { return kind_; }
    const std::string& message() const { return message_; }

    // The same error with "CONTEXT: " in front.
    Error with_context(std::string_view context) && {
        return Error(kind_, fmt::format("{}: {}", context, message_));
    }
    Error as(ErrorKind kind) && { return Error(kind, std::move(message_)); }

  private:
    ErrorKind kind_;
    std::string message_;
};

template <typename... Args>
Error make_error(fmt::format_string<Args...> format, Args&&... args) {
    return Error(fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Error make_error(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
    return Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

template <typename T>
class [[nodiscard]] Result {
  public:
    // Implicit on purpose, for `return value;` and `return make_error(...);`.
    Result(T value) : value_(std::in_place, std::move(value)) {}
    Result(Error error) : error_(std::move(error)) {}

    explicit operator bool() const { return value_.has_value(); }
    // Access to the value of a failure, or to the error of a success, is a broken invariant and
    // aborts.
    T& operator*() & { return checked_value(); }
    const T& operator*() const& { return const_cast<Result*>(this)->checked_value(); }
    T&& operator*() && { return std::move(checked_value()); }
    T* operator->() { return &checked_value(); }
    const T* operator->() const { return &const_cast<Result*>(this)->checked_value(); }
    const Error& error() const& { return const_cast<Result*>(this)->checked_error(); }
    Error&& error() && { return std::move(checked_error()); }

  private:
    T& checked_value() {
        if (!value_) std::abort();
        return *value_;
    }
    Error& checked_error() {
        if (!error_) std::abort();
        return *error_;
    }

    // One of the two. A std::variant takes compilers a third longer, and there are hundreds of Ts.
    std::optional<T> value_;
    std::optional<Error> error_;
};

// Success without a value, or an Error.
class [[nodiscard]] Status {
  public:
    Status() = default;
    Status(Error error) : error_(std::move(error)) {}

    explicit operator bool() const { return !error_; }
    const Error& error() const& { return const_cast<Status*>(this)->checked_error(); }
    Error&& error() && { return std::move(checked_error()); }

  private:
    Error& checked_error() {
        if (!error_) std::abort();
        return *error_;
    }

    std::optional<Error> error_;
};

}  // namespace migrate

// Returns from the function with the error of a Status or Result that failed.
#define MIGRATE_TRY(expression)                                          \
    do {                                                                 \
        if (auto migrate_try_status = (expression); !migrate_try_status) \
            return std::move(migrate_try_status).error();                \
    } while (false)

// The declaration and the names pasted together cannot be put in parentheses.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define MIGRATE_CONCAT_INNER(a, b) a##b
#define MIGRATE_CONCAT(a, b) MIGRATE_CONCAT_INNER(a, b)
// MIGRATE_ASSIGN(auto value, expression): sets `value` to the value of a Result, or returns from
// the function with its error.
#define MIGRATE_ASSIGN(declaration, expression) \
    MIGRATE_ASSIGN_INNER(MIGRATE_CONCAT(migrate_result_, __LINE__), declaration, expression)
#define MIGRATE_ASSIGN_INNER(result, declaration, expression) \
    auto result = (expression);                               \
    if (!result) return std::move(result).error();            \
    declaration = *std::move(result)
// NOLINTEND(bugprone-macro-parentheses)
