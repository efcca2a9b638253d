// SPDX-License-Identifier: Apache-2.0
// Decides whether the packets of a session have checksums of their payload (packet-checksum): the
// receiver decides, and the sender takes its answer. Both say why there are none.
#pragma once

#include <optional>
#include <string>

#include "base/config/choices.hpp"
#include "base/error.hpp"
#include "transport/wire.hpp"

namespace migrate::engine {

struct ChecksumChoice {
    AutoOnOff option = AutoOnOff::kAuto;
    bool used = false;
    std::string reason{};  // why not, for people; empty if they are used

    transport::PayloadChecksums limit() const;
};

// The facts that decide at the receiver.
struct ChecksumFacts {
    bool encrypted = false;
    bool discards = false;  // the sink keeps nothing
};
ChecksumChoice choose_checksums(AutoOnOff option, const ChecksumFacts& facts);

// Takes the receiver's answer; nothing comes from a receiver that does not know checksums. An Error
// if it does not fit the option.
Result<ChecksumChoice> take_checksum_answer(AutoOnOff option, bool encrypted,
                                            std::optional<bool> answer);

}  // namespace migrate::engine
