// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/ram_blocks.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/units.hpp"
#include "guest/qemu/answer_fields.hpp"

namespace migrate::guest {
namespace {

// The columns after the name: "4 KiB  0x…  0x…  0x…  0x…  rw". The page size has two words.
constexpr std::size_t kColumns = 7;

Error malformed(std::string_view line) {
    return make_error(ErrorKind::kProtocol, "QEMU's answer to 'info ramblock' is malformed: {}",
                      line.substr(0, 160));
}

// Takes the last word of a line off it.
std::string_view take_last_word(std::string_view& line) {
    const std::size_t end = line.find_last_not_of(' ');
    if (end == std::string_view::npos) return {};
    line = line.substr(0, end + 1);
    const std::size_t space = line.find_last_of(' ');
    const std::size_t begin = space == std::string_view::npos ? 0 : space + 1;
    const std::string_view word = line.substr(begin);
    line = line.substr(0, begin);
    return word;
}

std::optional<std::uint64_t> number_from(std::string_view text, int base) {
    std::uint64_t number = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

std::optional<std::uint64_t> address_from(std::string_view text) {
    return text.starts_with("0x") ? number_from(text.substr(2), 16) : std::nullopt;
}

std::optional<std::uint64_t> size_from(std::string_view number, std::string_view unit) {
    constexpr std::array<std::pair<std::string_view, std::uint64_t>, 4> kUnits{
        {{"B", 1}, {"KiB", kKiB}, {"MiB", kMiB}, {"GiB", kGiB}}};
    const auto count = number_from(number, 10);
    const auto* const found = std::find_if(kUnits.begin(), kUnits.end(),
                                           [&](const auto& known) { return known.first == unit; });
    if (!count || found == kUnits.end()) return std::nullopt;
    return *count * found->second;
}

Result<RamBlock> parse_line(std::string_view line) {
    std::string_view rest = line;
    std::array<std::string_view, kColumns> words;  // the last column first
    for (std::string_view& word : words) word = take_last_word(rest);
    const auto address = address_from(words[1]);
    const auto total = address_from(words[2]);
    const auto used = address_from(words[3]);
    const auto page = size_from(words[6], words[5]);
    if (!address || !total || !used || !page) return malformed(line);
    const std::size_t begin = rest.find_first_not_of(' ');
    RamBlock block{.name = {}, .page_bytes = *page, .used_bytes = *used, .address = *address};
    if (begin == std::string_view::npos) return block;
    block.name = rest.substr(begin, rest.find_last_not_of(' ') + 1 - begin);
    const bool whole = *used != 0 && *used % kPageSize == 0 && *address % kPageSize == 0;
    if (!whole || *used > *total || *address + *used < *address) return malformed(line);
    return block;
}

std::string difference_of(const RamBlock& then, const RamBlock& now) {
    if (then.used_bytes != now.used_bytes) {
        return fmt::format("had {} KiB, and has {} KiB now", then.used_bytes / kKiB,
                           now.used_bytes / kKiB);
    }
    return "is somewhere else in its process now";
}

const RamBlock* find_block(const std::vector<RamBlock>& blocks, const std::string& name) {
    const auto found = std::find_if(blocks.begin(), blocks.end(),
                                    [&](const RamBlock& block) { return block.name == name; });
    return found == blocks.end() ? nullptr : &*found;
}

}  // namespace

Result<std::optional<std::vector<RamBlock>>> parse_ram_blocks(std::string_view text) {
    std::vector<RamBlock> blocks;
    bool has_addresses = false;
    for (bool first = true; !text.empty(); first = false) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (first) {
            has_addresses = line.find("Block Name") != line.npos && line.find("HVA") != line.npos;
            if (!has_addresses) break;
            continue;
        }
        if (line.find_first_not_of(' ') == line.npos) continue;
        MIGRATE_ASSIGN(RamBlock block, parse_line(line));
        if (block.name.empty()) continue;
        if (find_block(blocks, block.name) != nullptr) return malformed(line);
        blocks.push_back(std::move(block));
    }
    if (!has_addresses) return std::optional<std::vector<RamBlock>>();
    if (blocks.empty()) return malformed("it lists no block");
    return std::optional(std::move(blocks));
}

bool lists_ram_blocks(const Monitor& monitor) { return monitor.is_at_least(8, 0); }

Result<std::optional<std::vector<RamBlock>>> query_ram_blocks(Monitor& monitor) {
    if (lists_ram_blocks(monitor)) {
        const auto answer = monitor.ask("x-query-ramblock");
        const std::string text = answer ? text_of(*answer, "human-readable-text") : std::string();
        if (!text.empty()) return parse_ram_blocks(text);
        if (!answer && answer.error().kind() != ErrorKind::kPeer) return answer.error();
    }
    MIGRATE_ASSIGN(const qmp::Json answer,
                   monitor.ask("human-monitor-command", {{"command-line", "info ramblock"}}));
    if (!answer.is_string()) return malformed(answer.dump());
    return parse_ram_blocks(answer.get_ref<const std::string&>());
}

Status check_same_blocks(const std::vector<RamBlock>& opened, const std::vector<RamBlock>& now) {
    for (const RamBlock& block : opened) {
        const RamBlock* const other = find_block(now, block.name);
        if (other == nullptr) return make_error("its RAM block '{}' was removed", block.name);
        if (*other == block) continue;
        return make_error("its RAM block '{}' {}", block.name, difference_of(block, *other));
    }
    for (const RamBlock& block : now) {
        if (find_block(opened, block.name) == nullptr) {
            return make_error("a RAM block '{}' ({} KiB) was added", block.name,
                              block.used_bytes / kKiB);
        }
    }
    return {};
}

}  // namespace migrate::guest
