// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/page_connection.hpp"

#include <array>

#include "transport/parts_cursor.hpp"

namespace migrate::engine {

using transport::part_of;

Result<std::unique_ptr<PageConnection>> PageConnection::create(
    transport::Socket socket, transport::Party from, std::span<const RegionInfo> regions) {
    MIGRATE_ASSIGN(Wakeup unused, Wakeup::create());
    // No more is in transit than the path needs: an urgent page may be among it.
    MIGRATE_TRY(socket.share_path(1));
    std::unique_ptr<PageConnection> connection(
        new PageConnection(std::move(socket), from, regions, std::move(unused)));
    connection->payload_.resize(transport::kMostPagePayload);
    return connection;
}

Status PageConnection::send(const transport::PageMessage& message,
                            std::span<const std::byte> payload) {
    const MutexLock lock(send_mutex_);
    const transport::PageMessageBytes header =
        transport::encode_page_message(message, payload, checksum_);
    std::array<iovec, 2> parts{part_of(header), part_of(payload)};
    return socket_.send(std::span(parts).first(payload.empty() ? 1 : 2));
}

Result<std::optional<PageConnection::Received>> PageConnection::receive(
    std::chrono::milliseconds timeout) {
    MIGRATE_ASSIGN(const transport::InputWait waited, socket_.await_input(after(timeout), unused_));
    if (waited != transport::InputWait::kInput) return std::optional<Received>();
    transport::PageMessageBytes header{};
    MIGRATE_TRY(socket_.receive(std::span<std::byte>(header)));
    MIGRATE_ASSIGN(const transport::PageMessage message,
                   transport::decode_page_message(header, from_, regions_));
    const auto payload = std::span(payload_).first(message.payload_bytes);
    if (!payload.empty()) MIGRATE_TRY(socket_.receive(payload));
    MIGRATE_TRY(transport::check_page_message(header, payload, received_checksum_));
    return std::optional(Received{message, payload});
}

void PageConnection::finish(std::chrono::milliseconds linger) {
    socket_.finish_sending();
    socket_.drain(after(linger));
}

}  // namespace migrate::engine
