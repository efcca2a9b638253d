// SPDX-License-Identifier: Apache-2.0
// Pipes of which a test has both ends.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/wait.hpp"
#include "catch.hpp"
#include "tests/support/long_wait.hpp"

namespace migrate {

struct Pipe {
    Pipe() {
        std::array<int, 2> ends{};
        REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
        reader.reset(ends[0]);
        writer.reset(ends[1]);
    }

    // Writes until nothing more fits. Further writes block.
    void fill() const {
        REQUIRE(::fcntl(writer.get(), F_SETFL, O_NONBLOCK) == 0);
        const std::string filler(4096, '\n');
        while (::write(writer.get(), filler.data(), filler.size()) > 0) {
        }
        REQUIRE(::fcntl(writer.get(), F_SETFL, 0) == 0);
    }

    // Reads until the text ends with `end`, all writers are gone, or nothing comes for kLong. Any
    // thread may call it.
    std::string read_until(std::string_view end) const {
        std::string text;
        std::array<char, 65536> piece{};
        while (end.empty() || !text.ends_with(end)) {
            if (!readable_within(reader.get(), kLong)) break;
            const ssize_t size = ::read(reader.get(), piece.data(), piece.size());
            if (size <= 0) break;
            text.append(piece.data(), static_cast<std::size_t>(size));
        }
        return text;
    }

    // Closes the writer and reads all that the pipe holds and that its other writers still write.
    std::string read_all() {
        writer.reset();
        return read_until({});
    }

    UniqueFd reader;
    UniqueFd writer;
};

}  // namespace migrate
