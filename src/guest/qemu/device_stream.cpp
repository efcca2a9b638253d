// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/device_stream.hpp"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <utility>
#include <vector>

#include "base/file_io.hpp"
#include "guest/qemu/answer_fields.hpp"

namespace migrate::guest {
namespace {

using qmp::Json;

// QEMU's format (docs/devel/migration/main.rst): a magic and a version of four bytes each, then
// sections. A section begins with a byte for its kind; lengths are big-endian, of four bytes.
constexpr std::string_view kMagic{"QEVM\0\0\0\3", 8};
constexpr char kConfiguration = 7;
constexpr char kDescription = 6;
constexpr char kEnd = 0;
constexpr std::size_t kLengthBytes = 4;

constexpr std::string_view kMachineSuffix = "-machine";
constexpr std::string_view kSign = "migrate: the guest was handed over";
constexpr std::string_view kDevices = "migrate: the guest's devices";

std::string length_of(std::size_t length) {
    std::string bytes;
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
        bytes += static_cast<char>(length >> shift & 0xFF);
    }
    return bytes;
}

Error malformed() {
    return Error(ErrorKind::kProtocol, "the saved devices are not in QEMU's format");
}

Result<std::string> machine_name(Monitor& monitor) {
    MIGRATE_ASSIGN(const Json type,
                   monitor.ask("qom-get", {{"path", "/machine"}, {"property", "type"}}));
    std::string name = type.is_string() ? type.get<std::string>() : std::string();
    if (!name.ends_with(kMachineSuffix) || name.size() == kMachineSuffix.size()) {
        return make_error("QEMU's machine has the unknown type '{}'", name);
    }
    name.resize(name.size() - kMachineSuffix.size());
    return name;
}

// Writes everything at the beginning of the file.
Status write_all(int file, std::string_view content) {
    if (write_at(file, 0, std::as_bytes(std::span(content)))) return {};
    return Error::system("write the devices into a memfd", errno);
}

Result<std::string> read_all(int file, std::size_t limit) {
    struct stat status {};
    if (::fstat(file, &status) != 0) return Error::system("examine a memfd", errno);
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size > limit) return make_error("QEMU's devices have more than {} bytes", limit);
    std::string content(size, '\0');
    if (read_at(file, 0, std::as_writable_bytes(std::span(content))) == size) return content;
    if (errno == 0) return malformed();
    return Error::system("read the devices from a memfd", errno);
}

}  // namespace

Result<std::string> complete_device_stream(std::string_view saved, std::string_view machine) {
    if (!saved.starts_with(kMagic) || saved.size() <= kMagic.size() || saved.back() != kEnd) {
        return malformed();
    }
    std::string stream(kMagic);
    stream += kConfiguration;
    stream += length_of(machine.size());
    stream += machine;
    stream += saved.substr(kMagic.size());
    constexpr std::string_view kEmpty = "{}";
    stream += kDescription;
    stream += length_of(kEmpty.size());
    stream += kEmpty;
    return stream;
}

Result<std::string> machine_of(std::string_view stream) {
    const std::size_t begin = kMagic.size() + 1 + kLengthBytes;
    if (!stream.starts_with(kMagic) || stream.size() < begin ||
        stream[kMagic.size()] != kConfiguration) {
        return malformed();
    }
    std::size_t length = 0;
    for (const char byte : stream.substr(kMagic.size() + 1, kLengthBytes)) {
        length = length << 8 | static_cast<unsigned char>(byte);
    }
    if (length == 0 || length > stream.size() - begin) return malformed();
    return std::string(stream.substr(begin, length));
}

Result<PassedFile> PassedFile::pass(Monitor& monitor, QemuMay access, std::string_view note) {
    UniqueFd file(::memfd_create("migrate-devices", MFD_CLOEXEC));
    if (!file) return Error::system("create a memfd", errno);
    // QEMU takes a descriptor for a path only if it was opened for just the access that it needs.
    const int flags = access == QemuMay::kRead ? O_RDONLY : O_WRONLY;
    const UniqueFd theirs(
        ::open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), flags | O_CLOEXEC));
    if (!theirs) return Error::system("open a memfd again", errno);
    MIGRATE_ASSIGN(const Json answer,
                   monitor.ask_with_descriptor("add-fd", {{"opaque", note}}, theirs.get()));
    const std::uint64_t set = number_of(answer, "fdset-id");
    std::string undo = Json{{"execute", "remove-fd"}, {"arguments", {{"fdset-id", set}}}}.dump();
    monitor.plan_undo(undo);
    return PassedFile(std::move(file), fmt::format("/dev/fdset/{}", set), std::move(undo));
}

Result<DeviceSaver> DeviceSaver::prepare(Monitor& monitor) {
    MIGRATE_ASSIGN(std::string machine, machine_name(monitor));
    MIGRATE_ASSIGN(PassedFile file,
                   PassedFile::pass(monitor, PassedFile::QemuMay::kWrite, kDevices));
    return DeviceSaver(std::move(file), std::move(machine));
}

Status DeviceSaver::begin(Monitor& monitor) {
    // `live`, the default, is what inactivates the disks.
    MIGRATE_ASSIGN(begun_,
                   monitor.send_ahead("xen-save-devices-state", {{"filename", file_.path()}}));
    return {};
}

Result<std::string> DeviceSaver::save(Monitor& monitor, std::size_t limit) {
    if (!begun_) MIGRATE_TRY(begin(monitor));
    MIGRATE_TRY(monitor.await(*std::exchange(begun_, std::nullopt)));
    MIGRATE_ASSIGN(const std::string saved, read_all(file_.fd(), limit));
    // QEMU may keep the file for long: its memory is not needed any more.
    static_cast<void>(::ftruncate(file_.fd(), 0));
    return complete_device_stream(saved, machine_);
}

Status DeviceSaver::prepare_sign(Monitor& monitor) {
    MIGRATE_ASSIGN(sign_, PassedFile::pass(monitor, PassedFile::QemuMay::kWrite, kSign));
    return {};
}

Result<std::vector<std::uint64_t>> find_signs(Monitor& monitor) {
    MIGRATE_ASSIGN(const Json sets, monitor.ask("query-fdsets"));
    std::vector<std::uint64_t> found;
    for (const Json& set : sets) {
        const auto files = set.is_object() ? set.find("fds") : set.end();
        if (!set.is_object() || files == set.end() || !files->is_array()) continue;
        for (const Json& file : *files) {
            if (text_of(file, "opaque") == kSign) found.push_back(number_of(set, "fdset-id"));
        }
    }
    return found;
}

Status leave_sign(Monitor& monitor) {
    MIGRATE_ASSIGN(const PassedFile file,
                   PassedFile::pass(monitor, PassedFile::QemuMay::kWrite, kSign));
    monitor.forget_undo(file.undo());
    return {};
}

Result<DeviceLoader> DeviceLoader::prepare(Monitor& monitor) {
    MIGRATE_ASSIGN(std::string machine, machine_name(monitor));
    if (!monitor.is_at_least(8, 2)) return DeviceLoader(std::nullopt, std::move(machine));
    MIGRATE_ASSIGN(PassedFile file,
                   PassedFile::pass(monitor, PassedFile::QemuMay::kRead, kDevices));
    return DeviceLoader(std::move(file), std::move(machine));
}

Status DeviceLoader::load(Monitor& monitor, std::string_view stream) const {
    MIGRATE_ASSIGN(const std::string machine, machine_of(stream));
    if (machine != machine_) {
        return make_error(
            "the guest's machine is '{}', and this QEMU was started with '{}': start it with "
            "-machine {}",
            machine, machine_, machine);
    }
    if (!file_) return monitor.load_state(stream);
    MIGRATE_TRY(write_all(file_->fd(), stream));
    return monitor.load_file(file_->path());
}

}  // namespace migrate::guest
