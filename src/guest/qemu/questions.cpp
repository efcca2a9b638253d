// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/questions.hpp"

#include "guest/qemu/ram_blocks.hpp"

namespace migrate::guest {
namespace {

Question list(const char* path) { return {"qom-list", {{"path", path}}}; }
Question text(const char* command) {
    return {"human-monitor-command", {{"command-line", command}}};
}

}  // namespace

std::vector<Question> memory_questions(const Monitor& monitor) {
    std::vector<Question> questions{{"query-memdev"}, {"query-memory-devices"}};
    if (lists_ram_blocks(monitor)) questions.push_back({"x-query-ramblock"});
    return questions;
}

std::vector<Question> device_questions() {
    return {list("/machine/peripheral"),
            list("/machine/peripheral-anon"),
            list("/objects"),
            text("info network"),
            {"query-named-block-nodes", {{"flat", true}}}};
}

std::vector<Question> machine_questions() {
    return {{"query-hotpluggable-cpus"},      {"query-cpus-fast"},      list("/machine/peripheral"),
            list("/machine/peripheral-anon"), {"query-memory-devices"}, text("info qtree")};
}

Question machine_type_question() {
    return {"qom-get", {{"path", "/machine"}, {"property", "type"}}};
}

std::vector<Question> state_questions() { return {{"query-migrate"}, {"query-status"}}; }

std::vector<Question> joined(std::initializer_list<std::vector<Question>> lists) {
    std::vector<Question> all;
    for (const auto& questions : lists) all.insert(all.end(), questions.begin(), questions.end());
    return all;
}

}  // namespace migrate::guest
