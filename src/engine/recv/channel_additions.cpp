#include "engine/recv/channel_additions.hpp"

#include <utility>

#include "base/catching.hpp"
#include "base/log.hpp"

namespace migrate::engine {

Result<transport::ChannelCount> ChannelAdditions::take(std::uint16_t wanted) {
    const std::uint16_t present = channels_.count();
    const std::uint16_t most = offer_.settings.most_channels();
    if (std::exchange(failed_, true)) {
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
        return reception_.take_channels(listener_, offer_, present, wanted);
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
