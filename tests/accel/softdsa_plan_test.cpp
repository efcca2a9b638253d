// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>

#include "accel/softdsa/in_process.hpp"
#include "softdsa_client.hpp"

namespace migrate::accel::softdsa {
namespace {

TEST_CASE("a fault plan prints as what was read, whatever separates its words") {
    const std::string text =
        "seed=7,full=3@10,wq1.full=ever,fault-byte=100@5,fault-byte=any@0.125,list-fault=2@/3,"
        "bad-child=any,batch-status=0x13@4+,status=0x83@3,wrong@0.001,record-fault@9,drop@0.01,"
        "late=2ms,reorder,halt-after=50,open=EBUSY@0,mmap=EPERM,write=EAGAIN@1.0";
    const ParsedFaultPlan parsed = parse_fault_plan(text);
    CHECK(parsed.error.empty());
    CHECK(to_string(parsed.plan) == text);
    std::string nested = text;
    std::replace(nested.begin(), nested.end(), ',', ':');
    CHECK(parse_fault_plan(nested).plan == parsed.plan);
    CHECK(parse_fault_plan("").plan == FaultPlan{});
    CHECK(parse_fault_plan("random=12").plan == random_plan(12));
}

TEST_CASE("a wrong word of a fault plan is named") {
    for (const std::string word :
         {"nonsense",     "full",       "full=0",         "full=x",   "drop=1",
          "drop@",        "drop@x",     "drop@1.5",       "drop@0.",  "drop@/0",
          "late=5",       "late=2h",    "late=9999s",     "status=1", "status=0x81",
          "status=0x100", "open=EWHAT", "halt-after=3@1", "wq.drop",  "wq999.drop",
          "seed=x",       "random=",    "fault-byte=-1",  "=3",       "@3"}) {
        INFO(word);
        const std::string error = parse_fault_plan("seed=1," + word + ",reorder").error;
        CHECK(error.find("'" + word + "'") != std::string::npos);
    }
    CHECK_FALSE(parse_fault_plan("drop,").error.empty());
    CHECK_FALSE(parse_fault_plan(",drop").error.empty());
}

TEST_CASE("random plans repeat by their seed, differ, print back, and use every kind they may") {
    std::vector<int> kinds(16);
    for (std::uint64_t seed = 0; seed < 1000; ++seed) {
        const FaultPlan plan = random_plan(seed);
        CHECK(plan == random_plan(seed));
        CHECK_FALSE(plan == random_plan(seed + 1));
        const ParsedFaultPlan again = parse_fault_plan(to_string(plan));
        INFO(to_string(plan) << " " << again.error);
        CHECK(again.plan == plan);
        for (const FaultRule& rule : plan.rules) ++kinds[static_cast<std::size_t>(rule.kind)];
    }
    for (int kind = 0; kind < 16; ++kind) {
        const auto is = [&](FaultKind other) { return kind == static_cast<int>(other); };
        const bool never = is(FaultKind::kWrong) || is(FaultKind::kOpenError) ||
                           is(FaultKind::kMapError) || is(FaultKind::kWriteError) || kind == 15;
        INFO("kind " << kind);
        CHECK((kinds[static_cast<std::size_t>(kind)] == 0) == never);
    }
}

TEST_CASE("the words of softdsa: make queues with names and limits") {
    auto portals = open_in_process("2,devices=2,size=64,threshold=40,batch=16,transfer=64K");
    REQUIRE(portals);
    REQUIRE(portals->size() == 4);
    CHECK((*portals)[1]->name() == "softdsa:0.1");
    CHECK((*portals)[2]->name() == "softdsa:1.0");
    const dsa::Portal& portal = *(*portals)[3];
    CHECK(portal.is_software());
    CHECK(portal.numa_node() == -1);
    CHECK(portal.limits().mode == dsa::QueueMode::kShared);
    CHECK(portal.limits().entries == 40);
    CHECK(portal.limits().batch == 16);
    CHECK(portal.limits().transfer_bytes == 65536);

    auto dedicated = open_in_process("mode=dedicated,size=9,timing=on,engines=2");
    REQUIRE(dedicated);
    REQUIRE(dedicated->size() == 1);
    CHECK((*dedicated)[0]->limits().entries == 9);
    CHECK((*dedicated)[0]->limits().mode == dsa::QueueMode::kDedicated);
    REQUIRE(open_in_process(""));
}

TEST_CASE("a portal of either mode takes descriptors and its device lives as long as it") {
    for (const std::string words : {"1", "1,mode=dedicated"}) {
        auto portals = open_in_process(words);
        REQUIRE(portals);
        std::unique_ptr<dsa::Portal> portal = std::move(portals->front());
        portals->clear();
        std::vector<CompletionRecord> records(3);
        std::vector<Descriptor> descriptors;
        for (const CompletionRecord& record : records) {
            descriptors.push_back(make(Opcode::kNoop, 0, 0, 0));
            descriptors.back().completion_address = address_of(&record);
        }
        CHECK(portal->submit(descriptors) == 3);
        for (const CompletionRecord& record : records) CHECK(wait_for(record) == 1);
    }
}

TEST_CASE("with engines=0, a portal answers before submit() returns") {
    auto portals = open_in_process("1,engines=0,size=2");
    REQUIRE(portals);
    std::vector<CompletionRecord> records(5);
    std::vector<Descriptor> descriptors;
    for (const CompletionRecord& record : records) {
        descriptors.push_back(make(Opcode::kNoop, 0, 0, 0));
        descriptors.back().completion_address = address_of(&record);
    }
    CHECK(portals->front()->submit(descriptors) == records.size());
    for (const CompletionRecord& record : records) CHECK(record.status == 1);
}

TEST_CASE("a wrong word of softdsa: is a usage error that names it") {
    for (const std::string word :
         {"devices=0", "devices=9", "mode=mine", "size=5000", "batch=2000", "timing=yes",
          "faults=drop:bad-word", "speed=3", "block-on-fault=", "engines="}) {
        INFO(word);
        const auto config = parse_in_process("size=16," + word);
        REQUIRE_FALSE(config);
        CHECK(config.error().kind() == ErrorKind::kUsage);
        CHECK(config.error().message().find(word.substr(0, word.find('='))) != std::string::npos);
    }
    for (const char* queues : {"0", "9", "x", "1,2"}) CHECK_FALSE(parse_in_process(queues));
    CHECK_FALSE(parse_in_process("threshold=200"));
    CHECK_FALSE(parse_in_process("2,"));
}

TEST_CASE("planned errors of open and mmap keep a portal from being opened") {
    const auto busy = open_in_process("2,faults=wq1.open=EBUSY");
    REQUIRE_FALSE(busy);
    CHECK(busy.error().message() == "cannot open softdsa:0.1: Device or resource busy");
    const auto refused = open_in_process("faults=mmap=EPERM");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("Operation not permitted") != std::string::npos);
}

TEST_CASE("planned errors happen at the opening, the mapping and the descriptor they are for") {
    auto device = started(with_faults("open=EBUSY@1,mmap=EPERM@0,write=EAGAIN@2"));
    CHECK(device->open_error(0) == 0);
    CHECK(device->open_error(0) == EBUSY);
    CHECK(device->open_error(0) == 0);
    CHECK(device->map_error(0) == EPERM);
    CHECK(device->map_error(0) == 0);
    std::vector<Descriptor> list(4);
    const auto bytes = static_cast<std::ptrdiff_t>(sizeof(Descriptor));
    CHECK(device->write(0, list.data(), 4 * sizeof(Descriptor)) == 2 * bytes);
    CHECK(device->write(0, list.data(), 2 * sizeof(Descriptor)) == 2 * bytes);
}

}  // namespace
}  // namespace migrate::accel::softdsa
