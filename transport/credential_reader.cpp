// SPDX-License-Identifier: Apache-2.0
#include "transport/credential_reader.hpp"

#include <utility>

namespace migrate::transport {

using ContextPtr = std::shared_ptr<const TlsContext>;

void CredentialReader::ask(Answer answer) {
    asked_.push_back(std::move(answer));
    if (!reading_) begin_soon();
}

// Behind the handlers that are ready now, because these may ask, too.
void CredentialReader::begin_soon() {
    if (std::exchange(is_due_, true)) return;
    asio::post(loop_, [this] { begin(); });
}

void CredentialReader::begin() {
    is_due_ = false;
    served_ = std::exchange(asked_, {});
    // The reading's thread only adds a handler to the loop.
    auto reading = read_([this] { asio::post(loop_, [this] { finish(); }); });
    if (!reading) return answer_all(std::move(reading).error());
    reading_.emplace(*std::move(reading));
}

void CredentialReader::finish() {
    const Result<ContextPtr> context = reading_->wait({});
    reading_.reset();
    answer_all(context);
    if (!asked_.empty()) begin_soon();
}

void CredentialReader::answer_all(const Result<ContextPtr>& context) {
    for (const Answer& answer : std::exchange(served_, {})) answer(context);
}

}  // namespace migrate::transport
