// SPDX-License-Identifier: Apache-2.0
// Owners of file descriptors and mappings. No other code owns a raw one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/error.hpp"

namespace migrate {

class UniqueFd {
  public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_(fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    UniqueFd(const UniqueFd&) = delete;
    UniqueFd& operator=(const UniqueFd&) = delete;
    ~UniqueFd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1);

  private:
    int fd_ = -1;
};

// A memory mapping, unmapped on destruction.
class Mapping {
  public:
    struct Request {
        std::uint64_t size = 0;  // bytes, > 0
        int protection = 0;      // PROT_*
        int flags = 0;           // MAP_*
        int fd = -1;             // -1 for anonymous memory
        std::uint64_t alignment =
            0;             // bytes, a power of two; 0 for the page size. Anonymous memory only.
        std::string what;  // for the error "cannot map WHAT"
    };

    Mapping() = default;
    static Result<Mapping> create(const Request& request);

    Mapping(Mapping&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Mapping& operator=(Mapping&& other) noexcept {
        if (this != &other) {
            unmap();
            data_ = std::exchange(other.data_, nullptr);
            size_ = std::exchange(other.size_, 0);
        }
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping() { unmap(); }

    std::byte* data() const { return data_; }
    std::uint64_t size() const { return size_; }
    std::span<std::byte> bytes() const { return {data_, size_}; }
    explicit operator bool() const { return data_ != nullptr; }

  private:
    Mapping(std::byte* data, std::uint64_t size) : data_(data), size_(size) {}
    void unmap();

    std::byte* data_ = nullptr;
    std::uint64_t size_ = 0;
};

}  // namespace migrate
