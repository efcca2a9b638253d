// SPDX-License-Identifier: Apache-2.0
#include "base/config/form.hpp"

#include <string>

#include "base/config/option_lookup.hpp"
#include "catch.hpp"

using namespace migrate;

namespace {

std::string source_error(std::string_view text) {
    const auto parsed = parse_form_of<"source">(text);
    INFO(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().kind() == ErrorKind::kUsage);
    return parsed.error().message();
}

ParsedForm source(std::string_view text) {
    auto parsed = parse_form_of<"source">(text);
    INFO(text);
    REQUIRE(parsed);
    return *std::move(parsed);
}

ParsedForm sink(std::string_view text) {
    auto parsed = parse_form_of<"sink">(text);
    INFO(text);
    REQUIRE(parsed);
    return *std::move(parsed);
}

bool contains(const std::string& text, std::string_view part) {
    INFO(text);
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("every form and word is complete, and a word's default is allowed") {
    for (const FormTable* table : {&kSources, &kSinks, &kDevices, &kAccelPaths, &kPaths}) {
        for (const Form& form : table->forms) {
            INFO(form.name);
            CHECK(form.help.ends_with('.'));
            const std::string begin = form.name.empty() ? std::string(form.words.front().key) + "="
                                                        : std::string(form.name) + ":";
            CHECK(form_syntax(form).starts_with(begin));
            for (const Option& word : form.words) {
                INFO(word.key);
                CHECK(word.help.ends_with('.'));
                CHECK_FALSE(value_name_of(word).empty());
                CHECK((word.type == OptionType::kChoice) == !word.choices.empty());
                if (!word.default_text.empty()) CHECK(parse_value(word, word.default_text));
            }
        }
    }
}

TEST_CASE("a text without a form's name is a path, and so is one whose colon follows a slash") {
    for (const std::string_view path : {"guest.mem", "/tmp/a:b", "./a:b", "a,b", "/a,fill=x"}) {
        CHECK(source(path).is("file"));
        CHECK(source(path).operand.value.text == path);
    }
    CHECK(source("file:a:b,c").operand.value.text == "a:b,c");
}

TEST_CASE("the words of a form are understood in any order, and have their defaults") {
    const ParsedForm parsed = source("anon:2M,huge=on,fill=mixed:30");
    const Words<kAnonSourceWords> words(parsed);
    CHECK(parsed.operand.value.number == 2 * kMiB);
    CHECK(words.get<"fill", AnonFill>() == AnonFill::kMixed);
    CHECK(words.get<"fill", unsigned>() == 30);
    CHECK(words.get<"huge">());
    const ParsedForm plain = source("anon:8192");
    CHECK(Words<kAnonSourceWords>(plain).get<"fill", AnonFill>() == AnonFill::kUntouched);
    CHECK_FALSE(Words<kAnonSourceWords>(plain).has<"fill">());
    CHECK_FALSE(Words<kAnonSourceWords>(plain).get<"huge">());
    CHECK(Words<kMemorySinkWords>(sink("anon:")).get<"huge">());
    CHECK_FALSE(Words<kMemorySinkWords>(sink("memfd:huge=off")).get<"huge">());
}

TEST_CASE("a word that repeats collects its values") {
    const ParsedForm parsed = source("pid:7,map=/dev/shm/a b,pause=sigstop,map=c");
    const Words<kProcessWords> words(parsed);
    CHECK(parsed.operand.value.number == 7);
    CHECK(split_values(words.get<"map">()) == std::vector<std::string_view>{"/dev/shm/a b", "c"});
    CHECK(words.get<"pause", PauseBy>() == PauseBy::kSigstop);
}

TEST_CASE("an operand that may be missing leaves the words that follow the colon") {
    for (const std::string_view text :
         {"softdsa:", "softdsa:1", "softdsa:mode=shared", "softdsa:1,mode=shared"}) {
        const auto parsed = parse_forms_of<"accel-path">(text);
        INFO(text);
        REQUIRE(parsed);
        CHECK(parsed->front().operand.value.number == 1);
    }
    const auto both =
        parse_forms_of<"accel-path">(" softdsa:2,mode=dedicated  dsa:/dev/dsa/wq0.0 ");
    REQUIRE(both);
    REQUIRE(both->size() == 2);
    CHECK(both->front().operand.value.number == 2);
    CHECK(both->back().rest == "/dev/dsa/wq0.0");
    CHECK(parse_forms_of<"accel-path">("")->empty());
}

TEST_CASE("an error names the option, the text, what is wrong, and what is allowed") {
    CHECK(source_error("annon:1G") ==
          "option source: 'annon:1G': there is no kind 'annon:'; write file:PATH, anon:SIZE, "
          "workload:SIZE, qemu:QMP-SOCKET, bundle:DIR or pid:PID (a file of that name is "
          "file:annon:1G)");
    CHECK(source_error("") ==
          "option source: '': write file:PATH, anon:SIZE, workload:SIZE, qemu:QMP-SOCKET, "
          "bundle:DIR or pid:PID");
    CHECK(source_error("anon:1G,fill=ones") ==
          "option source: 'anon:1G,fill=ones': fill: must be untouched, read, zero, random or "
          "mixed:N, not 'ones'");
    CHECK(source_error("anon:1G,fil=zero") ==
          "option source: 'anon:1G,fil=zero': unknown word 'fil'; anon: takes fill and huge");
    CHECK(source_error("anon:1G,huge") ==
          "option source: 'anon:1G,huge': huge needs a value: huge=on|off");
    CHECK(source_error("anon:") ==
          "option source: 'anon:': SIZE is missing: write anon:SIZE[,WORD=VALUE…]");
    CHECK(source_error("workload:4M,rate=102401") ==
          "option source: 'workload:4M,rate=102401': rate: 102401 is out of range 0 … 102400");
    CHECK(source_error("pid:7") == "option source: 'pid:7': map=FILE is missing");
}

TEST_CASE("a form's mistakes are found, whatever they are") {
    struct Bad {
        std::string_view text;
        std::string_view reason;
    };
    for (const Bad& bad : {Bad{"anon:1G,fill=", "fill needs a value"},
                           Bad{"anon:1G,fill=mixed:", "N must be 0 … 100"},
                           Bad{"anon:1G,fill=mixed:101", "not '101'"},
                           Bad{"anon:1G,fill=mixed:5x", "not '5x'"},
                           Bad{"anon:1G,fill=mixed", "mixed:N"},
                           Bad{"anon:1G,huge=maybe", "on or off"},
                           Bad{"anon:1G,,huge=on", "a word is missing"},
                           Bad{"anon:1G,", "a word is missing"},
                           Bad{"anon:1G,huge=on,", "a word is missing"},
                           Bad{"anon:1G,huge=on,huge=on", "huge is given twice"},
                           Bad{"anon:many", "'many'"},
                           Bad{"anon:0", "out of range"},
                           Bad{"anon:4097", "not a multiple of 4K"},
                           Bad{"file:", "PATH is missing"},
                           Bad{"qemu:", "QMP-SOCKET is missing"},
                           Bad{"qemu:s,pid=0", "pid: 0 is out of range"},
                           Bad{"qemu:s,unseen-processes=allow", "pid"},
                           Bad{"pid:x,map=f", "'x' is not a whole number"},
                           Bad{"pid:-1,map=f", "'-1'"},
                           Bad{"pid:4294967297,map=f", "out of range"},
                           Bad{"pid:1,map=f,pause=x", "sigstop"},
                           Bad{"workload:4M,seed=-1", "'-1'"},
                           Bad{"workload:4M,threads=65", "1 … 64"},
                           Bad{":", "there is no kind ':'"},
                           Bad{"null:", "there is no kind 'null:'"}}) {
        CHECK(contains(source_error(bad.text), bad.reason));
    }
    const auto after_null = parse_form_of<"sink">("null:x");
    REQUIRE_FALSE(after_null);
    CHECK(after_null.error().message() ==
          "option sink: 'null:x': nothing may follow null:, but 'x' does");
    const auto list = parse_forms_of<"devices">("sim:a b:c");
    REQUIRE_FALSE(list);
    CHECK(list.error().message() ==
          "option devices: 'b:c': there is no kind 'b:'; write file:NAME=PATH, fd:NAME=NUMBER or "
          "sim:NAME");
}

TEST_CASE("a form without a name has words only") {
    const auto all = parse_forms(kPaths, "remote=[::1]:5,dev=eth0  channels=3,remote=a:1");
    REQUIRE(all);
    REQUIRE(all->size() == 2);
    const Words<kPathWords> first((*all)[0]);
    CHECK(first.get<"remote">() == "[::1]:5");
    CHECK(first.get<"dev">() == "eth0");
    CHECK_FALSE(first.has<"channels">());
    CHECK(Words<kPathWords>((*all)[1]).get<"channels">() == 3);
    CHECK(form_syntax(kPathForms.front()) == "remote=HOST:PORT[,WORD=VALUE…]");
    const auto refused = [](std::string_view text) {
        const auto parsed = parse_form(kPaths, text);
        REQUIRE_FALSE(parsed);
        return parsed.error().message();
    };
    CHECK(contains(refused("a:1"), "'a:1': unknown word 'a:1'; it takes remote, local, dev"));
    CHECK(contains(refused("remote=a"), "remote: 'a' is not HOST:PORT"));
    CHECK(contains(refused("remote=a:1,"), "a word is missing at a comma; it takes remote"));
    CHECK(contains(refused("remote=a:1,channels=256"), "channels: 256 is out of range 1 … 255"));
    CHECK(contains(refused("remote=a:1,remote=b:1"), "remote is given twice"));
    CHECK(contains(refused("dev=eth0"), "remote=HOST:PORT is missing"));
}

TEST_CASE("a form that needs no operand may be its name alone") {
    const auto creds = [](std::string_view text) {
        auto parsed = parse_form_of<"tls-creds">(text);
        INFO(text);
        REQUIRE(parsed);
        return *std::move(parsed);
    };
    for (const char* text : {"none", "none:"}) CHECK(creds(text).is("none"));
    for (const char* text : {"x509", "x509:"}) {
        CHECK(creds(text).operand.value.text == "/etc/pki/qemu");
    }
    CHECK(creds("x509:/etc/pki/migrate,1").operand.value.text == "/etc/pki/migrate,1");
    const ParsedForm psk = creds("psk:keys.psk,identity=guest-1");
    CHECK(psk.operand.value.text == "keys.psk");
    CHECK(Words<kPskWords>(psk).get<"identity">() == "guest-1");
    CHECK(Words<kPskWords>(creds("psk:new=/run/key")).get<"new">() == "/run/key");
    for (const char* text : {"psk", "tls", "none:x", "x509/dir"}) {
        INFO(text);
        CHECK_FALSE(parse_form_of<"tls-creds">(text));
    }
}
