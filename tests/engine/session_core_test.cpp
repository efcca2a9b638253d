// SPDX-License-Identifier: Apache-2.0
#include "engine/session_core.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"

namespace migrate::engine {
namespace {

using nlohmann::json;

struct Figures {
    SessionFigures session;
};

struct Core {
    Core() {
        events.listen([this](std::string_view event, const std::string& data) {
            emitted.push_back(std::string(event) + " " + data);
        });
    }
    Report report() const {
        Report report;
        core.fill(report, *figures.lock());
        return report;
    }
    // Ends with this error at the stage that the session is in.
    void fail(ErrorKind kind, Stage stage = Stage::kBeforePages) {
        const auto migrate = [&]() -> Status {
            core.enter(stage);
            return Error(kind, "why");
        };
        const auto settle = [&](Status status) -> Status {
            core.cancellation().fail(std::move(status).error());
            return core.outcome();
        };
        CHECK_FALSE(core.run(migrate, settle, [] { return GuestOwner::kSource; }));
    }

    std::vector<std::string> emitted;
    EventLog events;
    Published<Figures> published;
    PublishedPart<SessionFigures> figures = published.part(&Figures::session);
    SessionCore core{events, figures};
};

TEST_CASE("a session that ends says how in its last event and in its report") {
    Core session;
    CHECK_FALSE(session.report().outcome);
    session.fail(ErrorKind::kNotConverged, Stage::kPagesMove);
    CHECK(session.emitted.back() ==
          R"(MIGRATION {"status":"failed","outcome":"not-converged","reason":"why",)"
          R"("guest-owner":"source"})");
    CHECK(session.report().status == MigrationStatus::kFailed);
    CHECK(session.report().outcome == Outcome::kNotConverged);
    CHECK(session.report().error_desc == "why");
}

TEST_CASE("a session that is cancelled passes through cancelling") {
    Core session;
    session.fail(ErrorKind::kCancelled);
    REQUIRE(session.emitted.size() == 3);
    CHECK(session.emitted[1] == R"(MIGRATION {"status":"cancelling"})");
    CHECK(session.emitted[2] == R"(MIGRATION {"status":"cancelled","outcome":"cancelled",)"
                                R"("reason":"why","guest-owner":"source"})");
}

TEST_CASE("the same error is a refusal before a page moves and a failure afterwards") {
    Core before;
    before.fail(ErrorKind::kProtocol);
    CHECK(before.report().outcome == Outcome::kRefused);
    Core moving;
    moving.fail(ErrorKind::kProtocol, Stage::kPagesMove);
    CHECK(moving.report().outcome == Outcome::kFailed);
}

TEST_CASE("a session that succeeds says where its guest is") {
    Core session;
    const auto migrate = [&]() -> Status {
        session.core.activate();
        return {};
    };
    const auto settle = [](Status status) { return status; };
    CHECK(session.core.run(migrate, settle, [] { return GuestOwner::kDestination; }));
    CHECK(session.emitted.back() == R"(MIGRATION {"status":"completed","outcome":"completed",)"
                                    R"("guest-owner":"destination"})");
    CHECK(session.report().outcome == Outcome::kCompleted);
}

}  // namespace
}  // namespace migrate::engine
