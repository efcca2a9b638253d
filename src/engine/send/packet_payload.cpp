// SPDX-License-Identifier: Apache-2.0
#include "engine/send/packet_payload.hpp"

#include <utility>

#include "base/fault_guard.hpp"
#include "transport/parts_cursor.hpp"

namespace migrate::engine {

using transport::PacketBuilder;
using transport::part_of;

namespace {

// Index in parts_ of the first part of the content: the header and the runs come before it.
constexpr std::size_t kContentPart = 2;
// A shorter payload is copied: that costs less than the completion (the kernel's documentation
// names about 10 KB).
constexpr std::uint64_t kLeastInPlace = 16 * kKiB;

bool is_set(const std::vector<bool>& regions, RegionId region) {
    const std::size_t index = index_of(region);
    return index < regions.size() && regions[index];
}

}  // namespace

PacketPayload::PacketPayload(std::unique_ptr<transport::Compressor> compressor, SentPages* copies)
    : compressor_(std::move(compressor)), copies_(copies) {}

void PacketPayload::add_checksums(std::vector<bool> changing, bool all) {
    checksum_.emplace();
    changing_ = std::move(changing);
    all_ = all;
}

bool PacketPayload::may_change(RegionId region) const { return is_set(changing_, region); }

// Only memory of the guest may be sent in place: a guest that changes it changes the content of
// that page and nothing else, while a copy and a compressed stream lie in buffers of this channel,
// which the next packet overwrites.
bool PacketPayload::goes_in_place(const PacketBuilder& packet) const {
    if (copies_ != nullptr || form_.bytes < kLeastInPlace) return false;
    if (checksum_ && all_ && may_change(packet.region())) return false;
    return is_set(in_place_, packet.region());
}

Result<PacketPayload::Form> PacketPayload::prepare(const PacketBuilder& packet,
                                                   bool avoids_copies) {
    parts_.resize(kContentPart);
    form_ = {};
    sent_in_place_ = false;
    hashed_ = false;
    const std::span<const iovec> content = packet.payload();
    if (content.empty()) return form_;
    for (const iovec& part : content) form_.bytes += part.iov_len;
    form_.has_checksum = checksum_.has_value();
    if (copies_ != nullptr) MIGRATE_TRY(prepare_copy(packet));
    const auto uncompressed =
        copies_ != nullptr ? std::span(parts_).subspan(kContentPart) : content;
    MIGRATE_ASSIGN(const bool compresses, may_shrink(uncompressed));
    if (compresses) {
        MIGRATE_TRY(prepare_compressed(uncompressed));
        return form_;
    }
    if (copies_ != nullptr) return form_;
    sent_in_place_ = goes_in_place(packet);
    if (form_.has_checksum && may_change(packet.region())) {
        // A socket that copies anyway sends this copy as soon as the guest's memory.
        if (!sent_in_place_ || !avoids_copies) {
            MIGRATE_TRY(prepare_copy(packet));
            return form_;
        }
        form_.has_checksum = false;
    }
    parts_.insert(parts_.end(), content.begin(), content.end());
    return form_;
}

Result<bool> PacketPayload::may_shrink(std::span<const iovec> content) {
    if (!compressor_ || !compressor_->worth_trying()) return false;
    if (!compressor_->needs_sample()) return true;
    MIGRATE_TRY(guard_reads("the source", [&] { compressor_->gather_sample(content); }));
    return compressor_->sample_shrinks();
}

Status PacketPayload::prepare_compressed(std::span<const iovec> content) {
    std::span<const std::byte> whole;
    MIGRATE_TRY(guard_reads("the source", [&] { whole = compressor_->gather(content); }));
    MIGRATE_ASSIGN(const std::span<const std::byte> compressed, compressor_->compress());
    // If compression did not pay, the copy is sent instead of the source: it is in the cache.
    const std::span<const std::byte> chosen = compressed.empty() ? whole : compressed;
    parts_.resize(kContentPart);
    parts_.push_back(part_of(chosen));
    hashed_ = false;
    if (!compressed.empty()) form_.compression = compressor_->method();
    form_.bytes = chosen.size();
    return {};
}

// The guest may write to the content meanwhile, and the checksum is that of the copy.
Status PacketPayload::prepare_copy(const PacketBuilder& packet) {
    if (copy_.size() < form_.bytes) copy_.resize(form_.bytes);
    if (checksum_) checksum_->restart();
    MIGRATE_TRY(guard_reads("the source", [&] {
        if (checksum_) {
            checksum_->add_copy(packet.payload(), copy_.data());
        } else {
            transport::PartsCursor(packet.payload()).copy_to(copy_);
        }
    }));
    hashed_ = checksum_.has_value();
    parts_.push_back(part_of(std::span(copy_).first(form_.bytes)));
    if (copies_ == nullptr) return {};
    const std::byte* at = copy_.data();
    for (const PageRange& pages : packet.normal_pages()) {
        copies_->note_copy(packet.region(), pages, {at, pages.size_bytes()});
        at += pages.size_bytes();
    }
    return {};
}

Status PacketPayload::send(transport::Socket& socket, const transport::PacketHeaderBytes& header,
                           std::span<const std::byte> runs) {
    parts_[0] = part_of(header);
    parts_[1] = part_of(runs);
    if (form_.has_checksum) {
        if (!hashed_) MIGRATE_TRY(add_parts());
        trailer_ = checksum_->finish(header);
    }
    if (sent_in_place_) {
        // The header, the runs and the checksum are overwritten by the next packet, so they are
        // copied.
        MIGRATE_TRY(socket.send_in_place(parts_, kContentPart));
        return form_.has_checksum ? socket.send(trailer_) : Status();
    }
    if (form_.has_checksum) parts_.push_back(part_of(trailer_));
    return socket.send(parts_);
}

// Adds the content, which does not change, to the checksum.
Status PacketPayload::add_parts() {
    checksum_->restart();
    return guard_reads("the source",
                       [&] { checksum_->add(std::span(parts_).subspan(kContentPart)); });
}

}  // namespace migrate::engine
