// SPDX-License-Identifier: Apache-2.0
// Drives what reads a QMP client's bytes: the first byte chooses the size of the pieces the rest is
// fed in. Answers must not depend on it, and must themselves be messages.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "qmp/dispatcher.hpp"
#include "qmp/message_stream.hpp"

namespace {

using namespace migrate;
using namespace migrate::qmp;

constexpr MessageStream::Limits kLimits{512, 16};

void require(bool condition) {
    if (!condition) std::abort();
}

const Dispatcher& dispatcher() {
    static const auto made = Dispatcher::create(
        {{"echo", [](const Json& arguments) -> Result<Json> { return arguments; }}});
    return *made;
}

std::vector<std::string> answers(std::string_view text, std::size_t piece) {
    MessageStream stream(kLimits);
    Session session;
    std::vector<std::string> lines;
    while (!text.empty()) {
        stream.feed(text.substr(0, piece));
        text.remove_prefix(std::min(piece, text.size()));
        while (const auto request = stream.next())
            lines.push_back(to_line(dispatcher().answer(*request, session)));
    }
    return lines;
}

void check_line(const std::string& line) {
    // An id nests a level deeper in the answer, and arguments in "return".
    MessageStream stream({line.size(), kLimits.depth + 1});
    stream.feed(line);
    const auto answer = stream.next();
    require(answer && *answer);
    require((*answer)->contains("return") != (*answer)->contains("error"));
    require(!stream.next());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto whole = answers(text, text.size());
    require(whole == answers(text, std::size_t{1} + data[0] % 16));
    for (const std::string& line : whole) check_line(line);
    return 0;
}
