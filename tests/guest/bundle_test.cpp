// SPDX-License-Identifier: Apache-2.0
// The files of a bundle: which of them make one, and what is refused.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "guest/bundle/bundle_folder.hpp"
#include "guest/bundle/bundle_manifest.hpp"
#include "guest/bundle/bundle_writer.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::guest {
namespace {

using Json = nlohmann::json;

BundleManifest example() {
    const std::string digest(32, 'a');
    return {.program = "migrate 0.1.0",
            .guest = "qemu",
            .region_names = {"pc.ram", "/rom@etc/acpi/tables"},
            .regions = {{"memory-0.0123456789abcdef", 2 * kMiB, digest},
                        {"memory-1.0123456789abcdef", kPageSize, digest}},
            .devices = {"devices.0123456789abcdef", 77, digest},
            .machine = {{.place = "machine", .type = "pc-q35-10.0", .name = "", .properties = {}},
                        {.place = "pcie.0/02.0",
                         .type = "virtio-net-pci",
                         .name = "net0",
                         .properties = {{"mq", "on"}}}},
            .settings = {{"verify", "digest"}}};
}

// The text of a manifest whose digest is right.
std::string sealed(Json json) {
    json.erase("digest");
    const std::string text = json.dump(-1, ' ', true);
    json["digest"] = content_digest(text);
    return json.dump();
}

Json example_json() { return Json::parse(to_text(example())); }

TEST_CASE("a manifest is the same after it was written and read") {
    const BundleManifest read = must(parse_manifest(to_text(example())));
    CHECK(to_text(read) == to_text(example()));
    CHECK(read.region_names == example().region_names);
    CHECK(read.regions[1].size_bytes == kPageSize);
    CHECK(read.machine == example().machine);
    CHECK(read.settings == example().settings);
}

TEST_CASE("a manifest that ends early or has a changed byte is rejected") {
    const std::string text = to_text(example());
    for (std::size_t size = 0; size + 2 < text.size(); ++size) {
        REQUIRE_FALSE(parse_manifest(text.substr(0, size)));
    }
    for (std::size_t at = 0; at < text.size(); ++at) {
        std::string changed = text;
        changed[at] ^= 1;
        const auto parsed = parse_manifest(changed);
        // A blank between two words may become another one.
        if (parsed) CHECK(to_text(*parsed) == text);
    }
}

TEST_CASE("a manifest with values that no bundle has is rejected by name") {
    struct Bad {
        const char* pointer;
        Json value;
        const char* named;
    };
    const std::string digest(32, 'a');
    for (const Bad& bad : std::vector<Bad>{
             {"/format", "other", "'format'"},
             {"/version", 2, "of version 2"},
             {"/version", -1, "'version'"},
             {"/page-size", 16384, "pages have 16384 bytes"},
             {"/guest", 7, "'guest'"},
             {"/guest", "a\nb", "'guest'"},
             {"/regions", Json::array(), "'regions'"},
             {"/regions", Json::object(), "'regions'"},
             {"/regions/0", 7, "not an object"},
             {"/regions/0/file", "../../etc/passwd", "no name of a file"},
             {"/regions/0/file", "memory-0.0123456789abcdef/x", "no name of a file"},
             {"/regions/0/file", "manifest.json", "no name of a file"},
             {"/regions/0/file", "memory-1.0123456789abcdef", "used twice"},
             {"/regions/0/file", "devices.0123456789abcdef", "used twice"},
             {"/regions/0/size", 0, "size of 0"},
             {"/regions/0/size", 4097, "not a multiple"},
             {"/regions/0/size", std::uint64_t{1} << 63U, "'size'"},
             {"/regions/0/size", std::uint64_t{1} << 52U, "add up to too much"},
             {"/regions/0/size", 4096.0, "'size'"},
             {"/regions/0/digest", "a", "no digest"},
             {"/regions/0/name", "", "no name"},
             {"/regions/0/name", "/rom@etc/acpi/tables", "comes twice"},
             {"/regions/0/name", std::string(256, 'x'), "'name'"},
             {"/devices", Json(), "not an object"},
             {"/devices/size", std::uint64_t{1} << 40U, "'size'"},
             {"/machine", 1, "'machine'"},
             {"/machine/0/place", "", "no place"},
             {"/machine/1/properties/mq", 1, "'mq'"},
             {"/settings", Json::array(), "'settings'"},
             {"/settings/verify", 1, "'verify'"},
         }) {
        INFO(bad.pointer << " " << bad.value.dump());
        Json json = example_json();
        json[Json::json_pointer(bad.pointer)] = bad.value;
        CHECK_THAT(message_of(parse_manifest(sealed(json))), Catch::Contains(bad.named));
        CHECK_FALSE(parse_manifest(json.dump()));
    }
    for (const char* key : {"format", "version", "digest", "program", "guest", "regions", "devices",
                            "machine", "settings", "page-size"}) {
        Json json = example_json();
        json.erase(key);
        INFO(key);
        CHECK_FALSE(parse_manifest(std::string_view(key) == "digest" ? json.dump() : sealed(json)));
    }
    CHECK_FALSE(parse_manifest(std::string(100'000, '[')));
    const std::string deep = std::string(400'000, '[') + std::string(400'000, ']');
    CHECK_THAT(message_of(parse_manifest(R"({"format":"migrate-bundle","version":1,"digest":"a",)"
                                         R"("regions":)" +
                                         deep + "}")),
               Catch::Contains("changed or damaged"));
    CHECK_FALSE(parse_manifest("{\"format\":\"migrate-bundle\xFF\"}"));
}

TEST_CASE("only the names that a writer gives are those of a bundle's files") {
    for (const char* name :
         {"manifest.json", "memory-0.0123456789abcdef", "memory-255.0123456789abcdef",
          "devices.0123456789abcdef", "manifest.0123456789abcdef"}) {
        CHECK(is_bundle_name(name));
    }
    for (const char* name :
         {"", ".", "memory", "memory-.0123456789abcdef", "memory-0.0123456789abcde",
          "memory-0.0123456789abcdeF", "memory-x.0123456789abcdef",
          "memory-123456.0123456789abcdef", "devices", "devices.json", "manifest.json~",
          "other.0123456789abcdef", "memory-0.0123456789abcdef.bak"}) {
        INFO(name);
        CHECK_FALSE(is_bundle_name(name));
    }
    CHECK(is_bundle_name("devices." + must(new_bundle_id())));
}

// Writes a bundle of one region up to and including the step.
enum class Step { kMemory, kComplete, kPublished };
std::shared_ptr<BundleWriter> write_up_to(const std::string& path, Step step) {
    auto writer = must(BundleWriter::create(path));
    writer->describe({.kind = "workload"});
    memory::FilesSink memory("bundle:",
                             [&](std::size_t region) { return writer->make_region(region); });
    const std::vector<RegionInfo> regions{{"ram", kPageSize}};
    must(memory.prepare(regions));
    if (step >= Step::kComplete) must(writer->complete(memory, "state"));
    if (step >= Step::kPublished) must(writer->publish());
    return writer;
}

BundleManifest manifest_in(const std::string& path) {
    return must(parse_manifest(read_file(path + "/manifest.json")));
}

TEST_CASE("a bundle appears with its last step, and only this user can read it") {
    const TemporaryFolder parent;
    const std::string path = parent / "bundle";
    for (const Step step : {Step::kMemory, Step::kComplete}) {
        write_up_to(path, step);
        CHECK(std::filesystem::is_empty(path));
    }
    write_up_to(path, Step::kPublished);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777U) == 0700);
    unsigned files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        REQUIRE(::stat(entry.path().c_str(), &status) == 0);
        CHECK((status.st_mode & 07777U) == 0600);
        ++files;
    }
    CHECK(files == 3);
    CHECK(manifest_in(path).guest == "workload");
}

TEST_CASE("a bundle stays whole until the next one takes its place") {
    const TemporaryFolder parent;
    const std::string path = parent / "bundle";
    write_up_to(path, Step::kPublished);
    const std::string first = read_file(path + "/manifest.json");
    const std::string file = manifest_in(path).regions[0].file;
    {
        const auto writer = write_up_to(path, Step::kComplete);
        CHECK(read_file(path + "/manifest.json") == first);
        CHECK(std::filesystem::exists(path + "/" + file));
        must(writer->publish());
    }
    CHECK(read_file(path + "/manifest.json") != first);
    CHECK_FALSE(std::filesystem::exists(path + "/" + file));
    CHECK(std::filesystem::exists(path + "/" + manifest_in(path).regions[0].file));
}

TEST_CASE("what a killed writer left is removed by the next one, and the bundle is not") {
    const TemporaryFolder parent;
    const std::string path = parent / "bundle";
    write_up_to(path, Step::kPublished);
    for (const char* name : {"/memory-0.00000000000000aa", "/devices.00000000000000aa",
                             "/manifest.00000000000000aa"}) {
        write_file(path + name, "left");
    }
    must(BundleWriter::create(path));
    unsigned files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        CHECK(entry.path().string().find("00aa") == std::string::npos);
        ++files;
    }
    CHECK(files == 3);
}

TEST_CASE("a folder that holds something else is not used, and stays as it is") {
    const TemporaryFolder parent;
    write_file(parent / "letter.txt", "dear");
    CHECK_THAT(message_of(BundleWriter::create(parent.path())), Catch::Contains("'letter.txt'"));
    CHECK_THAT(message_of(BundleWriter::create(parent / "letter.txt")),
               Catch::Contains("not a folder"));
    CHECK_THAT(message_of(BundleWriter::create(parent / "no/such")), Catch::Contains("make the"));
    const std::string other = parent / "other";
    must(make_bundle_folder(other));
    write_file(other + "/manifest.json", "{\"format\": \"of another program\"}");
    CHECK_THAT(message_of(BundleWriter::create(other)), Catch::Contains("not whole"));
    CHECK(read_file(other + "/manifest.json").size() == 32);
    CHECK(parent.names().size() == 2);
}

TEST_CASE("a folder has one writer or several readers") {
    const TemporaryFolder parent;
    const std::string path = parent / "bundle";
    {
        const auto writer = write_up_to(path, Step::kMemory);
        CHECK_THAT(message_of(BundleWriter::create(path)), Catch::Contains("another migrate uses"));
        CHECK_THAT(message_of(BundleFolder::open(path, BundleFolder::Use::kRead)),
                   Catch::Contains("another migrate writes"));
    }
    const BundleFolder one = must(BundleFolder::open(path, BundleFolder::Use::kRead));
    const BundleFolder two = must(BundleFolder::open(path, BundleFolder::Use::kRead));
    CHECK_THAT(message_of(BundleWriter::create(path)), Catch::Contains("another migrate uses"));
}

TEST_CASE("only regular files of the folder itself are opened") {
    const TemporaryFolder folder;
    const std::string name = "devices.0123456789abcdef";
    const BundleFolder bundle = must(BundleFolder::open(folder.path(), BundleFolder::Use::kRead));
    const auto refused = [&](const char* reason) {
        CHECK_THAT(message_of(bundle.read(name, kMiB)), Catch::Contains(reason));
        std::filesystem::remove_all(folder / name);
    };
    refused("No such file");
    write_file(folder / "target", "secret");
    std::filesystem::create_symlink(folder / "target", folder / name);
    refused("a symbolic link");
    REQUIRE(::mkfifo((folder / name).c_str(), 0600) == 0);
    refused("a FIFO");
    std::filesystem::create_directory(folder / name);
    refused("a folder");
    write_file(folder / name, std::string(kMiB + 1, 'x'));
    refused("1048577 bytes");
}

}  // namespace
}  // namespace migrate::guest
