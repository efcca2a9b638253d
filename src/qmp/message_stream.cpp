// SPDX-License-Identifier: Apache-2.0
#include "qmp/message_stream.hpp"

#include "base/duplicate_keys.hpp"

namespace migrate::qmp {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20; }
bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
// Bytes that never occur in UTF-8; QEMU's guest agent protocol uses 0xFF to resynchronise.
bool is_sentinel(char c) { return static_cast<unsigned char>(c) >= 0xFE; }
bool ends_skipping(char c) { return (is_control(c) && c != '\t') || is_sentinel(c); }

}  // namespace

void MessageStream::feed(std::string_view bytes) {
    input_.erase(0, position_);
    position_ = 0;
    input_.append(bytes);
}

std::optional<Result<Json>> MessageStream::next() {
    while (position_ < input_.size()) {
        if (auto message = step(input_[position_++])) return message;
    }
    input_.clear();
    position_ = 0;
    return std::nullopt;
}

std::optional<Result<Json>> MessageStream::step(char c) {
    std::optional<Result<Json>> message;
    switch (state_) {
        case State::kBetween:
            return begin(c);
        case State::kSkipping:
            if (ends_skipping(c)) state_ = State::kBetween;
            return std::nullopt;
        case State::kInMessage:
            message = in_message_step(c);
            break;
        case State::kInString:
        case State::kEscaped:
            message = in_string_step(c);
            break;
    }
    if (!message && text_.size() > limits_.bytes)
        return fail(c, fmt::format("it is longer than {} bytes", limits_.bytes));
    return message;
}

std::optional<Result<Json>> MessageStream::begin(char c) {
    if (is_space(c)) return std::nullopt;
    if (c == '{' || c == '[') return nest(c);
    return fail(c, "it does not begin with a brace");
}

std::optional<Result<Json>> MessageStream::in_message_step(char c) {
    if (c == '{' || c == '[') return nest(c);
    if (c == '}' || c == ']') return unnest(c);
    if ((is_control(c) && !is_space(c)) || !is_ascii(c))
        return fail(c, "a stray byte between two tokens");
    if (c == '"' || c == '\'') {
        quote_ = c;
        state_ = State::kInString;
        text_ += '"';
    } else {
        text_ += c;
    }
    return std::nullopt;
}

std::optional<Result<Json>> MessageStream::in_string_step(char c) {
    if (is_control(c) || is_sentinel(c)) return fail(c, "a string is not closed");
    if (state_ == State::kEscaped) {
        state_ = State::kInString;
        if (c != '\'') text_ += '\\';
        text_ += c;
    } else if (c == '\\') {
        state_ = State::kEscaped;
    } else if (c == quote_) {
        state_ = State::kInMessage;
        text_ += '"';
    } else {
        if (c == '"') text_ += '\\';
        text_ += c;
    }
    return std::nullopt;
}

std::optional<Result<Json>> MessageStream::nest(char c) {
    if (open_.size() >= limits_.depth)
        return fail(c, fmt::format("it nests deeper than {} levels", limits_.depth));
    state_ = State::kInMessage;
    open_ += c;
    text_ += c;
    return std::nullopt;
}

std::optional<Result<Json>> MessageStream::unnest(char c) {
    if ((c == '}') != (open_.back() == '{')) return fail(c, fmt::format("a stray '{}'", c));
    open_.pop_back();
    text_ += c;
    if (!open_.empty() || text_.size() > limits_.bytes) return std::nullopt;
    return complete();
}

Result<Json> MessageStream::complete() {
    state_ = State::kBetween;
    const std::string text = std::exchange(text_, {});
    try {
        DuplicateKeys<Json> duplicates;
        Json message =
            Json::parse(text, [&duplicates](int, Json::parse_event_t event, const Json& parsed) {
                duplicates.see(event, parsed);
                return true;  // false would drop the value
            });
        if (duplicates.first().empty()) return message;
        return make_error(ErrorKind::kProtocol, "JSON parse error, duplicate key '{}'",
                          duplicates.first());
    } catch (const Json::parse_error& error) {
        return make_error(ErrorKind::kProtocol, "JSON parse error, at byte {} of the message",
                          error.byte);
    } catch (const Json::exception&) {
        return Error(ErrorKind::kProtocol, "JSON parse error, a number is out of range");
    }
}

Result<Json> MessageStream::fail(char c, std::string why) {
    state_ = ends_skipping(c) ? State::kBetween : State::kSkipping;
    open_.clear();
    text_.clear();
    return make_error(ErrorKind::kProtocol, "JSON parse error, {}", why);
}

}  // namespace migrate::qmp
