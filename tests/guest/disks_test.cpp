// SPDX-License-Identifier: Apache-2.0
// Which of QEMU's disks stay behind.
#include "guest/qemu/disks.hpp"

#include "tests/catch.hpp"

namespace migrate::guest {
namespace {

using qmp::Json;

Json disk(const char* device, const char* file, bool read_only = false) {
    return {{"device", device},
            {"inserted", {{"file", file}, {"ro", read_only}, {"node-name", "node0"}}}};
}

TEST_CASE("a disk of -snapshot is found by its temporary file, and named") {
    const Disks disks = parse_disks(Json::array(
        {disk("ide0", R"(json:{"backing": {"driver": "raw", "file": {"driver": "file", )"
                      R"("filename": "/images/a"}}, "driver": "qcow2", "file": )"
                      R"({"driver": "file", "filename": "/var/tmp/vl.SBHIZ3"}})"),
         disk("ide1", "/tmp/vl.AbCd12")}));
    REQUIRE(disks.temporary.size() == 2);
    CHECK(disks.temporary[0].name == "ide0");
    CHECK(disks.temporary[0].file == "/var/tmp/vl.SBHIZ3");
    CHECK(disks.temporary[1].file == "/tmp/vl.AbCd12");
    CHECK(disks.files.empty());
}

TEST_CASE("a writable disk in a file must be at the destination, and others need not") {
    const Disks disks = parse_disks(Json::array(
        {disk("", "/images/vl.img"), disk("cd0", "/images/cd", true), disk("nbd0", "nbd://host/a"),
         disk("q", R"(json:{"driver": "qcow2", "file": {"filename": "/images/b"}})")}));
    CHECK(disks.temporary.empty());
    REQUIRE(disks.files.size() == 2);
    CHECK(disks.files[0].name == "node0");
    CHECK(disks.files[0].file == "/images/vl.img");
    CHECK(disks.files[1].file == "/images/b");
}

TEST_CASE("an answer of another shape has no disks") {
    for (const Json& answer :
         {Json::object(), Json::array({1, "a", nullptr}), Json::array({{{"device", "empty"}}}),
          Json::array({{{"device", "d"}, {"inserted", 5}}}),
          Json::array({disk("d", "json:{\"filename\": \"/")})}) {
        CHECK(parse_disks(answer).temporary.empty());
    }
}

}  // namespace
}  // namespace migrate::guest
