// SPDX-License-Identifier: Apache-2.0
// Extracts JSON messages from a stream of bytes that may split them anywhere: braces are QMP's only
// framing. Invariants: the messages do not depend on how the bytes were split; the buffered data
// never exceeds the limits and the bytes fed since the last message.
//
// Like QEMU's lexer, it accepts single-quoted strings, too. After an error it resynchronises at the
// next control character (a newline, in practice) or at a byte 0xFE or 0xFF. Only these can end a
// message with an open brace: a newline between tokens is white space.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "qmp/message.hpp"

namespace migrate::qmp {

class MessageStream {
  public:
    struct Limits {
        std::size_t bytes = 0;  // largest message
        std::size_t depth = 0;  // deepest nesting of arrays and objects
    };

    explicit MessageStream(Limits limits) : limits_(limits) {}

    void feed(std::string_view bytes);
    // Returns the next array or object, or the error (kProtocol) in its place; std::nullopt until
    // more is fed.
    std::optional<Result<Json>> next();
    // True if a message has begun and is not complete.
    bool in_message() const { return !open_.empty(); }

  private:
    enum class State { kBetween, kInMessage, kInString, kEscaped, kSkipping };

    std::optional<Result<Json>> step(char c);
    std::optional<Result<Json>> begin(char c);
    std::optional<Result<Json>> in_message_step(char c);
    std::optional<Result<Json>> in_string_step(char c);
    std::optional<Result<Json>> nest(char c);
    std::optional<Result<Json>> unnest(char c);
    Result<Json> complete();
    Result<Json> fail(char c, std::string why);

    Limits limits_;
    std::string input_;
    std::size_t position_ = 0;  // of the next byte, in input_
    State state_ = State::kBetween;
    char quote_ = '"';  // ends the current string
    std::string open_;  // the open brackets and braces
    std::string text_;  // the message so far, in strict JSON
};

}  // namespace migrate::qmp
