// SPDX-License-Identifier: Apache-2.0
#include "qmp/dispatcher.hpp"

#include <charconv>
#include <optional>

#include "base/catching.hpp"
#include "base/version.hpp"

namespace migrate::qmp {
namespace {

constexpr std::string_view kNegotiate = "qmp_capabilities";

// Returns the next number of a version such as 0.1.0, and removes it and the dot from `text`.
unsigned take_number(std::string_view& text) {
    unsigned number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty()) text.remove_prefix(1);
    return error == std::errc{} ? number : 0;
}

Json version() {
    std::string_view text = kVersion;
    const unsigned major = take_number(text);
    const unsigned minor = take_number(text);
    const unsigned micro = take_number(text);
    // The specification fixes the member's name, whatever program serves; "package" names the
    // program.
    return {{"qemu", {{"micro", micro}, {"minor", minor}, {"major", major}}},
            {"package", fmt::format("migrate {}", kVersion)}};
}

Json make_return(Json value) {
    Json answer = Json::object();
    answer["return"] = std::move(value);
    return answer;
}

// Returns the error in the form of a request, if any.
std::optional<std::string> find_fault(const Json& request) {
    if (!request.is_object()) return "QMP input must be a JSON object";
    for (const auto& [key, value] : request.items()) {
        if (key == "execute" && !value.is_string())
            return "QMP input member 'execute' must be a string";
        if (key == "arguments" && !value.is_object())
            return "QMP input member 'arguments' must be an object";
        if (key != "execute" && key != "arguments" && key != "id")
            return fmt::format("QMP input member '{}' is unexpected", key);
    }
    if (!request.contains("execute")) return "QMP input lacks member 'execute'";
    return std::nullopt;
}

// Returns the error in the arguments of qmp_capabilities, if any: no capability is offered.
std::optional<std::string> find_capability_fault(const Json& arguments) {
    for (const auto& [key, value] : arguments.items()) {
        if (key != "enable") return fmt::format("Parameter '{}' is unexpected", key);
        if (!value.is_array()) return "Parameter 'enable' must be an array";
        if (!value.empty()) {
            return fmt::format("Capability {} is not available; none is offered",
                               value.front().dump(-1, ' ', true, Json::error_handler_t::replace));
        }
    }
    return std::nullopt;
}

Json negotiate(const Json& arguments, Session& session) {
    if (session.negotiated) {
        return make_error_answer(kCommandNotFound,
                                 "Capabilities negotiation is over; the command was ignored");
    }
    if (const auto fault = find_capability_fault(arguments))
        return make_error_answer(kGenericError, *fault);
    session.negotiated = true;
    return make_return(Json::object());
}

// A command that takes no arguments and always returns `value`.
Command fixed(Json value) {
    return [value = std::move(value)](const Json& arguments) -> Result<Json> {
        if (!arguments.empty())
            return make_error("Parameter '{}' is unexpected", arguments.begin().key());
        return value;
    };
}

Json run(const Command& command, const Json& arguments) {
    try {
        Result<Json> value = command(arguments);
        if (!value) return make_error_answer(kGenericError, value.error().message());
        return make_return(*std::move(value));
    } catch (...) {
        // A command that fails must not end the program that serves it.
        return make_error_answer(kGenericError, error_of_exception("the command failed").message());
    }
}

}  // namespace

Result<Dispatcher> Dispatcher::create(Commands commands) {
    Json names = Json::array();
    for (const std::string_view own :
         {kNegotiate, std::string_view("query-commands"), std::string_view("query-version")}) {
        if (commands.count(std::string(own)) != 0)
            return make_error("the QMP command {} is the server's own", own);
        names.push_back({{"name", own}});
    }
    for (const auto& [name, command] : commands) names.push_back({{"name", name}});
    commands.emplace("query-commands", fixed(std::move(names)));
    commands.emplace("query-version", fixed(version()));
    return Dispatcher(std::move(commands));
}

Json Dispatcher::greeting() {
    return {{"QMP", {{"version", version()}, {"capabilities", Json::array()}}}};
}

Json Dispatcher::answer(const Result<Json>& request, Session& session) const {
    if (!request) return make_error_answer(kGenericError, request.error().message());
    Json answer = execute(*request, session);
    if (request->is_object()) {
        if (const auto id = request->find("id"); id != request->end()) answer["id"] = *id;
    }
    return answer;
}

Json Dispatcher::execute(const Json& request, Session& session) const {
    if (const auto fault = find_fault(request)) return make_error_answer(kGenericError, *fault);
    const auto& name = request.at("execute").get_ref<const std::string&>();
    const auto given = request.find("arguments");
    const Json arguments = given == request.end() ? Json::object() : *given;
    if (name == kNegotiate) return negotiate(arguments, session);
    if (!session.negotiated) {
        return make_error_answer(kCommandNotFound,
                                 "Expecting capabilities negotiation with 'qmp_capabilities'");
    }
    const auto command = commands_.find(name);
    if (command == commands_.end()) {
        return make_error_answer(kCommandNotFound,
                                 fmt::format("The command {} has not been found", name));
    }
    return run(command->second, arguments);
}

}  // namespace migrate::qmp
