// SPDX-License-Identifier: Apache-2.0
#include "engine/checksum_choice.hpp"

namespace migrate::engine {
namespace {

constexpr const char* kOff = "packet-checksum=off";
constexpr const char* kEncrypted = "TLS protects every byte";
constexpr const char* kDiscards = "the sink keeps nothing";

}  // namespace

transport::PayloadChecksums ChecksumChoice::limit() const {
    if (!used) return transport::PayloadChecksums::kNone;
    return option == AutoOnOff::kOn ? transport::PayloadChecksums::kAll
                                    : transport::PayloadChecksums::kSome;
}

ChecksumChoice choose_checksums(AutoOnOff option, const ChecksumFacts& facts) {
    if (option == AutoOnOff::kOff) return {option, false, kOff};
    if (option == AutoOnOff::kAuto && facts.encrypted) return {option, false, kEncrypted};
    if (option == AutoOnOff::kAuto && facts.discards) return {option, false, kDiscards};
    return {option, true, {}};
}

Result<ChecksumChoice> take_checksum_answer(AutoOnOff option, bool encrypted,
                                            std::optional<bool> answer) {
    const bool used = answer.value_or(false);
    if (used && option == AutoOnOff::kOff) {
        return Error(ErrorKind::kProtocol,
                     "the receiver wants checksums of packets that were not offered "
                     "(packet-checksum=off)");
    }
    if (!used && option == AutoOnOff::kOn) {
        return Error(ErrorKind::kPeer,
                     "the receiver checks no checksums of packets: use packet-checksum=auto or "
                     "off");
    }
    if (used) return ChecksumChoice{option, true, {}};
    if (option == AutoOnOff::kOff) return ChecksumChoice{option, false, kOff};
    if (!answer) return ChecksumChoice{option, false, "the receiver does not know packet-checksum"};
    return ChecksumChoice{option, false, encrypted ? kEncrypted : kDiscards};
}

}  // namespace migrate::engine
