// SPDX-License-Identifier: Apache-2.0
#include "accel/zero_kernel.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "catch.hpp"

namespace migrate::accel {
namespace {

// One page between two that are not accessible, so that a kernel that reads beyond its page
// crashes.
class LonelyPage {
  public:
    LonelyPage()
        : mapping_(*Mapping::create({.size = 3 * kPageSize,
                                     .protection = PROT_READ | PROT_WRITE,
                                     .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                     .what = "a page"})) {
        ::mprotect(mapping_.data(), kPageSize, PROT_NONE);
        ::mprotect(mapping_.data() + 2 * kPageSize, kPageSize, PROT_NONE);
    }
    std::byte* data() { return mapping_.data() + kPageSize; }

  private:
    Mapping mapping_;
};

TEST_CASE("every kernel this CPU has finds a single byte that is not zero wherever it is") {
    LonelyPage page;
    for (const ZeroKernel* kernel : runnable_zero_kernels()) {
        INFO("kernel " << kernel->name);
        CHECK(kernel->is_zero(page.data()));
        std::vector<std::size_t> overlooked;
        for (std::size_t at = 0; at < kPageSize; ++at) {
            for (const std::byte value : {std::byte{1}, std::byte{0x80}}) {
                page.data()[at] = value;
                if (kernel->is_zero(page.data())) overlooked.push_back(at);
            }
            page.data()[at] = std::byte{0};
        }
        CHECK(overlooked.empty());
        CHECK(kernel->is_zero(page.data()));
    }
}

TEST_CASE("every kernel this CPU has calls a page of ones not zero") {
    LonelyPage page;
    std::fill_n(page.data(), kPageSize, std::byte{0xff});
    for (const ZeroKernel* kernel : runnable_zero_kernels()) {
        INFO("kernel " << kernel->name);
        CHECK_FALSE(kernel->is_zero(page.data()));
    }
}

TEST_CASE("a kernel forced by name is that kernel, and no two share their code") {
    std::set<bool (*)(const std::byte*)> functions;
    for (const ZeroKernel* kernel : runnable_zero_kernels()) {
        const auto found = find_zero_kernel(kernel->name);
        REQUIRE(found);
        CHECK((*found)->name == kernel->name);
        CHECK((*found)->is_zero == kernel->is_zero);
        CHECK(functions.insert(kernel->is_zero).second);
    }
}

TEST_CASE("auto takes the runnable kernel of the highest priority") {
    const auto runnable = runnable_zero_kernels();
    const auto best = *std::max_element(runnable.begin(), runnable.end(),
                                        [](auto* a, auto* b) { return a->priority < b->priority; });
    const auto found = find_zero_kernel("auto");
    REQUIRE(found);
    CHECK(*found == best);
}

TEST_CASE("the scalar kernel runs everywhere and comes last") {
    CHECK(runnable_zero_kernels().back()->name == "scalar");
    CHECK(all_zero_kernels().back().supported());
}

TEST_CASE("an unknown kernel is a usage error that names those this CPU runs") {
    const auto found = find_zero_kernel("neon");
    REQUIRE_FALSE(found);
    CHECK(found.error().kind() == ErrorKind::kUsage);
    CHECK_THAT(found.error().message(), Catch::Contains("'neon'"));
    for (const ZeroKernel* kernel : runnable_zero_kernels()) {
        CHECK_THAT(found.error().message(), Catch::Contains(std::string(kernel->name)));
    }
}

TEST_CASE("a kernel this CPU cannot run is a usage error that names those it runs") {
    for (const ZeroKernel& kernel : all_zero_kernels()) {
        if (kernel.supported()) continue;
        const auto found = find_zero_kernel(kernel.name);
        REQUIRE_FALSE(found);
        CHECK(found.error().kind() == ErrorKind::kUsage);
        CHECK_THAT(found.error().message(), Catch::Contains("cannot run"));
        CHECK_THAT(found.error().message(), Catch::Contains("scalar"));
    }
}

}  // namespace
}  // namespace migrate::accel
