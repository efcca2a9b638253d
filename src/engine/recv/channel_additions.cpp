// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/channel_additions.hpp"

#include <algorithm>
#include <utility>

#include "base/catching.hpp"
#include "base/log.hpp"

namespace migrate::engine {

Result<transport::ChannelCount> ChannelAdditions::take(const transport::ChannelCount& count) {
    MIGRATE_TRY(channels_.end_channels(count.lost));
    const std::uint16_t wanted = count.channels;
    const std::uint16_t present = channels_.count();
    const std::uint16_t lost = channels_.losses().count();
    // Lost channels keep their ids, and others may take their place.
    const std::uint16_t most =
        std::min<std::uint16_t>(kMaxChannelIds, offer_.settings.most_channels() + lost);
    if (std::exchange(failed_, true) && lost == 0) {
        return Error(ErrorKind::kProtocol,
                     "the sender adds channels again after it was told that no more are taken");
    }
    if (wanted <= present || wanted > most) {
        return make_error(
            ErrorKind::kProtocol,
            "the sender adds channels up to {}; {} are connected, and at most {} were "
            "agreed on (multifd-channels)",
            wanted, present, most);
    }
    auto sockets = catching("further channels", [&] {
        return reception_.take_channels(
            listener_, offer_, present, wanted,
            lost == 0 ? Reception::Channels::kFurther : Reception::Channels::kReplacing);
    });
    Status added =
        sockets ? channels_.add(*std::move(sockets)) : Status(std::move(sockets).error());
    failed_ = !added;
    if (added) return transport::ChannelCount{wanted};
    const ErrorKind kind = added.error().kind();
    if (core_.stopped() || kind == ErrorKind::kProtocol) return std::move(added).error();
    log::warning("a further channel is not used: {}", added.error().message());
    return transport::ChannelCount{channels_.count(), added.error().message()};
}

}  // namespace migrate::engine
