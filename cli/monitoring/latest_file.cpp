// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/latest_file.hpp"

#include <utility>

#include "base/log.hpp"

namespace migrate::cli {

bool LatestFile::wants_text() {
    if (ongoing_) {
        const Result<Done> written = ongoing_->wait({.timeout = std::chrono::milliseconds(0)});
        if (!written && written.error().kind() == ErrorKind::kTimeout) return false;
        ongoing_.reset();
        note(written ? Status() : Status(written.error()));
    }
    return !began_ || Clock::now() - *began_ >= interval_;
}

void LatestFile::offer(std::string text) {
    if (!wants_text()) return;
    began_ = Clock::now();
    Result<OngoingCall<Done>> call = start(std::move(text));
    if (call) {
        ongoing_.emplace(*std::move(call));
    } else {
        note(call.error());
    }
}

void LatestFile::finish(std::string text, std::chrono::milliseconds longest) {
    // An older text must not be written after this one.
    if (ongoing_) {
        const Result<Done> written = ongoing_->wait({.timeout = longest});
        ongoing_.reset();
        if (!written) {
            note(written.error());
            if (written.error().kind() == ErrorKind::kTimeout) return;
        }
    }
    Result<OngoingCall<Done>> call = start(std::move(text));
    if (!call) return note(call.error());
    const Result<Done> written = call->wait({.timeout = longest});
    note(written ? Status() : Status(written.error()));
}

Result<OngoingCall<LatestFile::Done>> LatestFile::start(std::string text) {
    return OngoingCall<Done>::start("write a file",
                                    [write = write_, text = std::move(text)]() -> Result<Done> {
                                        MIGRATE_TRY((*write)(text));
                                        return Done();
                                    });
}

void LatestFile::note(const Status& written) {
    if (!written && !failed_) {
        log::warning("{}; the migration does not depend on it", written.error().message());
    }
    failed_ = !written;
}

}  // namespace migrate::cli
