// SPDX-License-Identifier: Apache-2.0
// A scenario on this machine: sizes, what fits into memory and what must be discarded instead,
// which device and programs there are, and what kind of zeros the guest's memory is made of.
// Invariant: a plan says in words what differs from the scenario's file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/image.hpp"
#include "bench/scenario.hpp"

namespace migrate::bench {

// The user's choices beside the scenarios.
struct Mode {
    bool quick = false;  // small guests, few repeats
    double scale = 1;    // of every guest's size
    bool peer = false;   // QEMU beside us
};

// A QEMU that runs the same transfers beside us.
struct Peer {
    std::string name = "qemu";  // behind a variant's name, and what a goal is against
    std::string label = "QEMU";
    std::string program = "qemu-system-x86_64";  // a path, or a name on the PATH
    std::string major{};                         // the version it must have, "10"; empty: any
    std::string missing{};                       // why it cannot run here; empty: it can
};

// The machine's own limits.
struct Limits {
    std::uint64_t memory = 0;        // bytes that the bench may fill, both sides together
    bool dsa = false;                // a DSA work queue that may be used
    std::string peer_missing{};      // why the installed QEMU cannot run here; empty: it can
    std::string iperf3_missing{};    // why iperf3 cannot run here; empty: it can
    std::vector<Peer> more_peers{};  // beside the installed QEMU
};

// A variant as it will run: by us, by the peer, or a baseline.
struct PlannedVariant {
    Variant variant;
    std::string name;                      // in the results
    std::string label;                     // in tables
    std::optional<Peer> peer;              // the QEMU that runs it, instead of us
    std::optional<BaselineSpec> baseline;  // runs instead of a transfer; its size is `guest`
    std::uint64_t guest = 0;               // bytes
    std::string source;                    // of migrate send; "{image}" stands for the image's path
    std::string sink;  // of migrate recv; "{scratch}" stands for the run's folder
    OptionList send;
    std::string backing;  // what the guest's memory is made of, in words
    std::vector<std::string> notes;
    std::string skipped;     // why it does not run; empty: it does
    std::uint64_t warm = 0;  // bytes to warm before each run
    std::optional<ImageSpec> image;
};

struct Plan {
    Scenario scenario;
    unsigned repeats = 1;
    unsigned warm_ups = 0;
    unsigned legs = 0;  // of one run that goes there and back; 0: there only
    std::vector<PlannedVariant> variants;

    // Number of timed runs and warm-ups of all variants that run.
    std::size_t runs() const;
};

Plan make_plan(Scenario scenario, const Mode& mode, const Limits& limits);

// The kind of a source's memory, in words: "shared 4 KiB zero page", "touched zeros", …
std::string backing_of(const std::string& source, const OptionList& send);

// A guest's size at this scale: whole huge pages, 16 MiB at least.
std::uint64_t scaled_guest(std::uint64_t bytes, double scale);

}  // namespace migrate::bench
