// SPDX-License-Identifier: Apache-2.0
// The files that scripts/with-softdsa made: the tree of sysfs, which programs see read-only, the
// same tree by a mount that may be written, and the nodes. One file of sysfs is one attribute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "accel/softdsa/preload/plain_files.hpp"

namespace migrate::accel::softdsa::preload {

enum class Kind : std::uint8_t { kDevice, kQueue, kGroup, kEngine, kDriver };

// The folder of an attribute: "dsa0", "wq0.1", "group0.1", "engine0.1", or a driver: "user".
struct Part {
    Kind kind = Kind::kDevice;
    std::string name;
    std::size_t device = 0;  // not for drivers
    std::size_t number = 0;  // of the queue, group or engine

    static Part whole(std::size_t device);
    // A queue, a group or an engine.
    static Part member(Kind kind, std::size_t device, std::size_t number);
    static Part queue(std::size_t device, std::size_t number) {
        return member(Kind::kQueue, device, number);
    }
    // Nothing if the name is none of these.
    static std::optional<Part> parse(std::string_view name);
};

struct AttributeName {
    Part part;
    std::string attribute;  // "size", "bind"
};

class Tree {
  public:
    // `control` is the mount of the tree's root that may be written, and `nodes` the folder with
    // the folders "all" (a file for each queue) and "nodes" (those that programs see in /dev/dsa).
    Tree(std::string control, std::string nodes)
        : control_(std::move(control)), nodes_(std::move(nodes)) {}

    std::string file(std::string_view name) const {
        return control_ + "/softdsa/" + std::string(name);
    }
    std::string driver_file(const std::string& driver, const std::string& name) const {
        return control_ + "/drivers/" + driver + "/" + name;
    }
    // The folder of a part; the file of an attribute of it.
    std::string folder(const Part& part) const;
    std::string attribute(const Part& part, std::string_view name) const {
        return folder(part) + "/" + std::string(name);
    }
    std::string text(const Part& part, std::string_view name) const {
        return read_text(attribute(part, name)).value_or("");
    }
    // Empty or no number: 0.
    std::uint64_t number(const Part& part, std::string_view name) const {
        return parse_number(text(part, name)).value_or(0);
    }
    bool set(const Part& part, std::string_view name, std::string_view value) const {
        return write_text(attribute(part, name), value);
    }

    // The file that stands for a queue, which exists always, and its name among the nodes.
    std::string hidden_node(const std::string& queue) const { return nodes_ + "/all/" + queue; }
    std::string node(const std::string& queue) const { return nodes_ + "/nodes/" + queue; }

    // Returns the attribute of a file with this path: its last folder and its name.
    static std::optional<AttributeName> name_of(std::string_view path);

  private:
    std::string control_;
    std::string nodes_;
};

}  // namespace migrate::accel::softdsa::preload
