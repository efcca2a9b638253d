// SPDX-License-Identifier: Apache-2.0
#include "cli/qmp_commands.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config/setting_value.hpp"
#include "base/mutex.hpp"
#include "cli/config_file.hpp"
#include "cli/report_context.hpp"

namespace migrate::cli {
namespace {

using qmp::Json;

Status no_arguments(const Json& arguments) {
    if (arguments.empty()) return {};
    return make_error("parameter '{}' is unexpected", arguments.begin().key());
}

// QEMU answers with an empty object before there is a migration.
Result<Json> query_migrate(const QmpTarget& target, const Settings& settings,
                           const Json& arguments) {
    MIGRATE_TRY(no_arguments(arguments));
    engine::Report report = target.report();
    if (report.status == engine::MigrationStatus::kNone) return Json::object();
    add_context(report, settings);
    return Json::parse(to_json(report));
}

Result<Json> query_status(const QmpTarget& target, const Json& arguments) {
    MIGRATE_TRY(no_arguments(arguments));
    const engine::Report report = target.report();
    // Without a guest nothing runs.
    const std::string state = report.guest            ? report.guest->state
                              : report.side == "recv" ? "inmigrate"
                                                      : "paused";
    return Json{{"status", state}, {"running", state == "running"}};
}

// The supported part of QEMU's MigrationCapability: an option of the same name, or a part of every
// migration.
struct Capability {
    std::string_view name;
    bool always = false;
};
constexpr std::array kCapabilities{
    Capability{"auto-converge"},     Capability{"events", true},
    Capability{"return-path", true}, Capability{"pause-before-switchover"},
    Capability{"multifd", true},     Capability{"switchover-ack"},
    Capability{"postcopy-ram"}};

// The option postcopy sets this one, too.
constexpr std::string_view kPostcopy = "postcopy-ram";

// Parses the list of migrate-set-capabilities: [{"capability": NAME, "state": BOOL}, …].
Result<std::vector<std::pair<const Capability*, bool>>> wanted_capabilities(const Json& arguments) {
    std::vector<std::pair<const Capability*, bool>> wanted;
    const auto list = arguments.find("capabilities");
    if (list == arguments.end() || !list->is_array() || arguments.size() != 1) {
        return make_error("migrate-set-capabilities needs the argument 'capabilities': a list");
    }
    for (const Json& entry : *list) {
        if (!entry.is_object() || entry.size() != 2 || !entry.contains("capability") ||
            !entry["capability"].is_string() || !entry.contains("state") ||
            !entry["state"].is_boolean()) {
            return make_error("'capabilities' needs entries {{'capability': NAME, 'state': BOOL}}");
        }
        const auto& name = entry["capability"].get_ref<const std::string&>();
        const auto* known = std::find_if(kCapabilities.begin(), kCapabilities.end(),
                                         [&](const Capability& one) { return one.name == name; });
        if (known == kCapabilities.end()) {
            return make_error("parameter 'capability' does not accept value '{}'", name);
        }
        wanted.emplace_back(known, entry["state"].get<bool>());
    }
    return wanted;
}

// The settings that a client may change, and the lock that guards them.
class Parameters {
  public:
    explicit Parameters(const Settings& settings) : settings_(settings) {}

    Result<Json> query(const Json& arguments) const {
        MIGRATE_TRY(no_arguments(arguments));
        const MutexLock lock(mutex_);
        // Numbers are in QEMU's units: milliseconds, bytes, bytes per second.
        Json parameters = Json::object();
        for (const auto& [key, value] : setting_values(settings_)) {
            std::visit([&, name = key](const auto& held) { parameters[name] = held; }, value);
        }
        return parameters;
    }

    Result<Json> query_capabilities(const Json& arguments) const {
        MIGRATE_TRY(no_arguments(arguments));
        const MutexLock lock(mutex_);
        Json list = Json::array();
        for (const Capability& capability : kCapabilities) {
            list.push_back({{"capability", capability.name}, {"state", is_on(capability)}});
        }
        return list;
    }

    // Sets all of them or none.
    Result<Settings> set_capabilities(const Json& arguments) {
        MIGRATE_ASSIGN(const auto wanted, wanted_capabilities(arguments));
        const MutexLock lock(mutex_);
        Settings changed = settings_;
        for (const auto& [capability, state] : wanted) {
            if (state == is_on(*capability)) continue;
            if (capability->always) {
                return make_error("capability '{}' is part of every migration here",
                                  capability->name);
            }
            MIGRATE_ASSIGN(const std::size_t index,
                           find_option_for(capability->name, changed.side()));
            if (!kOptions[index].live) {
                return make_error(
                    "capability '{}' cannot be changed while a migration runs: start it with the "
                    "option --{}",
                    capability->name, capability->name);
            }
            MIGRATE_TRY(changed.set(capability->name, state ? "on" : "off"));
        }
        MIGRATE_TRY(validate(changed));
        settings_ = changed;
        return changed;
    }

    // Sets all of them or none.
    Result<Settings> set(const Json& arguments) {
        const MutexLock lock(mutex_);
        Settings changed = settings_;
        for (const auto& [key, value] : arguments.items()) {
            MIGRATE_ASSIGN(const std::size_t index, find_option_for(key, changed.side()));
            if (!kOptions[index].live) {
                return make_error("parameter '{}' cannot be changed while a migration runs", key);
            }
            MIGRATE_TRY(set_from_json_text(key, value.dump(), changed));
        }
        MIGRATE_TRY(validate(changed));
        settings_ = changed;
        return changed;
    }

  private:
    bool is_on(const Capability& capability) const REQUIRES(mutex_) {
        if (capability.name == kPostcopy && settings_.get<"postcopy">() != "off") return true;
        return capability.always || settings_.value(find_option(capability.name)).number != 0;
    }

    mutable Mutex mutex_;
    Settings settings_ GUARDED_BY(mutex_);
};

}  // namespace

std::map<std::string, qmp::Command> qmp_commands(QmpTarget target, const Settings& settings) {
    const auto shared = std::make_shared<QmpTarget>(std::move(target));
    const auto parameters = std::make_shared<Parameters>(settings);
    std::map<std::string, qmp::Command> commands;
    commands["query-migrate"] = [shared, settings](const Json& args) {
        return query_migrate(*shared, settings, args);
    };
    commands["query-status"] = [shared](const Json& args) { return query_status(*shared, args); };
    commands["query-migrate-parameters"] = [parameters](const Json& args) {
        return parameters->query(args);
    };
    commands["query-migrate-capabilities"] = [parameters](const Json& args) {
        return parameters->query_capabilities(args);
    };
    commands["migrate_cancel"] = [shared](const Json& args) -> Result<Json> {
        MIGRATE_TRY(no_arguments(args));
        shared->cancel();
        return Json::object();
    };
    if (shared->change) {
        commands["migrate-set-parameters"] = [shared,
                                              parameters](const Json& args) -> Result<Json> {
            MIGRATE_ASSIGN(const Settings changed, parameters->set(args));
            shared->change(changed);
            return Json::object();
        };
        commands["migrate-set-capabilities"] = [shared,
                                                parameters](const Json& args) -> Result<Json> {
            MIGRATE_ASSIGN(const Settings changed, parameters->set_capabilities(args));
            shared->change(changed);
            return Json::object();
        };
    }
    if (shared->continue_switchover) {
        commands["migrate-continue"] = [shared](const Json& args) -> Result<Json> {
            const auto state = args.find("state");
            if (args.size() != 1 || state == args.end() || *state != "pre-switchover") {
                return make_error("migrate-continue needs the argument 'state': 'pre-switchover'");
            }
            MIGRATE_TRY(shared->continue_switchover());
            return Json::object();
        };
    }
    if (shared->start_postcopy) {
        commands["migrate-start-postcopy"] = [shared](const Json& args) -> Result<Json> {
            MIGRATE_TRY(no_arguments(args));
            MIGRATE_TRY(shared->start_postcopy());
            return Json::object();
        };
    }
    return commands;
}

Result<std::unique_ptr<qmp::Server>> serve_qmp(const Settings& settings, QmpTarget target,
                                               engine::EventLog& events) {
    const std::string& address = settings.get<"qmp">();
    if (address.empty()) return std::unique_ptr<qmp::Server>();
    MIGRATE_ASSIGN(auto server,
                   qmp::Server::create(address, qmp_commands(std::move(target), settings)));
    events.listen([server = server.get()](std::string_view event, const std::string& data) {
        server->broadcast(event, Json::parse(data));
    });
    return server;
}

}  // namespace migrate::cli
