// Takes JSON messages out of a stream of bytes that may split them anywhere: QMP has no framing but
// the braces. Invariants: the messages do not depend on how the bytes were cut into pieces; what is
// held never exceeds the limits and the bytes fed since the last message.
//
// As QEMU's lexer, it takes single-quoted strings too, and finds its way again after an error at
// the next control character (a newline, in practice) or at a byte 0xFE or 0xFF. A brace that was
// left open can only be ended so: a newline between tokens is white space.
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
        std::size_t bytes = 0;  // of one message
        std::size_t depth = 0;  // of arrays and objects in one another
    };

    explicit MessageStream(Limits limits) : limits_(limits) {}

    void feed(std::string_view bytes);
    // The next array or object, or the error (kProtocol) that stands in its place; nullopt until
    // more is fed.
    std::optional<Result<Json>> next();
    // Whether a message has begun and is not complete.
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
    std::size_t position_ = 0;  // in input_, of the next byte
    State state_ = State::kBetween;
    char quote_ = '"';  // that ends the string
    std::string open_;  // the brackets and braces that are open
    std::string text_;  // of the message so far, in strict JSON
};

}  // namespace migrate::qmp
