// SPDX-License-Identifier: Apache-2.0
#include "cli/output_paths.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "base/replacement_file.hpp"
#include "cli/usage_error.hpp"
#include "devices/device_spec.hpp"
#include "guest/bundle/bundle_folder.hpp"
#include "memory/sink/resumable_sink.hpp"

namespace migrate::cli {
namespace {

enum class Use {
    kInput,
    kOutput,   // a file that is replaced
    kWritten,  // written or created under rules of its own: a socket, a device's stream
    kReused,   // read, and the sink may replace it
    kStandardOutput,
};

struct NamedFile {
    std::string option;  // "--stats FILE"
    std::string path;    // empty: a descriptor
    Use use = Use::kInput;
    int fd = -1;
    bool is_sink = false;  // takes the memory
};

// Identifies a file by its inode, or a name in a folder by the folder's inode and the name.
struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    std::string name{};
    bool operator==(const Identity&) const = default;
};

std::optional<Identity> identity_of(const NamedFile& file) {
    struct stat status {};
    const int failed =
        file.path.empty() ? ::fstat(file.fd, &status) : ::stat(file.path.c_str(), &status);
    if (failed != 0) return std::nullopt;
    // Several outputs may go to one terminal or pipe.
    if (file.path.empty() && !S_ISREG(status.st_mode)) return std::nullopt;
    return Identity{status.st_dev, status.st_ino};
}

std::optional<Identity> place_of(const NamedFile& file) {
    if (file.path.empty()) return std::nullopt;
    const std::filesystem::path path(file.path);
    const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) return std::nullopt;
    return Identity{status.st_dev, status.st_ino, path.filename().string()};
}

bool is_same_file(const NamedFile& one, const NamedFile& other) {
    const auto place = place_of(one);
    if (place && place == place_of(other)) return true;
    const auto identity = identity_of(one);
    return identity && identity == identity_of(other);
}

bool may_be_same(const NamedFile& one, const NamedFile& other) {
    const auto reads = [](const NamedFile& file) {
        return file.use == Use::kInput || file.use == Use::kReused;
    };
    if (reads(one) && reads(other)) return true;
    const bool reused = one.use == Use::kReused || other.use == Use::kReused;
    if (reused && (one.is_sink || other.is_sink)) return true;
    return one.use == Use::kStandardOutput && other.use == Use::kStandardOutput;
}

// Adds the files of a source or a sink.
void add_form(std::string_view option, const std::string& text, const ParsedForm& parsed, Use use,
              std::vector<NamedFile>& files) {
    const std::string name = fmt::format("{} {}", option, text);
    const std::string& operand = parsed.operand.value.text;
    if (parsed.is("file")) files.push_back({name, operand, use, -1, use == Use::kOutput});
    if (parsed.is("qemu")) files.push_back({name, operand, Use::kInput});
    if (parsed.is("bundle")) {
        const Use bundle_use = use == Use::kInput ? Use::kInput : Use::kWritten;
        files.push_back({name, fmt::format("{}/{}", operand, guest::kManifestName), bundle_use});
    }
    if (!parsed.is("pid")) return;
    for (const std::string_view file : split_values(Words<kProcessWords>(parsed).get<"map">())) {
        files.push_back({name, std::string(file), Use::kInput});
    }
}

Status add_devices(const Settings& settings, std::vector<NamedFile>& files) {
    const Use use = settings.side() == Side::kSend ? Use::kInput : Use::kWritten;
    MIGRATE_ASSIGN(const auto specs, devices::parse_devices(settings.get<"devices">()));
    for (const devices::DeviceSpec& spec : specs) {
        if (spec.kind != devices::DeviceKind::kStream) continue;
        struct stat status {};
        // Several streams may go to /dev/null.
        if (::stat(spec.path.c_str(), &status) == 0 && S_ISCHR(status.st_mode)) continue;
        const std::string name = fmt::format("--devices {}", spec.id.text());
        files.push_back({name, spec.path, use, spec.fd});
    }
    return {};
}

// The files of certificates and keys, which no output may replace.
Status add_credentials(const Settings& settings, std::vector<NamedFile>& files) {
    const std::string& text = settings.get<"tls-creds">();
    if (text.empty()) return {};
    MIGRATE_ASSIGN(const ParsedForm creds, parse_form_of<"tls-creds">(text));
    const std::string name = fmt::format("--tls-creds {}", text);
    const std::string& operand = creds.operand.value.text;
    if (creds.is("x509")) {
        for (const char* file : {"ca-cert.pem", "ca-crl.pem", "server-cert.pem", "server-key.pem",
                                 "client-cert.pem", "client-key.pem"}) {
            files.push_back({name, operand + "/" + file, Use::kInput});
        }
    }
    if (!creds.is("psk")) return {};
    if (creds.operand.given) files.push_back({name, operand, Use::kInput});
    const Words<kPskWords> words(creds);
    if (words.has<"new">()) files.push_back({name, words.get<"new">(), Use::kWritten});
    return {};
}

Result<std::vector<NamedFile>> named_files(const Settings& settings,
                                           const std::optional<std::string>& config_path) {
    std::vector<NamedFile> files;
    const auto add = [&](std::string_view option, const std::string& path, Use use) {
        if (!path.empty()) files.push_back({fmt::format("{} {}", option, path), path, use});
    };
    add("--stats", settings.get<"stats">(), Use::kOutput);
    add("--events", settings.get<"events">(), Use::kOutput);
    add("--metrics-file", settings.get<"metrics-file">(), Use::kOutput);
    if (settings.side() == Side::kRecv) {
        add("--port-file", settings.get<"port-file">(), Use::kOutput);
        MIGRATE_ASSIGN(const ParsedForm sink, parse_form_of<"sink">(settings.get<"sink">()));
        add_form("--sink", settings.get<"sink">(), sink, Use::kOutput, files);
        add("--reuse", settings.get<"reuse">(), Use::kReused);
        if (settings.get<"resume">() && sink.is("file")) {
            for (const std::string_view suffix : {memory::kPartialSuffix, memory::kJournalSuffix}) {
                add("--sink", sink.operand.value.text + std::string(suffix), Use::kWritten);
            }
        }
    } else {
        MIGRATE_ASSIGN(const ParsedForm source, parse_form_of<"source">(settings.get<"source">()));
        add_form("--source", settings.get<"source">(), source, Use::kInput, files);
    }
    const std::string& qmp = settings.get<"qmp">();
    constexpr std::string_view kUnix = "unix:";
    if (qmp.starts_with(kUnix)) add("--qmp", qmp.substr(kUnix.size()), Use::kWritten);
    MIGRATE_TRY(add_devices(settings, files));
    MIGRATE_TRY(add_credentials(settings, files));
    if (config_path) add("--config", *config_path, Use::kInput);
    files.push_back({"standard output", "", Use::kStandardOutput, STDOUT_FILENO});
    files.push_back({"standard error", "", Use::kStandardOutput, STDERR_FILENO});
    return files;
}

Error refusal(const NamedFile& file, std::string_view why) {
    struct stat status {};
    const bool is_pipe = ::stat(file.path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode);
    const std::string option = file.option.substr(0, file.option.find(' '));
    // Users often use a pipe to follow events.
    const bool follows = is_pipe && option == "--events";
    return usage_error("{}: {}{}", option, why,
                       follows ? "; follow it with 'tail -F', or the migration by --qmp" : "");
}

}  // namespace

Status check_output_paths(const Settings& settings, const std::optional<std::string>& config_path) {
    MIGRATE_ASSIGN(const std::vector<NamedFile> files, named_files(settings, config_path));
    for (const NamedFile& file : files) {
        if (file.use != Use::kOutput) continue;
        const Status replaceable = check_replaceable(file.path);
        if (!replaceable) return refusal(file, replaceable.error().message());
    }
    for (auto one = files.begin(); one != files.end(); ++one) {
        for (auto other = std::next(one); other != files.end(); ++other) {
            if (may_be_same(*one, *other) || !is_same_file(*one, *other)) continue;
            return usage_error("{} and {} are the same file: give each a file of its own",
                               one->option, other->option);
        }
    }
    return {};
}

Result<std::vector<std::string>> written_paths(const Settings& settings) {
    MIGRATE_ASSIGN(const std::vector<NamedFile> files, named_files(settings, std::nullopt));
    std::vector<std::string> paths;
    for (const NamedFile& file : files) {
        const bool is_written = file.use == Use::kOutput || file.use == Use::kWritten;
        if (is_written && !file.path.empty()) paths.push_back(file.path);
    }
    return paths;
}

}  // namespace migrate::cli
